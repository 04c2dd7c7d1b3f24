package thirdparty

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"headcount/test/rig"
	"headcount/test/rig/chromium"
)

// pages are the EventSource libraries of browsers, each as its README has it. say prints an event.
var pages = map[string]string{
	"fetch-event-source": `
		import { fetchEventSource } from '/@microsoft/fetch-event-source/lib/esm/index.js'
		fetchEventSource(url, {
			openWhenHidden: true,
			credentials: 'include',
			onmessage: ({ event, data }) => say(event, JSON.parse(data)),
			onclose() { throw new Error('the stream has ended') },
			onerror: (error) => say('error', error.message),
		})`,
	"eventsource": `
		import { EventSource } from '/eventsource/dist/index.js'
		new EventSource(url).addEventListener('user count', (event) => say(event.type, event.data))`,
	"event-source-polyfill": `
		import '/event-source-polyfill/src/eventsource.js'
		new EventSourcePolyfill(url, { withCredentials: true }).addEventListener('user count', (event) => say(event.type, event.data))`,
	"no library": `
		new EventSource(url, { withCredentials: true }).addEventListener('user count', (event) => say(event.type, event.data))`,
}

const pageHead = `<!doctype html><title>another origin</title><pre id="said"></pre>
<script type="importmap">{ "imports": { "eventsource-parser": "/eventsource-parser/dist/index.js" } }</script>
<script>
	const url = %q
	const say = (name, data) => { document.getElementById('said').textContent += name + ' ' + data + '\n' }
</script>
<script type="module">%s</script>`

// Libraries in a page of another, allowed origin see the number and reconnect after a restart with the cursor. Those
// that read by fetch send the cursor in a header that needs a preflight.
func TestLibrariesInPagesOfOtherOrigins(t *testing.T) {
	for _, any := range []bool{false, true} {
		for name, script := range pages {
			t.Run(fmt.Sprintf("%s, any origin %v", name, any), func(t *testing.T) {
				t.Parallel() // it mostly waits
				var server *rig.Server
				site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/" {
						w.Header().Set("Content-Type", "text/html")
						fmt.Fprintf(w, pageHead, server.URL+"/events", script)
						return
					}
					file := r.URL.Path
					if path.Ext(file) == "" {
						file += ".js" // as bundlers find it
					}
					http.ServeFile(w, r, path.Join("node_modules", file))
				}))
				defer site.Close()
				origins := site.URL
				if any {
					origins = "*"
				}
				server = rig.Start(t, "-drain", "1s", "-origins", origins)
				browser := chromium.Start(t)
				if err := chromedp.Do(browser, chromedp.Navigate(site.URL)); err != nil {
					t.Fatal(err)
				}
				said := func() string {
					text, err := chromedp.Run(browser, chromedp.Evaluate[string](`document.getElementById('said').textContent`))
					if err != nil {
						t.Fatal(err)
					}
					return text
				}
				counts := func() int { return strings.Count(said(), "user count 1\n") }
				defer func() {
					if t.Failed() {
						t.Logf("the page says:\n%s", said())
					}
				}()
				rig.Wait(t, 10*time.Second, "the number", func() bool { return counts() == 1 })
				server.Stop()
				server.Restart()
				rig.Wait(t, 30*time.Second, "the page is back", func() bool { return counts() == 2 })
				server.Kill()
				server.Restart()
				rig.Wait(t, 60*time.Second, "the page is back again", func() bool { return counts() == 3 })
			})
		}
	}
}
