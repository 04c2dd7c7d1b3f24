package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A redirect means that the event was not sent, even if the target responds with 200.
func TestEmitRedirected(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, "/login", http.StatusMovedPermanently)
		}
	}))
	t.Cleanup(server.Close)
	to := target{server: server.URL, token: "secret", room: "machine", log: io.Discard}
	var refused *refusal
	if err := to.emit(t.Context(), "load", load{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "use the address /login") {
		t.Errorf("got %v, want a refusal with the address", err)
	}
}
