package cluster

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/test/rig"
)

// everything is what a headcount with the default prefix keeps in JetStream.
var everything = []string{"headcount_events", "KV_headcount_counts", "KV_headcount_nodes"}

// Each stream and bucket has three replicas where NATS has three servers, also one that was made while there was a single one.
func TestReplicas(t *testing.T) {
	_, urls := startNATSCluster(t, 3)
	_, js := jetStream(t, urls)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	// Servers that have just found each other may leave a request unanswered.
	rig.Wait(t, 60*time.Second, "a stream", func() bool {
		try, stop := context.WithTimeout(ctx, 5*time.Second)
		defer stop()
		_, err := js.CreateStream(try, jetstream.StreamConfig{
			Name: "headcount_events", Subjects: []string{"headcount.emit.>"}, Duplicates: 2 * time.Minute, Replicas: 1,
			RePublish: &jetstream.RePublish{Source: "headcount.emit.>", Destination: "headcount.live.>"},
		})
		return err == nil
	})
	n := startNode(t, urls).ready(t)
	mustEmit(t, n.URL, "lobby", "n", "1")
	for _, name := range everything {
		// What fails once, as where NATS is busy, is tried again in a minute.
		rig.Wait(t, 90*time.Second, name+" has three replicas", func() bool {
			s, err := js.Stream(ctx, name)
			return err == nil && s.CachedInfo().Config.Replicas == 3 && len(s.CachedInfo().Cluster.Replicas) == 2
		})
	}
}

// Streams and buckets that somebody deletes are made again, and all goes on, also in rooms that are opened meanwhile.
func TestDeletedStreams(t *testing.T) {
	for _, name := range everything {
		t.Run(name, func(t *testing.T) {
			url := startNATS(t, 0, t.TempDir()).URL
			a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
			old := read(t, b.URL, "lobby", "client-000b")
			_, js := jetStream(t, url)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := js.DeleteStream(ctx, name); err != nil {
				t.Fatal(err)
			}
			fresh := read(t, b.URL, "lounge", "client-000c")
			read(t, a.URL, "lobby", "client-000a")
			old.await(t, 2)
			rig.Wait(t, 10*time.Second, name+" is there again", func() bool {
				_, err := js.Stream(ctx, name)
				return err == nil
			})
			a.ready(t)
			b.ready(t)
			rig.Wait(t, 10*time.Second, "an event is accepted", func() bool {
				code, _, err := emit(a.URL, "lounge", "n", "1", "key-1")
				return err == nil && code == http.StatusOK
			})
			rig.Wait(t, 10*time.Second, "the event in a new room", func() bool {
				data := fresh.data()
				return len(data) > 0 && data[len(data)-1] == "1"
			})
			c := startNode(t, url).ready(t)
			rig.Wait(t, 10*time.Second, "the count on a new node", func() bool { return count(c.URL, "lobby") == 2 })
		})
	}
}

// What is not well formed in a bucket is passed over.
func TestGarbageInBuckets(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	read(t, a.URL, "lobby", "client-000a")
	nc, js := jetStream(t, url)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, "KV_headcount_counts")
	if err != nil {
		t.Fatal(err)
	}
	var key string
	rig.Wait(t, 5*time.Second, "an entry", func() bool {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter("$KV.headcount_counts.>"))
		if err != nil {
			return false
		}
		for key = range info.State.Subjects {
		}
		return key != ""
	})
	room := strings.TrimSuffix(key, key[strings.LastIndexByte(key, '.'):])
	for i, text := range []string{"", "{", `{"users":"many"}`, "\xff"} {
		if _, err := js.Publish(ctx, fmt.Sprintf("%s.garbage%d-0", room, i), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(ctx, fmt.Sprintf("$KV.headcount_nodes.garbage%d-0", i), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishMsg(&nats.Msg{Subject: "headcount.emit.garbage", Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(b.URL, "lobby"); got != 1 {
		t.Errorf("/count of a room that is not open: got %d, want 1", got)
	}
	r := read(t, b.URL, "lobby", "client-000b")
	r.await(t, 2)
	mustEmit(t, a.URL, "lobby", "n", "1")
	awaitData(t, r, "1")
}
