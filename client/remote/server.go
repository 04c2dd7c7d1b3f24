// Package remote is the client's view of a headcount server. It has requests, redirects, refusals and event streams.
//
// A Server may be used from many goroutines. Tests replace the transport of its HTTP client.
package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// maxMoves is how many redirects in a row are followed.
const maxMoves = 5

// Server sends requests to a headcount server. After a redirect, for instance from http to https, it continues with the
// new address.
type Server struct {
	HTTP  *http.Client
	Token string // for private rooms and emits, "" = none

	named *url.URL // as the user wrote it
	mu    sync.Mutex
	base  *url.URL // the current address
}

// New returns a server for an address without a query.
func New(base *url.URL, token string) *Server {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // compression delays events
	s := &Server{Token: token, named: base, base: base}
	s.HTTP = &http.Client{Transport: transport, CheckRedirect: s.checkRedirect}
	return s
}

// String returns the address that the user gave, without its password.
func (s *Server) String() string { return s.named.Redacted() }

// Base returns the current address of the server.
func (s *Server) Base() *url.URL {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base
}

// URL returns the URL of a path with a query.
func (s *Server) URL(path string, query url.Values) string {
	u := s.Base().JoinPath(path)
	u.RawQuery = query.Encode()
	return u.String()
}

// Reset forgets redirects and open connections. Both may be outdated after a connection was lost.
func (s *Server) Reset() {
	s.mu.Lock()
	s.base = s.named
	s.mu.Unlock()
	s.HTTP.CloseIdleConnections()
}

// Close closes idle connections.
func (s *Server) Close() { s.HTTP.CloseIdleConnections() }

// Header returns the header of every request. Referer holds the address that the client used. With it the server
// detects that a relay passed the request on, even if the relay puts another address into Host.
func (s *Server) Header() http.Header {
	base := s.Base()
	from := url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/"} // without the password
	h := http.Header{"Referer": {from.String()}}
	switch {
	case s.Token != "" && base.User != nil:
		h.Set("Headcount-Token", s.Token) // Authorization holds the password of the URL
	case s.Token != "":
		h.Set("Authorization", "Bearer "+s.Token)
	}
	return h
}

// Get sends a GET request of the caller. It follows redirects.
func (s *Server) Get(req *http.Request) (*http.Response, error) {
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", req.URL.Path, err)
	}
	s.Follow(req.URL, resp.Request.URL)
	return resp, nil
}

// Post sends a body to a path. It follows redirects with the same method and body, because a POST that turns into a GET
// does nothing.
func (s *Server) Post(ctx context.Context, path string, header http.Header, body []byte) (*http.Response, error) {
	for moves := 0; ; moves++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL(path, nil), bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("make request: %w", err)
		}
		for _, h := range []http.Header{s.Header(), header} {
			for name, values := range h {
				req.Header[name] = values
			}
		}
		resp, err := s.HTTP.Do(req)
		if err != nil {
			return nil, fmt.Errorf("post %s: %w", path, err)
		}
		to, err := resp.Location()
		isMove := resp.StatusCode/100 == 3 && resp.StatusCode != http.StatusSeeOther && err == nil
		if !isMove || moves == maxMoves || !trusts(req.URL, to) || !s.Follow(req.URL, to) {
			return resp, nil
		}
		resp.Body.Close()
	}
}

// PostUsers sends a room and client ids to /alive or /leave.
func (s *Server) PostUsers(ctx context.Context, path, room string, ids ...string) error {
	body, err := json.Marshal(struct {
		Room string   `json:"room"`
		IDs  []string `json:"ids"`
	}{room, ids})
	if err != nil {
		return fmt.Errorf("encode users: %w", err)
	}
	resp, err := s.Post(ctx, path, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return NewRefusal(resp)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 4096)) // so that the connection can be reused
	return err
}

// Follow takes over the address of a redirect. It reports whether the redirect leads to the same path on another host,
// scheme or base path.
func (s *Server) Follow(from, to *url.URL) bool {
	base := s.Base()
	path := strings.TrimPrefix(from.Path, strings.TrimSuffix(base.Path, "/"))
	rest, ok := strings.CutSuffix(to.Path, path)
	if !ok || path == "" || to.Scheme == from.Scheme && to.Host == from.Host && to.Path == from.Path {
		return false
	}
	next := &url.URL{Scheme: to.Scheme, Host: to.Host, Path: rest}
	if strings.EqualFold(to.Hostname(), from.Hostname()) {
		next.User = base.User
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = next
	return true
}

// checkRedirect allows a GET to be redirected unless that would send the token to another host. Post follows redirects
// itself.
func (s *Server) checkRedirect(req *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet || len(via) > maxMoves || s.Token != "" && !trusts(via[0].URL, req.URL) {
		return http.ErrUseLastResponse
	}
	return nil
}

// trusts reports whether a secret for one host may be sent to another. It may be sent to the same host or a subdomain,
// and never without TLS if the first host uses TLS.
func trusts(from, to *url.URL) bool {
	if from.Scheme == "https" && to.Scheme != "https" {
		return false
	}
	a, b := strings.ToLower(from.Hostname()), strings.ToLower(to.Hostname())
	return a == b || strings.HasSuffix(b, "."+a)
}
