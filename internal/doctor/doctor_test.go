package doctor_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/bubble"
	"headcount/internal/doctor"
	"headcount/internal/engine"
	"headcount/internal/httpapi"
)

type rig struct {
	*bubble.Bubble
	doctor *doctor.Doctor
	engine *engine.Engine
}

// inBubble runs the test in a bubble with its own doctor, beside an engine as on a server.
func inBubble(t *testing.T, test func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := doctor.New(3*time.Second, 500*time.Millisecond)
		e, err := engine.New(engine.Options{Writer: engine.Portable})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		log := slog.New(slog.DiscardHandler)
		mux := http.NewServeMux()
		mux.Handle("/", httpapi.New(httpapi.Options{Engine: e, Log: log, Observer: engine.Unobserved{}}))
		mux.Handle("/doctor/", httpapi.Errors{Log: log}.Handle(func(w http.ResponseWriter, r *http.Request) error {
			return d.Probe(w, r, strings.TrimPrefix(r.URL.Path, "/doctor/"))
		}))
		test(t, &rig{bubble.Start(t, httpapi.Bounded(mux)), d, e})
	})
}

// The events of a probe come at the requested times, the last one contains what was sent, and nobody is counted.
func TestProbeStream(t *testing.T) {
	inBubble(t, func(t *testing.T, b *rig) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://headcount.test/doctor/stream?gaps=0.5,35", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Last-Event-ID", "a cursor")
		begin := time.Now()
		resp, err := b.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-store, no-transform", "X-Accel-Buffering": "no",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("got %s %q, want %q", name, got, want)
			}
		}

		in := bufio.NewReader(resp.Body)
		var text []byte
		for _, want := range []struct {
			at   time.Duration
			data string
		}{
			{0, `{"n":0,"at":0,"lastEventId":"a cursor"}`},
			{500 * time.Millisecond, `{"n":1,"at":0.5,"lastEventId":"a cursor"}`},
			{35500 * time.Millisecond, `{"n":2,"at":35.5,"lastEventId":"a cursor"}`},
		} {
			for found := false; !found; {
				line, err := in.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				text = append(text, line...)
				if data, ok := strings.CutPrefix(line, "data: "); ok {
					found = true
					if strings.TrimSpace(data) != want.data || time.Since(begin) != want.at {
						t.Errorf("after %v: got %s, want %s after %v", time.Since(begin), data, want.data, want.at)
					}
				}
			}
		}
		rest, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n') // of the last event
		last, found := strings.CutPrefix(string(rest), "\nevent: io:end\ndata: ")
		var end struct {
			Bytes  int
			SHA256 string
		}
		sum := sha256.Sum256(text)
		if err := json.Unmarshal([]byte(last), &end); err != nil || !found || end.Bytes != len(text) || end.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("got end %q, want that of %d bytes with the sum %x", rest, len(text), sum)
		}
	})
}

func TestProbeMistakes(t *testing.T) {
	tests := []struct {
		name, path string
		status     int
		want       string
	}{
		{"no number", "stream?gaps=1,x", 400, `"x"`},
		{"negative", "stream?gaps=-1", 400, `"-1"`},
		{"not a number", "stream?gaps=NaN", 400, `"NaN"`},
		{"an empty one", "stream?gaps=1,,1", 400, `""`},
		{"too long", "stream?gaps=121", 400, "seconds"},
		{"too long in all", "stream?gaps=100,100", 400, "2m0s in all"},
		{"too many", "stream?gaps=" + strings.Repeat("0,", 64) + "0", 400, "at most 64"},
		{"no handshake", "socket", 426, "handshake"},
		{"another probe", "other", 404, "nothing here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *rig) {
				if got := b.Do("GET", "/doctor/"+tt.path, "").WantError(t, tt.status); !strings.Contains(got, tt.want) {
					t.Errorf("got %q, want %q in it", got, tt.want)
				}
			})
		})
	}
}

// The number of running probes is limited. Further requests are told to retry, and a probe that ends makes room.
func TestProbesAreBounded(t *testing.T) {
	const maxProbes = 64
	inBubble(t, func(t *testing.T, b *rig) {
		leave := func() {}
		for range maxProbes {
			ctx, cancel := context.WithCancel(t.Context())
			leave = cancel
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", "http://headcount.test/doctor/stream?gaps=100", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := b.Client.Do(req)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("got %v, %v", resp, err)
			}
			defer resp.Body.Close()
		}
		if n := b.engine.Streams(); n != 0 {
			t.Errorf("the probes count as %d streams, want none", n)
		}
		if a := b.Do("GET", "/count", ""); a.StatusCode != 200 || !strings.Contains(a.Body, `"users":0`) {
			t.Errorf("got %s %s for /count while doctors are busy, want 200 and 0 users", a.Status, a.Body)
		}
		refused := b.Do("GET", "/doctor/path", "")
		refused.WantError(t, 503)
		if refused.Header.Get("Retry-After") == "" {
			t.Error("the refusal does not say when to come back")
		}
		leave()
		synctest.Wait()
		if a := b.Do("GET", "/doctor/path", ""); a.StatusCode != 200 {
			t.Errorf("got %s after one has gone, want 200", a.Status)
		}
	})
}

// A server that stops does not wait for probes.
func TestProbesEndWithStop(t *testing.T) {
	inBubble(t, func(t *testing.T, b *rig) {
		done := make(chan bubble.Answer)
		go func() { done <- b.Do("GET", "/doctor/stream?gaps=100", "") }()
		synctest.Wait()
		begin := time.Now()
		b.doctor.Stop()
		b.doctor.Stop() // a second call does nothing
		a := <-done
		if took := time.Since(begin); took != 0 || strings.Contains(a.Body, "io:end") {
			t.Errorf("the probe ended after %v with %q, want at once and without its end", took, a.Body)
		}
	})
}

func TestProbePath(t *testing.T) {
	tests := []struct{ name, header, value, want string }{
		{"direct", "Accept", "*/*", `{"proto":"HTTP/1.1","proxied":false,"heartbeat":3,"linger":0.5}`},
		{"proxied", "Via", "1.1 box", `{"proto":"HTTP/1.1","proxied":true,"heartbeat":3,"linger":0.5}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *rig) {
				a := b.Do("GET", "/doctor/path", "", tt.header, tt.value)
				if got := strings.TrimSpace(a.Body); got != tt.want || a.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// The handshake is the example of RFC 6455, and the connection ends with a close frame.
func TestProbeSocket(t *testing.T) {
	inBubble(t, func(t *testing.T, b *rig) {
		conn, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// A proxy may have changed Host.
		if _, err := io.WriteString(conn, "GET /doctor/socket HTTP/1.1\r\nHost: headcount.test\r\nOrigin: https://example.com\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Sec-WebSocket-Accept"); resp.StatusCode != 101 || got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("got %s, %q", resp.Status, got)
		}
		frame := make([]byte, 4)
		if _, err := io.ReadFull(in, frame); err != nil || fmt.Sprintf("%x", frame) != "880203e8" {
			t.Errorf("got frame %x, %v; want 880203e8", frame, err)
		}
		// A client that neither closes nor sends anything does not hold the connection.
		begin := time.Now()
		if n, err := io.Copy(io.Discard, in); n != 0 || err != nil || time.Since(begin) > 10*time.Second {
			t.Errorf("got %d bytes, %v, after %v; want the end within 10 s", n, err, time.Since(begin))
		}
	})
}

// A probe over HTTP/2 survives silence too, because the doctor tests how the path handles silence.
func TestProbeOverHTTP2(t *testing.T) {
	inBubble(t, func(t *testing.T, b *rig) {
		b.OverHTTP2()
		if a := b.Do("GET", "/doctor/stream?gaps=35,70", ""); !strings.Contains(a.Body, "io:end") {
			t.Errorf("got %q, want a probe to its end", a.Body)
		}
	})
}
