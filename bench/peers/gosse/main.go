// Command gosse is github.com/tmaxmax/go-sse with its own server and provider, as its README sets them up.
//
//	gosse PORT
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/tmaxmax/go-sse"
)

func main() {
	server := &sse.Server{
		// The library sends the header with the first event only; the generator wants to know when a stream is open.
		OnSession: func(w http.ResponseWriter, _ *http.Request) ([]string, bool) {
			w.Header().Set("Content-Type", "text/event-stream")
			return []string{sse.DefaultTopic}, http.NewResponseController(w).Flush() == nil
		},
	}
	news := sse.Type("news")
	http.Handle("GET /events", server)
	http.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m := &sse.Message{Type: news}
		m.AppendData(string(data))
		if err := server.Publish(m); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	address, err := "127.0.0.1:"+os.Args[1], error(nil)
	if cert := os.Getenv("TLS_CERT"); cert != "" {
		// HTTP/1.1 as the others.
		s := &http.Server{Addr: address, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
		err = s.ListenAndServeTLS(cert, os.Getenv("TLS_KEY"))
	} else {
		err = http.ListenAndServe(address, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
