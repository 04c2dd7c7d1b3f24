package httpapi_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A stream over HTTP/2 survives silences that are longer than a write may take.
func TestSilenceOverHTTP2(t *testing.T) {
	inBubble(t, options{Heartbeat: 2 * time.Minute, Token: "secret"}, func(t *testing.T, b *rig) {
		b.OverHTTP2()
		s := b.Open("")
		if s.Resp.ProtoMajor != 2 {
			t.Fatalf("got %s, want HTTP/2", s.Resp.Proto)
		}
		time.Sleep(10 * time.Minute)
		b.Do("POST", "/emit", `{"event":"news"}`, "Authorization", "Bearer secret")
		if err := s.Ended(); err != nil {
			t.Errorf("the stream ended: %v", err)
		}
		if got := s.Values("news"); len(got) != 1 {
			t.Errorf("got %d events, want 1", len(got))
		}
	})
}

// A client that does not read a response, or reads too slowly, is cut off after a minute. A reused connection has a
// minute again.
func TestSlowAnswers(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		for _, path := range []string{"/count", "/badge.svg", "/events?poll=1&room=slow"} {
			conn, err := b.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: headcount.test\r\n\r\n")
			conn.Read(make([]byte, 1000))
			time.Sleep(100 * time.Second)
			io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: headcount.test\r\n\r\n")
			var got int
			for err == nil && time.Since(begin) < 10*time.Minute {
				var n int
				n, err = conn.Read(make([]byte, 10))
				got += n
				time.Sleep(5 * time.Second)
			}
			if took := time.Since(begin); got == 0 || took < 160*time.Second || took > 170*time.Second {
				t.Errorf("%s: got %d bytes in %v, want some, until the end after 160 s", path, got, took)
			}
		}
	})
}

// Over HTTP/2 only the stream of a client that allows no data is reset. Its connection stays.
func TestSlowAnswersOverHTTP2(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		conn, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		frames := http2.NewFramer(conn, conn)
		go func() {
			io.WriteString(conn, http2.ClientPreface)
			frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			var block bytes.Buffer
			pack := hpack.NewEncoder(&block)
			for name, value := range map[string]string{":method": "GET", ":scheme": "http", ":authority": "headcount.test", ":path": "/"} {
				pack.WriteField(hpack.HeaderField{Name: name, Value: value})
			}
			frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		}()
		begin := time.Now()
		for {
			frame, err := frames.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if frame, ok := frame.(*http2.RSTStreamFrame); ok {
				if took := time.Since(begin); frame.StreamID != 1 || took != time.Minute {
					t.Errorf("stream %d was reset after %v, want stream 1 after a minute", frame.StreamID, took)
				}
				return
			}
			if time.Since(begin) > 10*time.Minute {
				t.Fatal("the stream lives after 10 minutes")
			}
		}
	})
}
