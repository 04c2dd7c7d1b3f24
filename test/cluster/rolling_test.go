package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headcount/test/cluster/balance"
	"headcount/test/rig"
)

// Each of three nodes behind a load balancer is restarted in turn, while events are emitted; then somebody comes and goes. No
// count that anybody is shown is another than the true one, and every event reaches everybody once.
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
	var restarted atomic.Bool
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
			// One comes every second, and says goodbye half a second later: the node need not be its own. Not while a
			// node stops: what it still counts then cannot say goodbye elsewhere, see docs/operations.md.
			if !restarted.Load() {
				continue
			}
			switch i % 50 {
			case 0:
				say(t, front.URL+"/alive", fmt.Sprintf("guest-%04d", i/50))
			case 25:
				say(t, front.URL+"/leave", fmt.Sprintf("guest-%04d", i/50))
			}
		}
	}()
	for _, n := range nodes {
		n.Restart()
	}
	time.Sleep(5 * time.Second) // the names of those that stopped expire meanwhile
	for i, r := range readers {
		for _, got := range r.seen() {
			if got != users {
				t.Errorf("reader %d saw %v while nodes were restarted, want %d only", i, r.seen(), users)
				break
			}
		}
	}
	restarted.Store(true)
	time.Sleep(2 * time.Second)
	close(stop)
	<-stopped

	opens, counts := 0, 0
	for i, r := range readers {
		rig.Wait(t, 10*time.Second, "all events", func() bool { return len(r.data()) >= emits })
		awaitData(t, r, numbers(1, emits)...)
		for _, got := range r.seen() {
			if got != users && got != users+1 {
				t.Errorf("reader %d saw %v, want %d or %d only", i, r.seen(), users, users+1)
				break
			}
		}
		opens += r.opens()
		counts += len(r.seen())
	}
	if opens < 2*users {
		t.Errorf("%d streams were opened, want at least %d: nodes were restarted", opens, 2*users)
	}
	t.Logf("%d users opened %d streams and saw %d counts while %d events were emitted", users, opens, counts, emits)
}

// keepEmit emits a number until it is accepted: the node may be stopping.
func keepEmit(node string, i int) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		code, _, err := emit(node, "lobby", "n", fmt.Sprint(i), fmt.Sprintf("key-%d", i))
		if err == nil && code == http.StatusOK {
			return true
		}
	}
	return false
}

// say is post for a goroutine of its own.
func say(t *testing.T, url, id string) {
	resp, err := http.Post(url, "text/plain", strings.NewReader(fmt.Sprintf(`{"room":"lobby","ids":[%q]}`, id)))
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("%s: got %s, want 204", url, resp.Status)
	}
}
