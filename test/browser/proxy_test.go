package browser

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"headcount/test/rig"
)

// A stream behind a proxy stays open only if its client answers, because the server does not notice there that a
// client has gone.
func TestThroughProxy(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
	})
	t.Cleanup(proxy.Close)
	t.Cleanup(proxy.CloseClientConnections)

	tb := newChrome(t).open(proxy.URL + "/test/lesson.html")
	tb.expect(slow, "1")
	eval[bool](tb, `socket.on('disconnect', (reason) => console.log(reason)); true`)
	// The server gives a client 5 s to prove that its answers get through.
	begin := time.Now()
	rig.Wait(t, slow, "8 seconds to pass", func() bool { return time.Since(begin) > 8*time.Second })
	if lines := tb.lines(); len(lines) != 1 || server.Count("lobby") != 1 {
		t.Errorf("logged %q, want 1 alone; /count says %d, want 1", lines, server.Count("lobby"))
	}
	tb.close()
	rig.Wait(t, gone, "nobody", func() bool { return server.Count("lobby") == 0 })
	tb.faultless()
}
