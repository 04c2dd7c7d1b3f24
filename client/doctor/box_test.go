package doctor_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// box is a middlebox between a client and a server. Its zero value passes on everything except WebSockets, as most do
// by default.
type box struct {
	// answer may answer a request itself. Then it returns true.
	answer func(w http.ResponseWriter, r *http.Request) bool
	// header may change the request header. The box adds its own header in any case.
	header func(h http.Header)
	// response may change the response header.
	response func(h http.Header)
	// pass writes the body from its pieces as they come. Without it each piece is passed on at once.
	pass func(w http.ResponseWriter, r *http.Request, pieces <-chan []byte)
	// deaf boxes do not report to the server that the client has gone.
	deaf bool
}

func (b box) serve(w http.ResponseWriter, r *http.Request, transport http.RoundTripper, upstream *url.URL) {
	if b.answer != nil && b.answer(w, r) {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	if b.deaf {
		ctx, cancel = context.WithTimeout(context.WithoutCancel(r.Context()), 30*time.Second)
	}
	out := r.Clone(ctx)
	out.URL.Scheme, out.URL.Host, out.RequestURI = upstream.Scheme, upstream.Host, ""
	out.Header.Del("Connection")
	out.Header.Del("Upgrade")
	out.Header.Set("Via", "1.1 box")
	if b.header != nil {
		b.header(out.Header)
	}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		cancel()
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	pieces := make(chan []byte)
	go func() {
		defer cancel()
		defer resp.Body.Close()
		defer close(pieces)
		for {
			piece := make([]byte, 4096)
			n, err := resp.Body.Read(piece)
			if n > 0 {
				select {
				case pieces <- piece[:n]:
				case <-r.Context().Done(): // a deaf box continues to read
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for name, values := range resp.Header {
		w.Header()[name] = slices.Clone(values)
	}
	if b.response != nil {
		b.response(w.Header())
	}
	if b.pass != nil && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") && resp.ContentLength < 0 {
		b.pass(w, r, pieces)
		return
	}
	w.WriteHeader(resp.StatusCode)
	passAt(w, pieces, 0)
}

// passAt passes each piece on after a delay.
func passAt(w http.ResponseWriter, pieces <-chan []byte, delay time.Duration) {
	for piece := range pieces {
		time.Sleep(delay)
		w.Write(piece)
		w.(http.Flusher).Flush()
	}
}

// hold passes everything on when it is complete.
func hold(w http.ResponseWriter, _ *http.Request, pieces <-chan []byte) {
	var all []byte
	for piece := range pieces {
		all = append(all, piece...)
	}
	w.Write(all)
}

// oneBehind passes each piece on when the next one comes.
func oneBehind(w http.ResponseWriter, _ *http.Request, pieces <-chan []byte) {
	var before []byte
	for piece := range pieces {
		w.Write(before)
		w.(http.Flusher).Flush()
		before = piece
	}
	w.Write(before)
}

// twoBehind passes each piece on when two more have come.
func twoBehind(w http.ResponseWriter, _ *http.Request, pieces <-chan []byte) {
	var before [][]byte
	for piece := range pieces {
		if before = append(before, piece); len(before) > 2 {
			w.Write(before[0])
			w.(http.Flusher).Flush()
			before = before[1:]
		}
	}
	w.Write(bytes.Join(before, nil))
}

// every passes on what has come, at intervals of d.
func every(d time.Duration) func(http.ResponseWriter, *http.Request, <-chan []byte) {
	return func(w http.ResponseWriter, _ *http.Request, pieces <-chan []byte) {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for open := true; open; {
			var all []byte
			for waiting := true; waiting && open; {
				select {
				case piece, ok := <-pieces:
					all, open = append(all, piece...), ok
				case <-tick.C:
					waiting = false
				}
			}
			if len(all) > 0 {
				w.Write(all)
				w.(http.Flusher).Flush()
			}
		}
	}
}

func lateBy(delay time.Duration) func(http.ResponseWriter, *http.Request, <-chan []byte) {
	return func(w http.ResponseWriter, _ *http.Request, pieces <-chan []byte) { passAt(w, pieces, delay) }
}

// zip compresses for clients that accept it, each piece at once or all together.
func zip(eager bool) func(http.ResponseWriter, *http.Request, <-chan []byte) {
	return func(w http.ResponseWriter, r *http.Request, pieces <-chan []byte) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			passAt(w, pieces, 0)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		for piece := range pieces {
			packed.Write(piece)
			if eager {
				packed.Flush()
				w.(http.Flusher).Flush()
			}
		}
		packed.Close()
	}
}

// cutSilent breaks a response that was silent for a time.
func cutSilent(limit time.Duration) func(http.ResponseWriter, *http.Request, <-chan []byte) {
	return func(w http.ResponseWriter, _ *http.Request, pieces <-chan []byte) {
		for {
			select {
			case piece, ok := <-pieces:
				if !ok {
					return
				}
				w.Write(piece)
				w.(http.Flusher).Flush()
			case <-time.After(limit):
				panic(http.ErrAbortHandler)
			}
		}
	}
}

// cutOld breaks a response that has lasted for a time.
func cutOld(limit time.Duration) func(http.ResponseWriter, *http.Request, <-chan []byte) {
	return func(w http.ResponseWriter, _ *http.Request, pieces <-chan []byte) {
		end := time.After(limit)
		for {
			select {
			case piece, ok := <-pieces:
				if !ok {
					return
				}
				w.Write(piece)
				w.(http.Flusher).Flush()
			case <-end:
				panic(http.ErrAbortHandler)
			}
		}
	}
}

// giveUp buffers everything and responds with 504 if that takes too long.
func giveUp(limit time.Duration) func(http.ResponseWriter, *http.Request, <-chan []byte) {
	return func(w http.ResponseWriter, _ *http.Request, pieces <-chan []byte) {
		var all []byte
		end := time.After(limit)
		for {
			select {
			case piece, ok := <-pieces:
				if !ok {
					w.Write(all)
					return
				}
				all = append(all, piece...)
			case <-end:
				w.WriteHeader(http.StatusGatewayTimeout)
				return
			}
		}
	}
}

// rewrite changes what it passes on.
func rewrite(w http.ResponseWriter, _ *http.Request, pieces <-chan []byte) {
	for piece := range pieces {
		w.Write(bytes.ReplaceAll(piece, []byte(": headcount, für"), []byte(": headcount, fuer")))
		w.(http.Flusher).Flush()
	}
}

// refuse answers requests whose path begins with one of the paths.
func refuse(status int, paths ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(r.URL.RequestURI(), p) }) {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		io.WriteString(w, "<html>no")
		return true
	}
}

// secondNewcomer answers the second poll of a room that has no cursor.
func secondNewcomer(status int) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	polls := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		if q.Get("poll") == "" || q.Get("lastEventId") != "" {
			return false
		}
		mu.Lock()
		polls[q.Get("room")]++
		second := polls[q.Get("room")] == 2
		mu.Unlock()
		if second {
			w.WriteHeader(status)
		}
		return second
	}
}
