package restart

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headcount/internal/tlsconn/tlstest"
	"headcount/test/crowd"
	"headcount/test/rig"
)

// hammer sends requests of one kind over one connection that is kept alive, as a browser does.
type hammer struct {
	t      *testing.T
	server *rig.Server
	client *http.Client
	name   string // of the kind, for messages and ids
	events *atomic.Int64
	sent   int
}

// errRefused is an answer that a client should not get.
var errRefused = errors.New("refused")

// do sends a request and reads the answer. A connection that is closed between two requests is replaced once, as HTTP
// asks of clients.
func (h *hammer) do(method, path string, body func() io.Reader, read func(io.Reader) error) error {
	for retried := false; ; retried = true {
		reused := false
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		trace := httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }}
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &trace), method, h.server.URL+path, body())
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+crowd.Token)
		if path == "/emit" {
			req.Header.Set("Idempotency-Key", fmt.Sprintf("%s-%d", h.name, h.sent))
		}
		resp, err := h.client.Do(req)
		if err != nil {
			if reused && !retried {
				continue
			}
			return err
		}
		err = read(resp.Body)
		resp.Body.Close()
		if resp.StatusCode >= http.StatusMultipleChoices {
			return fmt.Errorf("%w: %s", errRefused, resp.Status)
		}
		return err
	}
}

func whole(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// event reads a stream up to its first event. It may end before one if its client is told to return.
func event(r io.Reader) error {
	returns := false
	for in := bufio.NewScanner(r); in.Scan(); {
		if strings.HasPrefix(in.Text(), "data:") {
			return nil
		}
		returns = returns || strings.HasPrefix(in.Text(), "retry:")
	}
	if !returns {
		return errors.New("the stream ended without an event or a retry time")
	}
	return nil
}

// kinds are the kinds of requests.
func (h *hammer) kinds() map[string]func() error {
	nothing := func() io.Reader { return nil }
	get := func(path string, read func(io.Reader) error) func() error {
		return func() error { return h.do(http.MethodGet, path, nothing, read) }
	}
	post := func(path, body string, slowly bool) func() error {
		return func() error {
			return h.do(http.MethodPost, path, func() io.Reader {
				if slowly {
					return &slow{strings.NewReader(body[:5]), strings.NewReader(body[5:]), false}
				}
				return bytes.NewReader([]byte(body))
			}, whole)
		}
	}
	emit := func(slowly bool) func() error {
		return func() error {
			h.sent++
			err := post("/emit", fmt.Sprintf(`{"event":"n","room":"hammer","data":"%s %d"}`, h.name, h.sent), slowly)()
			if err == nil {
				h.events.Add(1)
			}
			return err
		}
	}
	id := strings.NewReplacer(" ", "-", "/", "-").Replace(h.name) + "-0001"
	return map[string]func() error{
		"emit":         emit(false),
		"slow emit":    emit(true),
		"count":        get("/count?room=hammer", whole),
		"page":         get("/", whole),
		"ready":        get("/readyz", whole),
		"client":       get("/socket.io/socket.io.js", whole),
		"poll":         get("/events?poll=1&wait=0&room=polled&id="+id, whole),
		"long poll":    get("/events?poll=1&room=hammer&id="+id, whole),
		"stream":       get("/events?room=streamed&id="+id, event),
		"anonymous":    get("/events?room=streamed", event),
		"alive":        post("/alive", `{"room":"alive","ids":["`+id+`"]}`, false),
		"slow goodbye": post("/leave", `{"room":"alive","ids":["`+id+`"]}`, true),
	}
}

// slow is a body of which the second half comes later.
type slow struct {
	first, second io.Reader
	waited        bool
}

func (s *slow) Read(p []byte) (int, error) {
	if n, err := s.first.Read(p); err == nil {
		return n, nil
	}
	if !s.waited {
		s.waited = true
		<-time.After(150 * time.Millisecond)
	}
	return s.second.Read(p)
}

// Requests of all kinds come all the time, over plain HTTP, TLS and HTTP/2, and the server is upgraded ten times.
// Nobody is refused, no connection is cut within a request, and each event that was accepted is delivered once.
func TestUpgradeUnderRequests(t *testing.T) {
	upgrades := 10
	if text := os.Getenv("HAMMER_UPGRADES"); text != "" {
		upgrades, _ = strconv.Atoi(text)
	}
	for _, link := range tlstest.Links() {
		t.Run(link.Name, func(t *testing.T) {
			args := append(link.Options(t), "-token", crowd.Token, "-max-streams-per-ip", "0")
			server := rig.Start(t, args...)
			hammers(t, server, link.Protocols, upgrades)
			server.Stop()
		})
	}
}

func hammers(t *testing.T, server *rig.Server, protocols *http.Protocols, upgrades int) {
	transport := func() *http.Transport {
		p := *protocols
		return &http.Transport{Protocols: &p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	}
	watcher := &rig.Subscriber{URL: server.URL, Room: "hammer", Transport: transport()}
	watcher.Start(t, rig.Every(50*time.Millisecond))
	watcher.AwaitCount(t, soon, 1)
	stop := make(chan struct{})
	var running sync.WaitGroup
	var events atomic.Int64
	var requests atomic.Int64
	for kind := range new(hammer).kinds() {
		for i := range 2 {
			h := &hammer{t: t, server: server, client: &http.Client{Transport: transport()}, name: fmt.Sprintf("%s %d", kind, i), events: &events}
			send := h.kinds()[kind]
			running.Go(func() {
				defer h.client.CloseIdleConnections()
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := send(); err != nil {
						t.Errorf("%s: %v", h.name, err)
						return
					}
					requests.Add(1)
				}
			})
		}
	}
	for range upgrades {
		before := requests.Load()
		rig.Wait(t, soon, "some requests", func() bool { return t.Failed() || requests.Load() > before+100 })
		t.Logf("paused for %v", server.Upgrade())
	}
	close(stop)
	running.Wait()
	t.Logf("%d requests, %d events", requests.Load(), events.Load())
	rig.Wait(t, soon, "all events", func() bool { return int64(len(watcher.Got("n"))) >= events.Load() })
	seen := make(map[string]bool)
	for _, e := range watcher.Got("n") {
		if seen[e.Data] {
			t.Errorf("the event %s came twice", e.Data)
		}
		seen[e.Data] = true
	}
	if gaps := watcher.Got("io:gap"); len(gaps) > 0 {
		t.Errorf("the watcher was told of %d gaps, want none", len(gaps))
	}
}
