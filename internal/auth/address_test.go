package auth_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"headcount/internal/auth"
)

// counted returns the prefix under which limits count a request from remote with that X-Forwarded-For.
func counted(trusted []netip.Prefix, remote, forwardedFor string) netip.Prefix {
	r := httptest.NewRequest("GET", "/events", nil)
	r.RemoteAddr = remote
	if forwardedFor != "" {
		r.Header.Set("X-Forwarded-For", forwardedFor)
	}
	return auth.Address(r, trusted)
}

// Limits count clients by their own address. Only a trusted proxy can report another one.
func TestAddress(t *testing.T) {
	for _, row := range []struct {
		name, peer, forwarded string // %d differs for each request
		one                   bool   // all count as one
	}{
		{"by itself", "192.0.2.1:1", "", true},
		{"a stranger that says it is others", "192.0.2.1:1", "198.51.100.%d", true},
		{"one of a private network that says so", "10.0.0.5:1", "198.51.100.%d", true},
		{"of a link", "[fe80::1]:1", "198.51.100.%d", true},
		{"many behind a trusted proxy", "127.0.0.1:1", "198.51.100.%d", false},
		{"one behind it that says so", "127.0.0.1:1", "198.51.100.%d, 192.0.2.1", true},
		{"one of a private network behind it", "127.0.0.1:1", "198.51.100.%d, 10.0.0.9", true},
		{"addresses of one IPv6 network", "127.0.0.1:1", "2001:db8::%d", true},
		{"IPv6 networks", "127.0.0.1:1", "2001:db8:0:%d::1", false},
		{"many with ports", "127.0.0.1:1", "198.51.100.%d:4711", false},
		{"one with many ports", "127.0.0.1:1", "192.0.2.1:%d", true},
		{"IPv6 networks with ports", "127.0.0.1:1", "[2001:db8:0:%d::1]:4711", false},
		{"one of IPv6 with many ports", "127.0.0.1:1", "[2001:db8::1]:%d", true},
		{"through two proxies that give ports", "127.0.0.1:1", "198.51.100.%d:4711, 127.0.0.1:4712", false},
		{"in brackets", "127.0.0.1:1", "[2001:db8:0:%d::1]", false},
		{"no addresses", "127.0.0.1:1", "nobody-%d", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			seen := make(map[netip.Prefix]bool)
			for n := range 30 {
				seen[counted(trusted, row.peer, strings.ReplaceAll(row.forwarded, "%d", strconv.Itoa(n+1)))] = true
			}
			if one := len(seen) == 1; one != row.one {
				t.Errorf("30 clients: got %d addresses, want one: %v", len(seen), row.one)
			}
		})
	}
}

// A Unix socket counts as loopback, and its header is trusted if loopback is trusted.
func TestAddressOfUnixSocket(t *testing.T) {
	r := httptest.NewRequest("GET", "/events", nil)
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.UnixAddr{Name: "/run/headcount", Net: "unix"}))
	r.RemoteAddr = "@"
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	for _, row := range []struct{ trusted, want string }{{"127.0.0.0/8", "192.0.2.1/32"}, {"10.0.0.0/8", "127.0.0.1/32"}} {
		if got := auth.Address(r, []netip.Prefix{netip.MustParsePrefix(row.trusted)}).String(); got != row.want {
			t.Errorf("trusting %s: got %s, want %s", row.trusted, got, row.want)
		}
	}
}

// FuzzForwardedFor checks that a client cannot choose its prefix with X-Forwarded-For. Behind a trusted proxy it is the
// address that the proxy has seen. Without one it is the address of the connection.
func FuzzForwardedFor(f *testing.F) {
	for _, text := range []string{
		"", ",", "192.0.2.1", "127.0.0.1", "10.0.0.1, 127.0.0.1", "unknown", "[2001:db8::1]:80", "192.0.2.1:80", "192.0.2.1:", ":80", "192.0.2.1:99999", "[::1", "::ffff:127.0.0.1", "fe80::1%eth0", " , ,", "\x00", "256.1.1.1", "0x7f.1",
	} {
		f.Add(text, "192.0.2.7")
		f.Add(text, "2001:db8:0:1::7")
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	f.Fuzz(func(t *testing.T, text, address string) {
		client, err := netip.ParseAddr(address)
		if err != nil || client.Zone() != "" || client.Unmap().IsLoopback() {
			t.Skip("no address of a client")
		}
		client = client.Unmap()
		bits := 32
		if client.Is6() {
			bits = 64
		}
		want := netip.PrefixFrom(client, bits).Masked()
		for _, header := range []string{text + "," + address, text + ", " + address + " , 127.0.0.1"} {
			if got := counted(trusted, "127.0.0.1:1234", header); got != want {
				t.Errorf("X-Forwarded-For %q through a trusted proxy: got %v, want %v", header, got, want)
			}
		}
		if got := counted(trusted, netip.AddrPortFrom(client, 1).String(), text); got != want {
			t.Errorf("X-Forwarded-For %q of an untrusted client: got %v, want %v", text, got, want)
		}
		counted(trusted, "127.0.0.1:1234", text) // must not panic
	})
}
