package headcount_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"headcount"
	"headcount/internal/engine"
	"headcount/internal/tlsconn/tlstest"
)

// opened is told how each stream is written.
type opened struct {
	headcount.Unobserved
	by chan engine.Transport
}

func (o opened) Opened(by engine.Transport) { o.by <- by }

// With TLSListener, a host that serves TLS itself gets streams that cost as little as plain ones. Without it, streams
// work too.
func TestTLSListener(t *testing.T) {
	for _, tt := range []struct {
		name   string
		listen func(net.Listener, *tls.Config) net.Listener
		want   engine.Transport
	}{
		{"TLSListener", headcount.TLSListener, engine.ByEpollTLS},
		{"tls.NewListener", tls.NewListener, engine.ByStream},
	} {
		t.Run(tt.name, func(t *testing.T) {
			streams := opened{by: make(chan engine.Transport, 1)}
			live, err := headcount.New(headcount.Options{Observer: streams})
			if err != nil {
				t.Fatal(err)
			}
			if live.Stats().Writer == headcount.Portable && tt.want == engine.ByEpollTLS {
				tt.want = engine.ByStream // on other systems than Linux
			}
			server, client := tlstest.Configs(t)
			server.NextProtos = []string{"h2", "http/1.1"}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			host := &http.Server{Handler: http.StripPrefix("/live", live)}
			served := make(chan error, 1)
			go func() { served <- host.Serve(tt.listen(l, server)) }()
			c, err := tls.Dial("tcp", l.Addr().String(), client)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(15 * time.Second))
			fmt.Fprint(c, "GET /live/events?room=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
			in := bufio.NewReader(c)
			until := func(want string) {
				t.Helper()
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						t.Fatalf("read %s: %v", want, err)
					}
					if strings.HasPrefix(line, want) {
						return
					}
				}
			}
			until("data: 1")
			select {
			case by := <-streams.by:
				if by != tt.want {
					t.Errorf("the stream is written by %s, want %s", by, tt.want)
				}
			case <-time.After(15 * time.Second):
				t.Error("nobody was told of the stream")
			}
			if _, err := live.Emit(t.Context(), headcount.Event{Room: "a", Name: "news", Data: "hi"}); err != nil {
				t.Error(err)
			}
			until(`data: "hi"`)
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			defer cancel()
			if err := live.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			until("retry: ")
			if err := host.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}
