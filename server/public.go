package main

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	headerTime = 10 * time.Second // for the header of a request
	maxHeader  = 16 << 10         // bytes of it
	idleTime   = 2 * time.Minute  // of a connection between requests: longer than proxies keep theirs
)

// publicServer returns the server of the public listener.
func publicServer(handler http.Handler, path string, protocols *http.Protocols, log *slog.Logger) *http.Server {
	idle := idleConns{timers: make(map[net.Conn]*time.Timer)}
	s := &http.Server{
		Handler:   closeAfterChunks(under(path, handler)),
		Protocols: protocols,
		ConnState: idle.changed,
		// WriteTimeout stays 0: it would end every stream. Each write of a stream
		// has a deadline of its own. IdleTimeout stays 0, too: see idleConns.
		ReadHeaderTimeout: headerTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s
}

// closeAfterChunks ends the connection after a request whose body came in chunks. It may have had a Content-Length too, which
// net/http takes away unseen: "the server MUST close the connection after responding to such a request", RFC 9112,
// section 6.1. What a proxy took for the end of the body may have been another place.
func closeAfterChunks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// idleConns closes connections that had no request for idleTime. With IdleTimeout net/http
// would do so, but its timer for HTTP/2 outlives the connection, and keeps in memory
// for that long all requests that were cancelled before they had begun: up to a
// thousand, 6 MB, for each connection that a stranger opens and drops.
type idleConns struct {
	mu     sync.Mutex
	timers map[net.Conn]*time.Timer
}

// changed is for http.Server.ConnState.
func (i *idleConns) changed(c net.Conn, state http.ConnState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t := i.timers[c]; t != nil {
		t.Stop()
		delete(i.timers, c)
	}
	if state == http.StateIdle {
		i.timers[c] = time.AfterFunc(idleTime, func() { _ = c.Close() })
	}
}
