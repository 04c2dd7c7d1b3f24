package load

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"headcount/test/rig"
)

// A client that polls costs the server at most three times the CPU of a client with a stream, at one event a minute.
// Both kinds have client ids like browsers, and there are as many of each. The CPU time is that of the server's
// process. Each kind is measured for a short time, or for POLL_TIME=1m. The figures are only logged, because a busy
// machine is not a fault.
func TestPollCost(t *testing.T) {
	clients, lasting, calm := 200, time.Second, time.Duration(0)
	if s := os.Getenv("POLL_TIME"); s != "" {
		var err error
		if lasting, err = time.ParseDuration(s); err != nil {
			t.Fatalf("read POLL_TIME: %v", err)
		}
		clients, calm = 2000, 5*time.Second
	}
	cost := make(map[bool]time.Duration)
	for _, poll := range []bool{false, true} {
		server := rig.StartPlain(t, "-token", "secret")
		crowd := &pollers{server: server, poll: poll}
		for i := range clients {
			crowd.follow(t, fmt.Sprintf("client-%06d", i))
		}
		rig.Wait(t, 30*time.Second, "all to be there", func() bool { return server.Count("lobby") == clients })
		time.Sleep(calm) // polls that all the coming has ended come again
		crowd.asked.Store(0)
		began, before := time.Now(), cpuTime(t, server.Pid())
		time.Sleep(lasting / 2)
		e, err := dialEmitter(server.Addr)
		if err == nil {
			err = e.emit(1)
			e.conn.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if poll {
			rig.Wait(t, 10*time.Second, "all to ask again after the event", func() bool { return crowd.asked.Load() >= int64(clients) })
		}
		time.Sleep(time.Until(began.Add(lasting)))
		cost[poll] = cpuTime(t, server.Pid()) - before
		t.Logf("polls: %5v  %d clients, %d requests: %v of CPU in %v, %.1f us a client and minute", poll, clients, crowd.asked.Load(),
			cost[poll].Round(time.Millisecond), lasting, float64(cost[poll].Microseconds())/float64(clients)*float64(time.Minute)/float64(lasting))
		crowd.ended.Store(true)
		server.Kill()
	}
	times := float64(cost[true]) / float64(cost[false])
	t.Logf("a client that polls costs %.2f times as much as one that streams; it is to be 3 at most", times)
	if calm > 0 && times > 6 {
		t.Errorf("a client that polls costs %.2f times as much as one that streams: even a busy machine does not explain that", times)
	}
}

// pollers is many clients of one kind.
type pollers struct {
	server *rig.Server
	poll   bool
	asked  atomic.Int64
	ended  atomic.Bool
}

// follow asks, on a connection that is kept, until the server is gone.
func (p *pollers) follow(t *testing.T, id string) {
	s := &rig.Subscriber{URL: p.server.URL, Room: "lobby", ID: id, Poll: p.poll, Transport: &http.Transport{}, Header: http.Header{
		"Connection": {"keep-alive"}, "User-Agent": {"Mozilla/5.0 (test)"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip, deflate"}, "Accept-Language": {"en-US"},
	}}
	s.Take = func(context.Context, *rig.Event) bool { return false }
	s.Prepare = func(req *http.Request) {
		rig.CursorInQuery(req)
		req.URL.RawQuery += fmt.Sprint("&try=", p.asked.Add(1))
	}
	s.Start(t, func(error) (time.Duration, bool) {
		return 150 * time.Millisecond, p.poll && !p.ended.Load() // as the browser's client
	})
}
