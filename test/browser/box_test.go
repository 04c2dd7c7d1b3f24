package browser

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/test/rig"
)

// manner is how a middlebox treats the streams that pass it.
type manner int

const (
	passes   manner = iota // each piece as it comes
	holds                  // nothing before the response is complete
	mutes                  // the header, and then nothing
	deafens                // the first piece, and then nothing
	cuts                   // passes, and breaks the connection every 3 s
	forbids                // 502 for streams; polls pass
	declines               // 502 for everything
	lags                   // each piece when the next one comes
	blocks                 // 4 KiB at a time
	hurries                // 502 for streams, and for polls that take more than 2 s
	censors                // 403 for what is not GET
	retypes                // lines that end with \r\n
	tires                  // passes, and breaks the connection after 1.5 s of silence
)

// box is a middlebox between browsers and a server. It is a reverse proxy that treats GET /events as some real ones
// do. Like many of them it sends no header that reveals it to browsers, and it does not tell the server when a browser
// disconnects.
type box struct {
	*httptest.Server

	mu      sync.Mutex
	manner  manner
	open    int // streams under way at the browsers' side
	most    int // the most there were at once
	streams int // how many there were
	polls   int // and polls
	asked   []url.Values
	when    []time.Time
}

func newBox(t *testing.T, server *rig.Server, how manner) *box {
	t.Helper()
	b := &box{manner: how}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.pass(w, r, server) }))
	t.Cleanup(b.Close)
	t.Cleanup(b.CloseClientConnections)
	return b
}

func (b *box) becomes(how manner) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.manner = how
}

func (b *box) now() manner {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.manner
}

// seen returns how many streams are open, the most that were open at once, how many there were in all, and how many
// polls.
func (b *box) seen() (open, most, streams, polls int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.most, b.streams, b.polls
}

// enter notes a request for events and returns how to treat it.
func (b *box) enter(q url.Values) (how manner, poll bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, q)
	b.when = append(b.when, time.Now())
	if q.Get("poll") == "1" {
		b.polls++
		return b.manner, true
	}
	b.streams++
	b.open++
	b.most = max(b.most, b.open)
	return b.manner, false
}

func (b *box) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
}

func (b *box) pass(w http.ResponseWriter, r *http.Request, server *rig.Server) {
	// The box has the pages too: one that Chromium is given by the test is to it from some other place, from where
	// plain http may not load what is on this machine.
	if name, ok := strings.CutPrefix(r.URL.Path, "/page/"); ok {
		w.Header().Set("Content-Security-Policy", policy)
		http.ServeFile(w, r, filepath.Join("testdata", filepath.Base(name)))
		return
	}
	how := passes
	if r.URL.Path == "/events" {
		var poll bool
		if how, poll = b.enter(r.URL.Query()); !poll {
			defer b.leave()
		}
		if how == declines || (how == forbids || how == hurries) && !poll {
			http.Error(w, "bad gateway", http.StatusBadGateway)
			return
		}
	}
	if r.URL.Path == "/doctor/stream" {
		how = b.now()
		if how == declines || how == forbids || how == hurries {
			http.Error(w, "bad gateway", http.StatusBadGateway)
			return
		}
	}
	if r.Method == http.MethodPost && b.now() == censors {
		http.Error(w, "uploads are forbidden here", http.StatusForbidden)
		return
	}
	// Not with the context of r: the server is not told when the browser hangs up.
	ctx := context.Background()
	if how == hurries {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
	}
	up, err := http.NewRequestWithContext(ctx, r.Method, server.URL+r.URL.RequestURI(), r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	up.Header = r.Header.Clone()
	up.Header.Set("Via", "1.1 box")
	// Of this connection alone: a box like this knows no WebSockets.
	up.Header.Del("Connection")
	up.Header.Del("Upgrade")
	answer, err := http.DefaultTransport.RoundTrip(up)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	if how == holds {
		whole, _ := io.ReadAll(answer.Body) // what was cut off is passed on as well
		w.WriteHeader(answer.StatusCode)
		w.Write(whole)
		return
	}
	w.WriteHeader(answer.StatusCode)
	flush := http.NewResponseController(w)
	stream := strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") && answer.ContentLength < 0
	if !stream {
		io.Copy(w, answer.Body)
		return
	}
	flush.Flush()
	end := r.Context().Done()
	switch how {
	case mutes:
		<-end
		return
	case cuts:
		time.AfterFunc(3*time.Second, func() { answer.Body.Close() })
	}
	go func() {
		<-end
		answer.Body.Close() // for the test's own sake, when all is over
	}()
	tired := time.AfterFunc(time.Hour, func() { answer.Body.Close() })
	defer tired.Stop()
	var held []byte
	piece := make([]byte, 64<<10)
	for n := 0; ; n++ {
		if how == tires {
			tired.Reset(1500 * time.Millisecond)
		}
		got, err := answer.Body.Read(piece)
		if how == deafens && n > 0 {
			got = 0
		}
		out := piece[:got]
		switch how {
		case lags:
			out, held = held, slices.Clone(out)
		case blocks:
			held = append(held, out...)
			out = held[:len(held)&^(4<<10-1)]
			held = slices.Clone(held[len(out):])
		case retypes:
			out = bytes.ReplaceAll(out, []byte("\n"), []byte("\r\n"))
		}
		w.Write(out)
		flush.Flush()
		if err == nil {
			continue
		}
		if how == cuts || how == tires && !errors.Is(err, io.EOF) {
			panic(http.ErrAbortHandler)
		}
		w.Write(held)
		return
	}
}
