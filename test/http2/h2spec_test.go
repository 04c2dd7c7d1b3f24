// Package http2 runs the tools that others wrote to test HTTP/2 servers and slow clients.
package http2

import (
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"headcount/internal/tlsconn/tlstest"
	"headcount/test/rig"
)

// known is what h2spec finds wrong with every net/http server.
var known = map[string]string{
	"http2/4.2 Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE":                        "it takes frames up to 1 MiB, and says so in its SETTINGS",
	"http2/6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE":                                          "it hangs up on a SETTINGS frame that names one setting twice",
	"http2/8.1.2.2 Sends a HEADERS frame that contains the connection-specific header field":                     "it lets the field pass",
	`http2/8.1.2.2 Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`: "it lets the field pass",
	"http2/3.5 Sends invalid connection preface":                                                                 "without TLS that is a bad request of HTTP/1.1, and is answered so",
}

// The server fails no test of h2spec that a bare http.Server does not fail, with and without TLS.
func TestH2spec(t *testing.T) {
	h2spec := filepath.Join(t.TempDir(), "h2spec")
	build := exec.Command("go", "build", "-o", h2spec, "github.com/summerwind/h2spec/cmd/h2spec")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build h2spec: %v\n%s", err, out)
	}
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("a page like another\n", 200))
	})
	for _, row := range []struct {
		name         string
		server, bare string // host:port
		flags        []string
	}{
		{"TLS", rig.StartPlain(t, tlstest.Options(t)...).Addr, bareTLS(t, bare), []string{"-t", "-k"}},
		{"without TLS", rig.StartPlain(t, "-h2c").Addr, bareH2C(t, bare), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var ours, theirs map[string]string
			var running sync.WaitGroup
			running.Go(func() { ours = failures(t, h2spec, row.server, row.flags) })
			running.Go(func() { theirs = failures(t, h2spec, row.bare, row.flags) })
			running.Wait()
			for _, test := range slices.Sorted(maps.Keys(ours)) {
				if _, ok := known[test]; !ok {
					t.Errorf("%s:\n%s", test, ours[test])
				} else if _, ok := theirs[test]; !ok {
					t.Errorf("%s: a bare http.Server has it right; so it is no fault of Go's:\n%s", test, ours[test])
				}
			}
			t.Logf("failed by the server: %q; by a bare http.Server: %q", slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(theirs)))
		})
	}
}

// failures runs h2spec and returns what failed, and why. It runs each failed test again alone, up to twenty
// times, because an answer may come later than h2spec waits for it, or before its next frame.
func failures(t *testing.T, h2spec, addr string, flags []string) map[string]string {
	found := report(t, h2spec, addr, append(flags, "-o", "2"))
	for test := range found {
		if _, ok := known[test]; ok {
			continue
		}
		section, _, _ := strings.Cut(test, " ")
		for range 20 {
			if again := report(t, h2spec, addr, append(flags, "-o", "5", section)); again[test] == "" {
				t.Logf("%s: failed before, and not again", test)
				delete(found, test)
				break
			}
		}
	}
	return found
}

func report(t *testing.T, h2spec, addr string, args []string) map[string]string {
	host, port, _ := net.SplitHostPort(addr)
	file, err := os.CreateTemp(t.TempDir(), "report")
	if err != nil {
		t.Error(err)
		return nil
	}
	defer file.Close()
	// A test that fails is exit status 1, and so is a server that is not there.
	out, _ := exec.Command(h2spec, append([]string{"-h", host, "-p", port, "-j", file.Name()}, args...)...).CombinedOutput()
	var suites struct {
		Suites []struct {
			Cases []struct {
				Section string `xml:"package,attr"`
				Name    string `xml:"classname,attr"`
				Error   string `xml:"error"`
				Failure string `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	text, err := io.ReadAll(file)
	if err == nil {
		err = xml.Unmarshal(text, &suites)
	}
	failed, ran := map[string]string{}, 0
	for _, suite := range suites.Suites {
		for _, c := range suite.Cases {
			ran++
			if why := c.Error + c.Failure; why != "" {
				failed[c.Section+" "+c.Name] = why
			}
		}
	}
	if err != nil || ran == 0 {
		t.Errorf("h2spec %v ran %d tests: %v\n%s", args, ran, err, out)
	}
	return failed
}

func bareTLS(t *testing.T, h http.Handler) string {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it is asked to complain
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func bareH2C(t *testing.T, h http.Handler) string {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
