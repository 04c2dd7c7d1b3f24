package wire_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"headcount/internal/hub"
	"headcount/internal/tlsconn"
	"headcount/internal/tlsconn/tlstest"
	"headcount/internal/wire"
)

// Input over TLS that is not an alert ends the stream cleanly, because nothing decrypts it. It could be a KeyUpdate.
func TestInputOverTLS(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		if !r.tlsLoop() {
			return // net/http reads it
		}
		c := r.open("room=a")
		s := r.stream(0)
		r.emit("a", 1, 10, 0)
		c.wantNumbers(1, 10)
		if _, err := io.WriteString(c.in, "rubbish"); err != nil {
			t.Fatal(err)
		}
		if b, err := c.Block(); err != io.EOF || b.Retry == "" || b.Dispatched {
			t.Fatalf("got %+v, %v, want a farewell and a clean end", b, err)
		}
		// After the end of the answer comes the end of TLS, and no reset that could discard it.
		if _, err := c.in.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want the end", err)
		}
		s.wantEnd(t, wire.Ended)
	})
}

// The same happens while the socket is full. What was sealed goes out first.
func TestInputOfBlockedReaderOverTLS(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start(tinyBuffer, history(3000))
		if !r.tlsLoop() {
			return
		}
		c := r.subscribe("room=a", tiny).answer(nil)
		s := r.stream(0)
		r.emit("a", 1, 3000, 1<<10)
		if _, err := io.WriteString(c.in, "rubbish"); err != nil {
			t.Fatal(err)
		}
		for next := 1; ; next++ {
			b, err := c.Block()
			if err == io.EOF && b.Retry != "" && next > 1 {
				break
			}
			if err != nil {
				t.Fatalf("the stream ended without a farewell: %v", err)
			}
			if n := strings.TrimSpace(b.Data); b.Dispatched && n != fmt.Sprint(next) {
				t.Fatalf("got event %s, want %d", n, next)
			} else if !b.Dispatched {
				next--
			}
		}
		s.wantEnd(t, wire.Ended)
	})
}

// A client that sends close_notify gets one back. "Each party MUST send a "close_notify" alert before closing its write
// side of the connection" (RFC 8446, 6.1).
func TestCloseNotifyIsAnswered(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		if !r.tlsLoop() {
			return
		}
		c := r.open("room=a")
		s := r.stream(0)
		if err := c.tls.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wantAlert(t, c.tls)
		s.wantEnd(t, wire.Gone)
	})
}

// wantAlert reads one record of the size of an alert, and then the end. crypto/tls does not tell whether it got an
// alert or the end of the connection alone.
func wantAlert(t *testing.T, c *tls.Conn) {
	t.Helper()
	rest, err := io.ReadAll(c.NetConn())
	if err != nil || len(rest) != 2+tlsconn.Overhead || !bytes.HasPrefix(rest, []byte{23, 3, 3, 0, 19}) {
		t.Errorf("got %x, %v, want close_notify", rest, err)
	}
}

// A close_notify in the same packet as the request takes effect, though crypto/tls has read it by then.
func TestGoneWithTheRequest(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start()
		if !r.tlsLoop() {
			return
		}
		cork := &corked{TCPConn: r.dial(0)}
		c := tls.Client(cork, r.client)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		cork.on = true
		if _, err := io.WriteString(c, "GET /events?room=a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite() // this also makes all later writes fail
		_ = cork.SetDeadline(time.Now().Add(testTimeout))
		if _, err := cork.TCPConn.Write(cork.held); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(c)
		eventually(t, func() error { return roomGone(r, 0) })
	})
}

// corked holds back what is written.
type corked struct {
	*net.TCPConn
	on   bool
	held []byte
}

func (c *corked) Write(p []byte) (int, error) {
	if !c.on {
		return c.TCPConn.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

// The portable writer writes a stream that cannot be taken over, on the connection as it is.
func TestNotDetached(t *testing.T) {
	for _, tt := range []struct {
		name string
		want wire.Obstacle
		conn func(t *testing.T) (server net.Conn, client io.ReadWriter)
	}{
		{"no TCP", wire.OtherListener, func(t *testing.T) (net.Conn, io.ReadWriter) {
			a, b := net.Pipe()
			t.Cleanup(func() { _, _ = a.Close(), b.Close() })
			return a, b
		}},
		{"TLS of another listener", wire.OtherListener, func(t *testing.T) (net.Conn, io.ReadWriter) {
			return tlsPair(t, func(c net.Conn, config *tls.Config) *tls.Conn { return tls.Server(c, config) }, nil)
		}},
		{"TLS 1.2", wire.OtherCipher, func(t *testing.T) (net.Conn, io.ReadWriter) {
			return tlsPair(t, nil, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
		}},
		{"no secret", wire.NotProven, func(t *testing.T) (net.Conn, io.ReadWriter) {
			return tlsPair(t, func(c net.Conn, config *tls.Config) *tls.Conn {
				return tls.Server(&tlsconn.Conn{Conn: c}, config)
			}, nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := tt.conn(t)
			h := hub.New(hub.Options{})
			room := h.Open("a")
			sub := room.Join(hub.JoinOptions{Prefix: []byte("HTTP/1.1 200 OK\r\n\r\n"), Retry: time.Second})
			read := make(chan []byte, 1)
			go func() {
				all, _ := io.ReadAll(client)
				read <- all
			}()
			_, err := wire.Detach(server, sub)
			var not *wire.NotDetached
			if !errors.As(err, &not) || not.Obstacle != tt.want {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			h.Emit("a", "n", []byte("1"))
			out := wire.NewStream(sub, time.Hour, false)
			out.End(2 * time.Second)
			w, gone, stop := wire.NewConnWriter(server)
			if got := out.Run(gone, w); got != wire.Ended {
				t.Errorf("ended as %s, want ended", got)
			}
			stop()
			all := <-read
			text := string(all)
			if !strings.HasPrefix(text, "HTTP/1.1 200 OK\r\n\r\nretry: 1000\nid: ") || strings.Count(text, "event: n\n") != 1 || !strings.HasSuffix(text, "\n\nretry: 2000\n") {
				t.Errorf("the reader got %q", text)
			}
		})
	}
}

// tlsPair returns both ends of a TLS connection over loopback. serve makes the server's end of a connection, nil as a
// listener of ours does.
func tlsPair(t testing.TB, serve func(net.Conn, *tls.Config) *tls.Conn, change func(client *tls.Config)) (*tls.Conn, *tls.Conn) {
	t.Helper()
	config, clientConfig := tlstest.Configs(t)
	if change != nil {
		change(clientConfig)
	}
	server, client := tlstest.Pair(t, func(l net.Listener) net.Listener {
		if serve == nil {
			return tlsconn.NewListener(l, config)
		}
		return serving{l, func(c net.Conn) net.Conn { return serve(c, config) }}
	}, clientConfig)
	if err := server.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// serving is a listener whose connections serve has wrapped.
type serving struct {
	net.Listener
	serve func(net.Conn) net.Conn
}

func (l serving) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.serve(c), nil
}

// A stream in a log or an error message shows no key.
func TestStreamIsNotPrinted(t *testing.T) {
	server, client := tlsPair(t, nil, nil)
	go func() { _, _ = io.Copy(io.Discard, client) }()
	sub := hub.New(hub.Options{}).Open("a").Join(hub.JoinOptions{Prefix: []byte("x")})
	socket, err := wire.Detach(server, sub)
	if err != nil {
		t.Fatal(err)
	}
	e, err := wire.NewEpoll(time.Hour, false)
	if err != nil {
		t.Fatal(err)
	}
	c := e.Take(socket, sub, false, make(owner, 1))
	type holder struct{ c *wire.Conn }
	numbers := regexp.MustCompile(`\[([0-9a-fx]+[ ,]){11}|[0-9a-f]{32}`) // as many as an IV has, or a key
	shows := func(v any) {
		t.Helper()
		text, _ := json.Marshal(v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			text = fmt.Appendf(text, verb, v)
		}
		if bytes.Contains(text, []byte("iv:[")) || bytes.Contains(text, []byte("key:[")) || numbers.Match(text) {
			t.Errorf("%T shows %s", v, text)
		}
	}
	for _, v := range []any{c, []any{c}, socket, &socket} {
		shows(v)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	shows(holder{c}) // not while the loop writes to it
	shows(&holder{c})
}

// Sockets that take only so many bytes cut the records at every byte. The client gets the same, and no sequence number
// is used twice or left out. Otherwise crypto/tls would stop reading.
func TestRecordsCut(t *testing.T) {
	writers(t, func(t *testing.T, start func(...func(*rig)) *rig) {
		r := start(tinyBuffer)
		if !r.tlsLoop() {
			return
		}
		const rooms = 60
		var all []*reader
		for i := range rooms {
			room := fmt.Sprint("room", i)
			all = append(all, r.subscribe("room="+room, tiny))
			r.stream(i)
			r.emit(room, 1, 1, 7*i) // shifts the rest against the end of the buffers
			r.emit(room, 2, 40, 311+i)
			r.emit(room, 41, 41, 100<<10)
			r.stream(i).end(time.Second)
		}
		for i, c := range all {
			c.answer(nil)
			got := 0
			for {
				b, err := c.Block()
				if err == io.EOF && b.Retry == "1000" {
					break
				}
				if err != nil {
					t.Fatalf("reader %d: %v after event %d", i, err, got)
				}
				if b.Dispatched {
					if got++; strings.TrimSpace(b.Data) != fmt.Sprint(got) {
						t.Fatalf("reader %d: got event %.10s, want %d", i, b.Data, got)
					}
				}
			}
			if got == 0 {
				t.Errorf("reader %d got no event: the test proves nothing", i)
			}
		}
	})
}
