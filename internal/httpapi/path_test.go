package httpapi

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// With TLS, a name without a port means port 443.
func TestRelayedWithTLS(t *testing.T) {
	for port, want := range map[int]bool{443: false, 80: true} {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://headcount.test/events", nil)
		if got := relayed(r); got != want {
			t.Errorf("arrived at port %d: got %v, want %v", port, got, want)
		}
	}
}
