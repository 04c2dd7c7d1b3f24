package cluster

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/test/rig"
)

// SIGUSR2 replaces one of three nodes three times while it gets requests of all kinds. No request is refused. Each
// client on each node keeps its stream and gets each event once and in order. All counts are right, and the node keeps
// its name.
func TestRequestsThroughUpgrades(t *testing.T) {
	_, urls := startNATSCluster(t, 1)
	nodes := startNodes(t, 3, urls)
	var readers []*reader
	for i, n := range nodes {
		readers = append(readers, newReader(t, []string{n.URL}, "lobby", fmt.Sprintf("reader-%d", i)), newReader(t, []string{n.URL}, "lobby", ""))
	}
	for _, r := range readers {
		r.await(t, len(readers))
		r.forget()
	}
	names := func(n *rig.Server) (all []string) {
		for _, seen := range statsOf(t, n).Nodes {
			all = append(all, seen.Node)
		}
		slices.Sort(all)
		return all
	}
	before := names(nodes[1])
	stop := make(chan struct{})
	var running sync.WaitGroup
	repeat := func(what string, do func(i int) (int, error)) {
		running.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if code, err := do(i); err != nil || code != http.StatusOK {
					t.Errorf("%s %d: got %d, %v, want 200", what, i, code, err)
					return
				}
			}
		})
	}
	// A connection of its own for each request, as a client has that does not repeat a POST on a closed connection.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	get := func(path string) func(int) (int, error) {
		return func(int) (int, error) {
			resp, err := client.Get(nodes[0].URL + path)
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			if n, err := resp.Body.Read(make([]byte, 6)); n == 0 {
				return 0, err
			}
			return resp.StatusCode, nil
		}
	}
	accepted := 0
	repeat("emit", func(i int) (int, error) {
		body := fmt.Sprintf(`{"event":"n","data":%d,"room":"lobby"}`, i)
		req, err := http.NewRequest(http.MethodPost, nodes[0].URL+"/emit", strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		accepted = i + 1
		return resp.StatusCode, nil
	})
	repeat("ready", get("/readyz"))
	repeat("stream", get("/events?room=other&id=newcomer-1"))
	repeat("count", func(int) (int, error) {
		if got := count(nodes[0].URL, "lobby"); got != len(readers) {
			return 0, fmt.Errorf("%d users, want %d", got, len(readers))
		}
		return http.StatusOK, nil
	})
	for range 3 {
		t.Logf("nothing was written for %v", nodes[0].Upgrade())
	}
	close(stop)
	running.Wait()
	for i, r := range readers {
		rig.Wait(t, 20*time.Second, "all events", func() bool { return len(r.data()) >= accepted })
		if got := r.data(); !slices.Equal(got, numbers(0, accepted-1)) {
			t.Errorf("reader %d got %d events that are not 0 to %d in order: %.300v", i, len(got), accepted-1, got)
		}
		if all := r.seen(); slices.ContainsFunc(all, func(n int) bool { return n != len(readers) }) {
			t.Errorf("reader %d was shown %v, want %d alone", i, all, len(readers))
		}
		if r.opens() != 1 {
			t.Errorf("reader %d opened %d streams, want 1", i, r.opens())
		}
	}
	if after := names(nodes[1]); !slices.Equal(after, before) {
		t.Errorf("the nodes are now %v, want %v", after, before)
	}
	t.Logf("%d events", accepted)
}
