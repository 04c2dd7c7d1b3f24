package cluster

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/test/rig"
)

// link is a TCP proxy that can hold back everything, as a network does that loses all packets.
type link struct {
	listener net.Listener
	to       string

	mu   sync.Mutex
	open *sync.Cond
	held bool
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, to: to}
	k.open = sync.NewCond(&k.mu)
	t.Cleanup(func() {
		l.Close()
		k.hold(false)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go k.carry(c)
		}
	}()
	return k
}

func (k *link) carry(c net.Conn) {
	defer c.Close()
	k.pass()
	to, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	defer to.Close()
	done := make(chan struct{}, 2)
	pump := func(dst, src net.Conn) {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			if n > 0 {
				k.pass()
				if _, err := dst.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				if err == io.EOF {
					k.pass()
				}
				return
			}
		}
	}
	go pump(to, c)
	go pump(c, to)
	<-done
}

// pass waits while everything is held back.
func (k *link) pass() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.held {
		k.open.Wait()
	}
}

func (k *link) hold(held bool) {
	k.mu.Lock()
	k.held = held
	k.mu.Unlock()
	k.open.Broadcast()
}

func (k *link) URL() string { return "nats://" + k.listener.Addr().String() }

// A node is cut off from NATS without a word, for longer than it takes to be taken for dead. Its streams stay; when it is
// back it is one with the others, with all they said meanwhile, and nobody is counted twice.
func TestPartition(t *testing.T) {
	s := startNATS(t, 0, t.TempDir())
	cut := newLink(t, strings.TrimPrefix(s.URL, "nats://"))
	a, b := startNode(t, s.URL).ready(t), startNode(t, cut.URL()).ready(t)
	ra, rb := read(t, a.URL, "lobby", "client-00a1"), read(t, b.URL, "lobby", "client-00b1")
	hops := read(t, b.URL, "lobby", "client-00b2")
	for _, r := range []*reader{ra, rb, hops} {
		r.await(t, 3)
	}
	emitNumbers(t, a.URL, 1, 2)
	awaitData(t, rb, "1", "2")

	begin := time.Now()
	cut.hold(true)
	hops.hop(a.URL) // known to b, which sees the stream end
	ra.await(t, 2)
	t.Logf("the other node's users were out of the count after %v", time.Since(begin))
	if time.Since(begin) > 6*time.Second {
		t.Errorf("the other node's users were counted for %v, want at most 6s", time.Since(begin))
	}
	rb.await(t, 1)
	emitNumbers(t, a.URL, 3, 5)
	awaitData(t, hops, numbers(1, 5)...)
	rig.Wait(t, 15*time.Second, "b is not ready", func() bool { return status(b.URL+"/readyz") == 503 })
	time.Sleep(time.Until(begin.Add(10 * time.Second)))

	cut.hold(false)
	b.ready(t)
	for _, r := range []*reader{ra, rb, hops} {
		r.await(t, 3)
	}
	awaitData(t, rb, numbers(1, 5)...)
	if rb.opens() != 1 {
		t.Errorf("the stream of the node that was cut off was opened %d times, want once", rb.opens())
	}
	atRest(t, 3, a, b)
}
