package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headcount"
)

// pipes is a listener and its dialer.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	return p.dialFrom("192.0.2.1"), nil
}

func (p *pipes) dialFrom(address string) net.Conn {
	client, server := net.Pipe()
	p.conns <- from{server, address}
	return client
}

// from is a connection with a remote address.
type from struct {
	net.Conn
	address string
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.address), Port: 1} }

const (
	mostIdle = 5
	proxy    = "192.0.2.99" // a trusted proxy
)

// onPublic runs the test in a bubble with the server of the public listener.
func onPublic(t *testing.T, test func(*testing.T, *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		// The kernel's sockets are outside the bubble.
		log := slog.New(slog.DiscardHandler)
		app, err := newApp(&config{writer: string(headcount.Portable)}, log)
		if err != nil {
			t.Fatal(err)
		}
		if err := app.start(&config{writer: string(headcount.Portable)}, nil, nil, log); err != nil {
			t.Fatal(err)
		}
		l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		idle := newIdleConns(mostIdle, []netip.Prefix{netip.MustParsePrefix(proxy + "/32")})
		s := publicServer(app.handler(), "", &switchover{idle: idle}, (&config{h2c: true}).protocols(), log)
		done := make(chan error)
		go func() { done <- s.Serve(l) }()
		test(t, l)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if err := app.live.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // net/http closes a connection half a second after a 431
	})
}

// watched is a connection that records when the other side has closed it.
type watched struct {
	net.Conn
	closed chan time.Time
	once   sync.Once
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		w.once.Do(func() { w.closed <- time.Now() })
	}
	return n, err
}

// A connection may be idle for two minutes, and is never cut during a request.
func TestIdleConnections(t *testing.T) {
	for _, row := range []struct {
		name string
		h2   bool
	}{{"HTTP/1.1", false}, {"HTTP/2", true}} {
		t.Run(row.name, func(t *testing.T) {
			onPublic(t, func(t *testing.T, l *pipes) {
				conns := 0
				conn := &watched{closed: make(chan time.Time, 1)}
				way := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					conns++
					var err error
					conn.Conn, err = l.dial(ctx, network, addr)
					return conn, err
				}}
				way.Protocols.SetHTTP1(!row.h2)
				way.Protocols.SetUnencryptedHTTP2(row.h2)
				defer way.CloseIdleConnections()
				get := func(path string) io.ReadCloser {
					resp, err := (&http.Client{Transport: way}).Get("http://headcount.test" + path)
					if err != nil {
						t.Fatal(err)
					}
					return resp.Body
				}
				finish := func(body io.ReadCloser) {
					io.Copy(io.Discard, body)
					body.Close()
				}
				for range 5 {
					finish(get("/count"))
					time.Sleep(idleTime - time.Second)
				}
				finish(get("/doctor/stream?gaps=110"))
				if conns != 1 || len(conn.closed) != 0 {
					t.Errorf("%d connections, closed %d times, want 1 that is open while it is used", conns, len(conn.closed))
				}
				begin := time.Now()
				if idle := (<-conn.closed).Sub(begin); idle != idleTime {
					t.Errorf("the connection was closed after %v without a request, want %v", idle, idleTime)
				}
			})
		})
	}
}

// The number of connections without a request is limited for each address. The oldest is closed, and other addresses
// are not affected.
func TestIdleConnectionsOfOneAddress(t *testing.T) {
	onPublic(t, func(t *testing.T, l *pipes) {
		open := func(address, request string) *watched {
			c := &watched{Conn: l.dialFrom(address), closed: make(chan time.Time, 1)}
			go io.WriteString(c, request)
			go io.Copy(io.Discard, c)
			synctest.Wait()
			t.Cleanup(func() { c.Conn.Close() })
			return c
		}
		wantClosed := func(what string, conns []*watched, first int) {
			t.Helper()
			synctest.Wait()
			for n, c := range conns {
				if closed := len(c.closed) > 0; closed != (n < first) {
					t.Errorf("%s: connection %d of %d is closed: %v, want the first %d to be", what, n, len(conns), closed, first)
				}
			}
		}
		const count = "GET /count HTTP/1.1\r\nHost: headcount.test\r\n\r\n"
		other := open("192.0.2.2", count)
		busy := open("192.0.2.1", "GET /events HTTP/1.1\r\nHost: headcount.test\r\n\r\n")
		var silent, idle, many []*watched
		for range mostIdle + 3 {
			silent = append(silent, open("192.0.2.1", ""))
		}
		wantClosed("before their first request, while they are young", silent, 0)
		time.Sleep(crowdTime)
		idle = append(idle, open("192.0.2.1", count))
		wantClosed("before their first request", silent, 4)
		for range mostIdle + 2 {
			idle = append(idle, open("192.0.2.1", count))
		}
		wantClosed("before their first request, as older ones", silent, len(silent))
		wantClosed("between requests, while they are young", idle, 0)
		time.Sleep(crowdTime)
		open("192.0.2.1", count)
		wantClosed("between requests", idle, 4)
		for range 3 * mostIdle {
			many = append(many, open(proxy, count))
		}
		time.Sleep(crowdTime)
		open(proxy, count)
		wantClosed("of a proxy", many, mostIdle+1)
		wantClosed("of another address, and with a stream", []*watched{other, busy}, 0)
	})
}

// The header of a request has a limit of ten seconds, also on a reused connection.
func TestSlowHeader(t *testing.T) {
	for _, row := range []struct{ name, first string }{
		{"nothing", ""},
		{"the first request", "GET /events HTTP/1.1\r\nHost: headcount.test\r\n"},
		{"a later one", "GET /count HTTP/1.1\r\nHost: headcount.test\r\n\r\nGET /events HTTP/1.1\r\nHost: headcount.test\r\n"},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			onPublic(t, func(t *testing.T, l *pipes) {
				conn, _ := l.dial(t.Context(), "", "")
				defer conn.Close()
				begin := time.Now()
				go func() {
					io.WriteString(conn, row.first)
					for {
						time.Sleep(time.Second)
						if _, err := io.WriteString(conn, "X: y\r\n"); err != nil || row.first == "" {
							return
						}
					}
				}()
				io.Copy(io.Discard, conn)
				if took := time.Since(begin); took > headerTime+time.Second {
					t.Errorf("the connection lived for %v, want %v", took, headerTime)
				}
			})
		})
	}
}

// A header larger than 16 KiB is refused before it is read to its end.
func TestLargeHeader(t *testing.T) {
	onPublic(t, func(t *testing.T, l *pipes) {
		for _, row := range []struct{ bytes, status int }{{maxHeader - 100, 200}, {maxHeader + 8<<10, 431}} {
			conn, _ := l.dial(t.Context(), "", "")
			go io.WriteString(conn, "GET /count HTTP/1.1\r\nHost: headcount.test\r\nX: "+strings.Repeat("x", row.bytes)+"\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != row.status {
				t.Errorf("%d bytes of header: got status %d, want %d", row.bytes, resp.StatusCode, row.status)
			}
			conn.Close()
		}
	})
}

// The connection closes after a request that may have two lengths, and so two ends.
func TestTwoLengths(t *testing.T) {
	onPublic(t, func(t *testing.T, l *pipes) {
		for _, row := range []struct {
			name, header, body string
			closed             bool
		}{
			{"both", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", true},
			{"chunks", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", true},
			{"a length", "Content-Length: 2\r\n", "{}", false},
		} {
			conn, _ := l.dial(t.Context(), "", "")
			go io.WriteString(conn, "POST /leave HTTP/1.1\r\nHost: headcount.test\r\n"+row.header+"\r\n"+row.body)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 400 || resp.Close != row.closed {
				t.Errorf("%s: got status %d, closed %v, want 400, %v", row.name, resp.StatusCode, resp.Close, row.closed)
			}
			conn.Close()
		}
	})
}
