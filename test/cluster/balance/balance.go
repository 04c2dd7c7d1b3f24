// Package balance is a load balancer that knows nothing of who was where: the demo and the tests put it before a
// cluster.
package balance

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// balancer sends each request to a random node of those that can be reached.
type balancer struct {
	nodes     []string
	transport http.RoundTripper

	mu   sync.Mutex
	away map[string]time.Time // until when a node is left alone
}

// New returns a balancer over nodes, each HOST:PORT.
func New(nodes []string) http.Handler {
	b := &balancer{
		nodes: nodes, away: make(map[string]time.Time),
		transport: &http.Transport{MaxIdleConnsPerHost: 100, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext},
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "node"})
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport:     b,
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "no node answers", http.StatusBadGateway)
		},
	}
}

// RoundTrip tries the nodes in random order until one can be reached. One that says it is stopping is passed over, too.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	err := errors.New("no node can be reached")
	for _, i := range rand.Perm(len(b.nodes)) {
		node := b.nodes[i]
		if b.isAway(node) {
			continue
		}
		out := r.Clone(r.Context())
		out.URL.Host = node
		var resp *http.Response
		resp, err = b.transport.RoundTrip(out)
		var dial *net.OpError
		switch {
		case errors.As(err, &dial) && dial.Op == "dial":
			b.leave(node)
			continue
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusServiceUnavailable && r.Method == http.MethodGet:
			resp.Body.Close()
			b.leave(node)
			continue
		}
		resp.Header.Set("X-Served-By", node)
		return resp, nil
	}
	return nil, err
}

func (b *balancer) isAway(node string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Before(b.away[node])
}

// leave leaves a node alone for a second.
func (b *balancer) leave(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away[node] = time.Now().Add(time.Second)
}
