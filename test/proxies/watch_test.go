package proxies

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headcount/test/rig"
)

// startWatch starts "client watch" in the room "watch", through the proxy. It is killed when the test ends.
func startWatch(t *testing.T, via *Running) *printed {
	t.Helper()
	url, env := via.forGo()
	cmd := exec.Command(rig.Build(t, "client"), "watch", url, "-room", "watch")
	cmd.Env = env
	return startReader(t, cmd)
}

// forGo returns the URL and the environment with which a program of ours goes through the proxy.
func (r *Running) forGo() (url string, env []string) {
	url, env = r.URL, rig.Environ()
	if r.Via != nil {
		// Go's clients take no proxy for 127.0.0.1.
		url = strings.Replace(url, "127.0.0.1", "0.0.0.0", 1)
		env = append(env, "http_proxy="+r.Via.String(), "no_proxy=")
	}
	if r.TLS {
		env = append(env, "SSL_CERT_FILE="+filepath.Join(r.dir, "cert.pem"))
	}
	return url, env
}

// watches expects of a "client watch" that began a while ago what is expected of a page: the right count in time, each
// emit within a second and once, and that it polls where streams are not live, and only there.
func watches(t *testing.T, server *rig.Server, via *Running, c *printed, began time.Time) {
	t.Helper()
	if at := c.wait(rightWithin, "user count 1"); at.IsZero() {
		t.Errorf("client watch has no count")
	} else if late := at.Sub(began); late > rightWithin {
		t.Errorf("client watch had the right count after %v, want %v at most", late, rightWithin)
	}
	const n = 3
	for i := range n {
		emit(t, server, "watch", "news", fmt.Sprint(i))
		if c.wait(time.Second, fmt.Sprint("news ", i)).IsZero() {
			t.Errorf("client watch does not have the news %d after 1 s", i)
		}
	}
	text := c.text()
	if got := strings.Count(text, "news "); got != n {
		t.Errorf("client watch got %d news, want %d", got, n)
	}
	if got, want := strings.Contains(text, "polling instead"), via.Streams != Live; got != want {
		t.Errorf("client watch polls: %v, want %v", got, want)
	}
	if got := server.Count("watch"); got != 1 {
		t.Errorf("server counts %d with client watch, want 1", got)
	}
	if t.Failed() {
		t.Logf("client watch printed:\n%s", text)
	}
	c.kill()
}
