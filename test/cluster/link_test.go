package cluster

import (
	"net"
	"sync"
	"testing"
	"time"
)

// link is a TCP proxy that can hold everything back, like a network that loses all packets. It can also be slow, and
// change what passes.
type link struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	open  *sync.Cond
	held  bool
	delay time.Duration // each way
	edit  func([]byte)  // what comes back, in place; nil = nothing
	conns []net.Conn    // all that there were
}

// chunk is some bytes in transit.
type chunk struct {
	due  time.Time
	data []byte
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
	k.mu.Lock()
	k.conns = append(k.conns, c, to)
	k.mu.Unlock()
	done := make(chan struct{}, 2)
	go func() {
		k.pump(to, c, false)
		done <- struct{}{}
	}()
	go func() {
		k.pump(c, to, true)
		done <- struct{}{}
	}()
	<-done
}

// pump copies bytes from src to dst when they are due.
func (k *link) pump(dst, src net.Conn, back bool) {
	way := make(chan chunk, 1000)
	go func() {
		defer close(way)
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			if n > 0 {
				k.mu.Lock()
				delay, edit := k.delay, k.edit
				k.mu.Unlock()
				data := append([]byte(nil), buf[:n]...)
				if back && edit != nil {
					edit(data)
				}
				way <- chunk{time.Now().Add(delay), data}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range way {
		time.Sleep(time.Until(c.due))
		k.pass()
		if _, err := dst.Write(c.data); err != nil {
			src.Close()
		}
	}
	k.pass()
}

// pass waits while the link holds everything back.
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

// slow delays everything that is sent from now on, in both directions.
func (k *link) slow(delay time.Duration) {
	k.mu.Lock()
	k.delay = delay
	k.mu.Unlock()
}

// change lets edit change the bytes from the server from now on.
func (k *link) change(edit func([]byte)) {
	k.mu.Lock()
	k.edit = edit
	k.mu.Unlock()
}

// cut ends all open connections.
func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		c.Close()
	}
	k.conns = nil
}

func (k *link) addr() string { return k.listener.Addr().String() }

func (k *link) URL() string { return "nats://" + k.addr() }
