package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"headcount/test/cluster/balance"
	"headcount/test/rig"
)

// Each of three nodes behind a load balancer is restarted in turn. Meanwhile events are emitted and a user joins and
// leaves, on any node. Nobody sees a wrong count, and every event reaches everybody once.
func TestRollingRestart(t *testing.T) {
	_, urls := startNATSCluster(t, 1)
	// So short that -linger alone would keep nobody counted who is on the way to the next node.
	nodes := startNodes(t, 3, urls, "-drain", "3s", "-linger", "100ms")
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Addr)
	}
	front := httptest.NewServer(balance.New(addrs))
	t.Cleanup(front.Close)
	const users = 40
	var readers []*reader
	for i := range users {
		readers = append(readers, start(t, &reader{
			room: "lobby", id: fmt.Sprintf("client-%04d", i), nodes: []string{front.URL}, polite: true,
		}))
	}
	for _, r := range readers {
		r.await(t, users)
		r.forget()
	}

	stop, stopped := make(chan struct{}), make(chan struct{})
	emits := 0
	var turns []time.Time // when somebody began to come, to go, to come, …
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if !keepEmit(front.URL, i) {
				t.Errorf("event %d was not accepted", i)
				return
			}
			emits = i
			// One comes every second, and says goodbye half a second later: the node need not be its own, which may
			// have stopped by then.
			switch i % 50 {
			case 0:
				turns = append(turns, time.Now())
				say(t, front.URL+"/alive", fmt.Sprintf("guest-%04d", i/50))
			case 25:
				if len(turns) > 0 {
					turns = append(turns, time.Now())
					say(t, front.URL+"/leave", fmt.Sprintf("guest-%04d", i/50))
				}
			}
		}
	}()
	for _, n := range nodes {
		n.Restart()
	}
	time.Sleep(5 * time.Second) // the names of those that stopped expire meanwhile
	close(stop)
	<-stopped

	opens, counts := 0, 0
	for _, r := range readers {
		rig.Wait(t, 10*time.Second, "all events", func() bool { return len(r.data()) >= emits })
		awaitData(t, r, numbers(1, emits)...)
		r.follows(t, users, turns)
		opens += r.opens()
		counts += len(r.seen())
	}
	if opens < 2*users {
		t.Errorf("%d streams were opened, want at least %d: nodes were restarted", opens, 2*users)
	}
	t.Logf("%d users opened %d streams and saw %d counts while %d events were emitted", users, opens, counts, emits)
}

// follows fails the test unless every count that the reader saw was right. That is users, and one more after every
// other turn. A count may be late and skip a turn, but not be ahead of a turn or go back.
func (r *reader) follows(t *testing.T, users int, turns []time.Time) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	turn := 0
	for i, got := range r.counts {
		if got != users+turn%2 && turn < len(turns) && r.shown[i].After(turns[turn]) {
			turn++
		}
		if got != users+turn%2 {
			t.Errorf("%s was shown %v, the %dth after %d turns of a user that joins and leaves: want %d", r.id, r.counts, i+1, turn, users+turn%2)
			return
		}
	}
}

// keepEmit emits a number until it is accepted, because the node may be stopping.
func keepEmit(node string, i int) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		code, _, err := emit(node, "lobby", "n", fmt.Sprint(i), fmt.Sprintf("key-%d", i))
		if err == nil && code == http.StatusOK {
			return true
		}
	}
	return false
}

// say is post for use in another goroutine. A connection to a node that stops may be cut during the request.
func say(t *testing.T, url, id string) {
	last := ""
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		resp, err := http.Post(url, "text/plain", strings.NewReader(fmt.Sprintf(`{"room":"lobby","ids":[%q]}`, id)))
		if err != nil {
			last = err.Error()
			continue
		}
		resp.Body.Close()
		if last = resp.Status; resp.StatusCode == http.StatusNoContent {
			return
		}
	}
	t.Errorf("%s: got %s, want 204", url, last)
}

// A user of a node that has stopped is counted once, whatever it does next on the other nodes. It may say goodbye,
// renew its lease, or reconnect. A user that does nothing leaves the count when its grace period ends.
func TestStoppedNode(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 0, t.TempDir()).URL
	a, b, c := startNode(t, url).ready(t), startNode(t, url).ready(t), startNode(t, url).ready(t)
	stay := []*reader{read(t, b.URL, "lobby", "client-000b"), read(t, c.URL, "lobby", "client-000c")}
	moves := []*reader{read(t, a.URL, "lobby", "client-to-b"), read(t, a.URL, "lobby", "client-to-c")}
	vanishes := read(t, a.URL, "lobby", "client-vanishes")
	post(t, a.URL+"/alive", "lobby", "client-leaves", "client-alive")
	for _, r := range stay {
		r.await(t, 7)
		r.forget()
	}
	for _, r := range append(moves, vanishes) {
		r.strand()
	}
	a.stop()
	post(t, c.URL+"/leave", "lobby", "client-leaves")
	begin := time.Now()
	for _, r := range stay {
		r.await(t, 6)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("who said goodbye was out of the count after %v, want at most 1s", took)
	}
	post(t, c.URL+"/alive", "lobby", "client-alive")
	for i, n := range []*node{b, c} {
		moves[i].hop(n.URL)
		rig.Wait(t, 5*time.Second, "reader is back", func() bool { return moves[i].opens() == 2 })
	}
	late := startNode(t, url).ready(t) // which was not there when the node stopped
	if r := read(t, late.URL, "lobby", "client-late"); r.seen()[0] != 7 {
		t.Errorf("first count on a node that came later: got %v, want 7", r.seen())
	} else {
		r.stop()
		post(t, late.URL+"/leave", "lobby", "client-late")
	}
	for _, r := range stay {
		rig.Wait(t, 20*time.Second, "who vanished is gone", func() bool { return r.count() == 5 })
	}
	atRest(t, 5, b, c)
	for _, r := range stay {
		if got := r.seen(); !slices.Equal(got, []int{7, 6, 7, 6, 5}) {
			t.Errorf("counts that %s saw: got %v, want 7, 6, 7 and 6 as one came and went, and 5", r.id, got)
		}
	}
}
