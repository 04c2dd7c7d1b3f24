// Package proxies runs real proxies on 127.0.0.1, each in front of a server of the
// test, each as processes of its own with the configuration files of testdata.
//
// In these files headcount is at 127.0.0.1:8080, the proxy listens at port 8000 (what
// else it needs, at 8001), and /run/proxy is its directory. A test has other ports and
// directories; nothing else is changed.
package proxies

// Verdict says what a way does to a stream.
type Verdict string

// Verdicts.
const (
	Live  Verdict = "live"               // each event passes when it comes
	Late  Verdict = "one event late"     // each passes when the next one comes
	Whole Verdict = "only when complete" // nothing passes before the response has ended
)

// Hears says when the server hears that a client has closed its connection.
type Hears string

// Times of hearing.
const (
	AtOnce Hears = "at once"
	Second Hears = "at the second write"
	Never  Hears = "never"
)

// Proxy is one proxy in one configuration.
type Proxy struct {
	Name      string
	File      string // its configuration in testdata; "" if it needs none
	Streams   Verdict
	Hears     Hears // of streams where these are live, of polls elsewhere
	Shown     bool  // File is what docs/proxies.md advises
	Disguised bool  // no request shows that it came through it

	Forward bool // set in the browser, not in front of the server
	TLS     bool // HTTP/2
	run     func(site string) []program
}

// All returns every configuration that the tests know.
func All() []Proxy {
	return []Proxy{
		{Name: "nginx, as the page advises", File: "nginx.conf", Streams: Live, Hears: AtOnce, Shown: true, run: nginx},
		{Name: "nginx", File: "nginx-bare.conf", Streams: Live, Hears: AtOnce, run: nginx},
		{Name: "nginx, gzip", File: "nginx-gzip.conf", Streams: Live, Hears: AtOnce, run: nginx},
		{Name: "nginx, HTTP/2", File: "nginx-http2.conf", Streams: Live, Hears: AtOnce, TLS: true, run: nginx},
		{Name: "nginx, X-Accel-Buffering ignored", File: "nginx-buffered.conf", Streams: Whole, Hears: Never, run: nginx},
		{Name: "nginx behind nginx", File: "nginx-behind-nginx.conf", Streams: Whole, Hears: Never, run: nginx},
		{Name: "nginx behind nginx, header passed", File: "nginx-behind-nginx-passed.conf", Streams: Live, Hears: AtOnce, Shown: true, run: nginx},
		{Name: "HAProxy, as the page advises", File: "haproxy.conf", Streams: Live, Hears: Second, Shown: true, run: haproxy},
		{Name: "HAProxy", File: "haproxy-bare.conf", Streams: Live, Hears: Second, run: haproxy},
		{Name: "HAProxy, compression", File: "haproxy-compression.conf", Streams: Live, Hears: Second, run: haproxy},
		{Name: "HAProxy, HTTP/2 to the server", File: "haproxy-h2c.conf", Streams: Live, Hears: Second, run: haproxy},
		{Name: "HAProxy, mode tcp", File: "haproxy-tcp.conf", Streams: Live, Hears: AtOnce, run: haproxy},
		{Name: "Apache", File: "apache.conf", Streams: Live, Hears: Second, Shown: true, run: apache},
		{Name: "Apache, mod_deflate", File: "apache-deflate.conf", Streams: Live, Hears: Second, run: apache},
		{Name: "Varnish", File: "varnish.vcl", Streams: Live, Hears: Second, Shown: true, run: varnish},
		{Name: "Varnish, do_stream=false", File: "varnish-whole.vcl", Streams: Whole, Hears: Never, run: varnish},
		{Name: "lighttpd", File: "lighttpd.conf", Streams: Whole, Hears: Never, run: lighttpd},
		{Name: "lighttpd, streaming", File: "lighttpd-streaming.conf", Streams: Live, Hears: Second, Shown: true, run: lighttpd},
		{Name: "Caddy, encode gzip", File: "caddy.conf", Streams: Live, Hears: AtOnce, Shown: true, run: caddy},
		{Name: "Traffic Server", File: "trafficserver.config", Streams: Live, Hears: Second, Shown: true, run: trafficServer},
		{Name: "Node http-proxy", File: "http-proxy.js", Streams: Live, Hears: Never, run: nodeProxy},
		{Name: "Go httputil.ReverseProxy", Streams: Live, Hears: AtOnce, run: goProxy},
		{Name: "Squid", File: "squid.conf", Streams: Live, Hears: AtOnce, Forward: true, run: squid},
		{Name: "Squid, virus scanner", File: "squid-antivirus.conf", Streams: Whole, Hears: AtOnce, Forward: true, run: squidAntivirus},
		{Name: "Squid, virus scanner, streams excepted", File: "squid-antivirus-streaming.conf", Streams: Live, Hears: AtOnce, Forward: true, Shown: true, run: squidAntivirus},
		{Name: "Privoxy", File: "privoxy.conf", Streams: Whole, Hears: AtOnce, Forward: true, Disguised: true, run: privoxy},
		{Name: "mitmproxy", Streams: Whole, Hears: AtOnce, Forward: true, Disguised: true, run: mitmproxy},
	}
}
