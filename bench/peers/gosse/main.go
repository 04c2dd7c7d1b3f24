// Command gosse is github.com/tmaxmax/go-sse with its own server and provider, as its README sets them up.
//
//	gosse PORT
package main

import (
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
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
