package main

import (
	"log/slog"
	"net/http"
	"time"
)

const (
	headerTime = 10 * time.Second // to read the header of a request
	maxHeader  = 16 << 10         // bytes of the header
)

// publicServer returns the server of the public listener.
func publicServer(handler http.Handler, path string, pass *switchover, protocols *http.Protocols, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:     pass.around(closeAfterChunks(under(path, handler))),
		Protocols:   protocols,
		ConnState:   pass.idle.changed,
		ConnContext: connContext,
		// WriteTimeout stays 0, because it would end every stream. Each write of a stream has its own deadline.
		// IdleTimeout stays 0 too, see idleConns.
		ReadHeaderTimeout: headerTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s
}

// closeAfterChunks closes the connection after a request whose body came in chunks. The request may have had a
// Content-Length too, which net/http removes silently: "the server MUST close the connection after responding to such a
// request", RFC 9112, section 6.1. A proxy may have seen the end of the body at another place.
func closeAfterChunks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
