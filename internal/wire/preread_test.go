package wire_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/wire"
)

// idlePair returns a connection between two requests and the end of its client.
func idlePair(t *testing.T) (c *wire.Preread, client net.Conn) {
	server, client := net.Pipe()
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return &wire.Preread{Conn: server, Idle: 2 * time.Minute, Header: 10 * time.Second}, client
}

// A connection between two requests may be idle for longer than net/http gives a new one. Its next request has the usual
// time.
func TestPrereadIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := idlePair(t)
		begin := time.Now()
		_ = c.SetReadDeadline(begin.Add(10 * time.Second))
		go func() {
			time.Sleep(time.Minute)
			_, _ = client.Write([]byte("GET"))
		}()
		p := make([]byte, 10)
		if n, err := c.Read(p); err != nil || string(p[:n]) != "GET" {
			t.Fatalf("got %q, %v after %v, want GET after 1m", p[:n], err, time.Since(begin))
		}
		if _, err := c.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 70*time.Second {
			t.Errorf("half a request: got %v after %v, want the end of its time after 1m10s", err, time.Since(begin))
		}
	})
}

// Idle connections are closed in the end, and can be interrupted.
func TestPrereadEnds(t *testing.T) {
	for deadline, want := range map[time.Duration]time.Duration{10 * time.Second: 2 * time.Minute, -time.Hour: 0} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := idlePair(t)
			begin := time.Now()
			_ = c.SetReadDeadline(begin.Add(deadline))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != want {
				t.Errorf("deadline in %v: got %v after %v, want the end of its time after %v", deadline, err, time.Since(begin), want)
			}
		})
	}
}

// Interrupt ends a Read that waits for a request, but no request that has begun.
func TestPrereadInterrupt(t *testing.T) {
	c, client := idlePair(t)
	var b [10]byte
	if err := c.Interrupt(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) || c.Begun() {
		t.Errorf("idle: got %v, begun %t, want the end of its time", err, c.Begun())
	}
	_ = c.SetReadDeadline(time.Time{})
	for _, text := range []string{"GET", " /"} {
		go func() { _, _ = client.Write([]byte(text)) }()
		if n, err := c.Read(b[:]); string(b[:n]) != text || err != nil || !c.Begun() {
			t.Errorf("got %q, %v, begun %t, want %q", b[:n], err, c.Begun(), text)
		}
		if err := c.Interrupt(); err != nil {
			t.Fatal(err)
		}
	}
	c.Rest()
	if _, err := c.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) || c.Begun() {
		t.Errorf("after the request: got %v, begun %t, want the end of its time", err, c.Begun())
	}
}
