package cluster

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/test/rig"
)

// everything lists what headcount with the default prefix keeps in JetStream.
var everything = []string{"headcount_events", "KV_headcount_shared"}

// Each stream and bucket has three replicas where NATS has three servers, even if it was made when there was only one.
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

// Streams and buckets that somebody deletes are made again. Everything keeps working, also in rooms that are opened
// meanwhile.
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

// A node ignores malformed messages on any of its subjects, and messages of nodes of another version.
func TestGarbage(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	a, b := startNode(t, url).ready(t), startNode(t, url).ready(t)
	watcher := read(t, a.URL, "lobby", "client-000a")
	nc, js := jetStream(t, url)
	heard := make(chan *nats.Msg, 100)
	if _, err := nc.ChanSubscribe("headcount.v4.>", heard); err != nil {
		t.Fatal(err)
	}
	read(t, b.URL, "lobby", "client-000b")
	watcher.await(t, 2)
	subjects := make(map[string]bool)
	var toRoom string
	rig.Wait(t, 5*time.Second, "a message to the room", func() bool {
		for len(heard) > 0 {
			subject := (<-heard).Subject
			if subjects[subject] = true; strings.Contains(subject, ".room.") {
				toRoom = subject
			}
		}
		return toRoom != ""
	})
	old := strings.TrimPrefix(toRoom, "headcount.v4.")
	token := old[strings.LastIndexByte(old, '.')+1:]
	for _, text := range []string{"", "{", "\xff", "\x01", `{"leave":["client-000a","client-000b"]}`, `{"claim":"client-000a","room":"lobby"}`} {
		for subject := range subjects {
			nc.Publish(subject, []byte(text))
		}
		for _, subject := range []string{"headcount.live." + token, "headcount.node." + a.cluster.Tag(), "headcount.v3." + old, "headcount.emit.garbage"} {
			nc.Publish(subject, []byte(text))
		}
		if _, err := js.Publish(t.Context(), "$KV.headcount_shared.garbage", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	atRest(t, 2, a, b)
	mustEmit(t, a.URL, "lobby", "n", "1")
	awaitData(t, watcher, "1")
	if got := watcher.opens(); got != 1 {
		t.Errorf("the stream was opened %d times, want once", got)
	}
}
