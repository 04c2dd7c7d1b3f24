package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An event that is redirected, perhaps to a page that answers 200, has not been sent.
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
