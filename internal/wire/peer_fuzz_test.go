//go:build linux

package wire_test

import (
	"errors"
	"testing"
	"time"

	"headcount/internal/hub"
	"headcount/internal/wire"
)

// FuzzPeer sends any bytes over a TLS connection before it is taken over, and after. The stream ends when the peer has
// gone, whatever it sent.
func FuzzPeer(f *testing.F) {
	alert := append([]byte{23, 3, 3, 0, 19}, make([]byte, 19)...)
	f.Add([]byte{}, []byte{}, false)
	f.Add([]byte{}, alert, false)
	f.Add(alert, alert[:7], true)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte{23, 3, 3, 255, 255}, true)
	f.Add([]byte{20, 3, 3, 0, 1, 1}, []byte{21, 3, 3, 0, 2, 1, 0}, false)
	f.Fuzz(func(t *testing.T, before, after []byte, uring bool) {
		server, client := tlsPair(t, nil, nil)
		e, err := wire.NewEpoll(time.Hour, uring)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		raw := client.NetConn()
		_, _ = raw.Write(before)
		h := hub.New(hub.Options{})
		sub := h.Open("a").Join(hub.JoinOptions{Prefix: []byte("HTTP/1.1 200 OK\r\n\r\n"), Retry: time.Second})
		socket, err := wire.Detach(server, sub)
		if err != nil {
			if kept := new(wire.NotDetached); !errors.As(err, &kept) {
				t.Errorf("got %v, want a NotDetached error", err)
			}
			return
		}
		ended := make(owner, 1)
		e.Take(socket, sub, false, ended)
		_, _ = raw.Write(after) // the stream may have ended
		h.Emit("a", "n", []byte("1"))
		_ = raw.Close()
		select {
		case <-ended:
		case <-time.After(testTimeout):
			t.Error("the peer has gone, and the stream is still there")
		}
	})
}
