// Package faults breaks connections while events flow, and looks for what got lost.
package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headcount/test/rig"
)

const token = "faults"

// reader is a subscriber that comes back with its cursor until it has seen enough.
type reader struct {
	addr   string
	cursor []byte
	got    []int    // the numbers of the events called n, in the order they came
	gaps   []string // data of the io:gap events

	mu   sync.Mutex
	conn net.Conn
	cuts int
}

// cut breaks the connection, in the middle of whatever it is doing.
func (r *reader) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		return
	}
	if rand.IntN(2) == 0 {
		_ = r.conn.(*net.TCPConn).SetLinger(0) // RST instead of FIN
	}
	_ = r.conn.Close()
	r.conn = nil
	r.cuts++
}

// follow reads until it has seen n events.
func (r *reader) follow(n int) {
	for len(r.got) < n {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			continue
		}
		r.mu.Lock()
		r.conn = conn
		r.mu.Unlock()
		r.read(conn, n)
		_ = conn.Close()
	}
}

// read takes one connection to its end. What was not complete never happened: "Once
// the end of the file is reached, any pending data must be discarded."
func (r *reader) read(conn net.Conn, n int) {
	head := "GET /events?room=faults HTTP/1.1\r\nHost: test\r\n"
	if len(r.cursor) > 0 {
		head += "Last-Event-ID: " + string(r.cursor) + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		return
	}
	in := bufio.NewReaderSize(conn, 16<<10)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		return
	}
	// Five million events: with the race detector each line of this loop is seconds. What net/http makes of chunks is
	// not needed for it, because no event is in two; their sizes are lines that mean nothing.
	var id, event, data []byte
	for len(r.got) < n {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case len(line) == 1:
			if len(id) > 0 {
				r.cursor = append(r.cursor[:0], id...)
			}
			r.take(event, data)
			id, event, data = id[:0], event[:0], data[:0]
		case line[0] == 'i':
			id = append(id[:0], value(line)...)
		case line[0] == 'e' && line[1] == 'v': // and not the size of a chunk
			event = append(event[:0], value(line)...)
		case line[0] == 'd' && line[1] == 'a' && line[2] == 't':
			data = append(data[:0], value(line)...)
		}
	}
}

// value is what stands behind the colon and the space of a line.
func value(line []byte) []byte {
	_, v, _ := bytes.Cut(line[:len(line)-1], []byte(": "))
	return v
}

func (r *reader) take(event, data []byte) {
	switch string(event) {
	case "n":
		i, err := strconv.Atoi(string(data))
		if err != nil {
			i = -1
		}
		r.got = append(r.got, i)
	case "io:gap":
		r.gaps = append(r.gaps, string(data))
	}
}

// Ten thousand events at 2,000 a second to 500 subscribers, each of which is cut off
// about once a second: in the end each has all of them, once, in one order.
func TestEmitWhileConnectionsBreak(t *testing.T) {
	const events, rate, readers = 10_000, 2000, 500
	// As many events are kept as a reader can miss in the time of its way back.
	s := rig.StartPlain(t, "-token", token, "-history", fmt.Sprint(events), "-max-streams", "0")

	all := make([]*reader, readers)
	var reading sync.WaitGroup
	for i := range all {
		all[i] = &reader{addr: s.Addr}
		reading.Go(func() { all[i].follow(events) })
	}
	rig.Wait(t, 30*time.Second, "all readers to be there", func() bool { return s.Count("faults") == readers })

	done := make(chan struct{})
	var cutting sync.WaitGroup
	cutting.Go(func() {
		// By the clock, or a busy machine would cut less often than is said.
		begin := time.Now()
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(time.Until(begin.Add(time.Duration(n) * time.Second / readers))):
				all[rand.IntN(readers)].cut()
			}
		}
	})

	begin := time.Now()
	var next atomic.Int64
	var emitting sync.WaitGroup
	for range 8 {
		emitting.Go(func() {
			for i := int(next.Add(1)) - 1; i < events; i = int(next.Add(1)) - 1 {
				time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / rate)))
				if err := emit(s.URL, i); err != nil {
					t.Errorf("emit %d: %v", i, err)
				}
			}
		})
	}
	emitting.Wait()
	took := time.Since(begin)
	close(done)
	cutting.Wait()

	finished := make(chan struct{})
	go func() { reading.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(time.Minute):
		for _, r := range all {
			r.cut()
		}
		t.Fatal("not every reader had all events a minute after the last one")
	}

	cuts := 0
	for i, r := range all {
		cuts += r.cuts
		if len(r.gaps) > 0 {
			t.Errorf("reader %d was told of gaps: %v", i, r.gaps)
		}
		if !slices.Equal(r.got, all[0].got) {
			t.Fatalf("reader %d saw another order than reader 0", i)
		}
	}
	sorted := slices.Sorted(slices.Values(all[0].got))
	for i, n := range sorted {
		if n != i {
			t.Fatalf("event %d is lost or came twice", i)
		}
	}
	t.Logf("%d events in %v (%.0f a second) to %d readers, which were cut off %d times (%.2f a second each)",
		events, took.Round(time.Millisecond), events/took.Seconds(), readers, cuts, float64(cuts)/readers/took.Seconds())
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}

// emit says whether the event was accepted: answered with 200.
func emit(url string, i int) error {
	req, err := http.NewRequest(http.MethodPost, url+"/emit", strings.NewReader(fmt.Sprintf(`{"event":"n","data":%d,"room":"faults"}`, i)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}
