// Package soak runs the server for long under everything at once.
package soak

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/test/crowd"
	"headcount/test/rig"
)

const room = "soak"

// A crowd of direct, polling and proxied readers gets each event once and in order. Meanwhile connections are cut,
// other clients come and go, some never read, and rooms are made up. At rest the count is exact, and memory,
// descriptors and goroutines are what they were. It lasts 10 s, or SOAK_TIME. With SOAK_UPGRADES the server is
// upgraded twenty times meanwhile.
func TestSoak(t *testing.T) {
	lasting := 10 * time.Second
	if s := os.Getenv("SOAK_TIME"); s != "" {
		var err error
		if lasting, err = time.ParseDuration(s); err != nil {
			t.Fatalf("read SOAK_TIME: %v", err)
		}
	}
	server := rig.StartPlain(t, "-token", crowd.Token)
	c := crowd.Open(t, server, room, 200)
	c.Join(t, crowd.Polling, 10)
	c.Join(t, crowd.Proxied, 10)
	before := crowd.Look(t, server)
	t.Logf("%8s  %s", "start", before)
	c.Emit(20)

	f := &faults{t: t, server: server, crowd: c, stop: make(chan struct{})}
	f.repeat(50*time.Millisecond, f.cut)
	f.repeat(50*time.Millisecond, f.visit)
	f.repeat(500*time.Millisecond, f.stall)
	f.repeat(20*time.Millisecond, f.makeUp)

	// The first fifth is for what the server keeps by design to fill up: the history of this room and its rooms' idle
	// time.
	const looks = 20
	var early, late crowd.Vitals
	var slowest, longest time.Duration
	upgrades := os.Getenv("SOAK_UPGRADES") != ""
	begin := time.Now()
	for i := 1; i <= looks; i++ {
		time.Sleep(time.Until(begin.Add(lasting * time.Duration(i) / looks)))
		if upgrades {
			longest = max(longest, server.Upgrade())
		}
		v := crowd.Look(t, server)
		n, p99 := c.Lateness(0.99)
		slowest = max(slowest, p99)
		t.Logf("%8v  %s; %d events, %d deliveries, p99 %v", time.Since(begin).Round(time.Second), v, c.Accepted(), n, p99.Round(time.Millisecond))
		switch {
		case i > looks/5 && i <= looks*2/5:
			early = most(early, v)
		case i > looks*4/5:
			late = most(late, v)
		}
	}
	close(f.stop)
	f.running.Wait()

	c.AwaitEvents(t, 30*time.Second)
	c.AwaitCount(t, 30*time.Second, c.Size())
	rig.Wait(t, 30*time.Second, "descriptors, goroutines and streams as before", func() bool {
		v := crowd.Look(t, server)
		return v.Files <= before.Files+20 && v.Goroutines <= before.Goroutines+20 && v.Streams <= c.Size() && v.Users == c.Size()
	})
	t.Logf("%8s  %s", "at rest", crowd.Look(t, server))
	t.Logf("%d cuts, %d visits, %d stalled readers, %d made-up rooms; each of %d readers got each of %d events once and in order; p99 of the worst twentieth %v",
		f.cuts, f.visits, f.stalls, f.rooms, c.Size(), c.Accepted(), slowest.Round(time.Millisecond))
	if upgrades {
		t.Logf("%d upgrades, in which nothing was written for at most %v", looks, longest)
	}
	if late.Memory > early.Memory+early.Memory/4+8<<20 {
		t.Errorf("memory grew from %d to %d bytes", early.Memory, late.Memory)
	}
	if late.Files > early.Files+100 || late.Goroutines > early.Goroutines+100 {
		t.Errorf("it had at most %d descriptors and %d goroutines early on, %d and %d late", early.Files, early.Goroutines, late.Files, late.Goroutines)
	}
}

func most(a, b crowd.Vitals) crowd.Vitals {
	return crowd.Vitals{Memory: max(a.Memory, b.Memory), Files: max(a.Files, b.Files), Goroutines: max(a.Goroutines, b.Goroutines)}
}

// faults is everything that goes on beside the crowd.
type faults struct {
	t       *testing.T
	server  *rig.Server
	crowd   *crowd.Crowd
	stop    chan struct{}
	running sync.WaitGroup

	cuts, visits, stalls, rooms int // each counted by one goroutine
}

// repeat calls do again and again until the end.
func (f *faults) repeat(every time.Duration, do func(n int)) {
	f.running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-f.stop:
				return
			case <-tick.C:
				do(n)
			}
		}
	})
}

// cut breaks the connection of one of the crowd.
func (f *faults) cut(n int) {
	f.crowd.Cut(rand.IntN(f.crowd.Size()), n%2 == 0)
	f.cuts++
}

// visit joins for up to 2 s: with an id, which says goodbye or not, or without.
func (f *faults) visit(n int) {
	f.visits++
	id := ""
	if n%3 > 0 {
		id = fmt.Sprintf("visitor-%06d", n%300)
	}
	conn := f.open(room, id)
	if conn == nil {
		return
	}
	f.running.Go(func() {
		defer conn.Close()
		conn.SetReadDeadline(time.Now().Add(rand.N(2 * time.Second)))
		io.Copy(io.Discard, conn)
		switch n % 3 {
		case 0:
			conn.(*net.TCPConn).SetLinger(0)
		case 1:
			resp, err := http.Post(f.server.URL+"/leave", "text/plain", strings.NewReader(fmt.Sprintf(`{"room":%q,"ids":[%q]}`, room, id)))
			if err != nil {
				f.t.Errorf("leave: %v", err)
				return
			}
			resp.Body.Close()
		}
	})
}

// stall joins and never reads, for up to half a minute.
func (f *faults) stall(int) {
	f.stalls++
	conn := f.open(room, "")
	if conn == nil {
		return
	}
	conn.(*net.TCPConn).SetReadBuffer(4096)
	f.running.Go(func() {
		defer conn.Close()
		select {
		case <-f.stop:
		case <-time.After(rand.N(30 * time.Second)):
		}
	})
}

// makeUp joins a room that nobody else is in, and leaves it.
func (f *faults) makeUp(int) {
	f.rooms++
	if conn := f.open(fmt.Sprintf("room-%d", rand.IntN(10_000)), ""); conn != nil {
		conn.SetReadDeadline(time.Now().Add(time.Second))
		conn.Read(make([]byte, 512))
		conn.Close()
	}
}

// open sends the request for a stream. It comes from an address of its own, so that the limits of that address do not
// affect the crowd.
func (f *faults) open(room, id string) net.Conn {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, byte(1+rand.IntN(200)))}, Timeout: 10 * time.Second}
	conn, err := dialer.Dial("tcp", f.server.Addr)
	if err != nil {
		f.t.Errorf("connect: %v", err)
		return nil
	}
	query := "room=" + room
	if id != "" {
		query += "&id=" + id
	}
	if _, err := fmt.Fprintf(conn, "GET /events?%s HTTP/1.1\r\nHost: headcount.test\r\n\r\n", query); err != nil {
		f.t.Errorf("send request: %v", err)
	}
	return conn
}
