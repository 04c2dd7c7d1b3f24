//go:build linux

package wire_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"headcount/internal/sse/ssetest"
)

// reader is a client. It has a socket, and parses the events that come from it.
type reader struct {
	t    *testing.T
	conn *net.TCPConn
	tls  *tls.Conn     // nil if plain
	in   io.ReadWriter // one of the two, for reads and writes
	body io.Reader
	*ssetest.Reader
}

// dial connects with a receive buffer of rcvbuf bytes (0 = the system's).
func (r *rig) dial(rcvbuf int) *net.TCPConn {
	r.t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if rcvbuf == 0 {
			return nil
		}
		// This must be set before connecting. The window is agreed on while connecting.
		if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, rcvbuf) }); e != nil {
			return e
		}
		return err
	}}
	conn, err := d.DialContext(r.t.Context(), "tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * testTimeout))
	return conn.(*net.TCPConn)
}

// ask connects and sends a request as it is written.
func (r *rig) ask(rcvbuf int, request string) *reader {
	r.t.Helper()
	conn := r.dial(rcvbuf)
	c := &reader{t: r.t, conn: conn, in: conn}
	if r.client != nil {
		c.tls = tls.Client(conn, r.client)
		c.in = c.tls
	}
	if _, err := io.WriteString(c.in, request); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// subscribe opens a stream and does not read the answer.
func (r *rig) subscribe(query string, rcvbuf int) *reader {
	r.t.Helper()
	return r.ask(rcvbuf, "GET /events?"+query+" HTTP/1.1\r\nHost: x\r\n\r\n")
}

// open opens a stream and reads the header of the answer.
func (r *rig) open(query string) *reader {
	r.t.Helper()
	return r.subscribe(query, 0).answer(nil)
}

// answer reads the header, through in if that is not nil.
func (c *reader) answer(in io.Reader) *reader {
	c.t.Helper()
	if in == nil {
		in = c.in
	}
	resp, err := http.ReadResponse(bufio.NewReader(in), nil)
	if err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	if resp.StatusCode != http.StatusOK {
		c.t.Fatalf("got status %s, want 200", resp.Status)
	}
	c.body = resp.Body
	c.Reader = ssetest.NewReader(resp.Body)
	return c
}

// event returns the next event.
func (c *reader) event() ssetest.Event {
	c.t.Helper()
	e, err := c.Next()
	if err != nil {
		c.t.Fatalf("read event: %v", err)
	}
	return e
}

// number returns the number of the next event, which must be called name.
func (c *reader) number(name string) int {
	c.t.Helper()
	e := c.event()
	n, err := strconv.Atoi(strings.TrimSpace(e.Data))
	if e.Name != name || err != nil {
		c.t.Fatalf("got event %q with %.40q, want a number called %q", e.Name, e.Data, name)
	}
	return n
}

// wantNumbers reads the events "n" from..to.
func (c *reader) wantNumbers(from, to int) {
	c.t.Helper()
	for want := from; want <= to; want++ {
		if got := c.number("n"); got != want {
			c.t.Fatalf("got event %d, want %d", got, want)
		}
	}
}

// wantFarewell reads the rest, which must be nothing but a retry time, and a clean end.
func (c *reader) wantFarewell(retry string) {
	c.t.Helper()
	if b, err := c.Block(); err != io.EOF || b.Retry != retry {
		c.t.Fatalf("got %+v, %v, want a farewell with retry %s and a clean end", b, err, retry)
	}
}

// oneByte reads one byte at a time.
type oneByte struct{ io.Reader }

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
