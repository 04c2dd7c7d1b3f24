// Package docs checks the documents against the commands. It sends the requests that they describe, and runs the
// commands that they show.
package docs

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/golang-jwt/jwt/v5"

	"headcount/test/rig"
)

// For every status of every operation in docs/openapi.yaml there is a request that the server answers with it. The
// body has the type and shape that the document describes.
func TestOpenAPI(t *testing.T) {
	doc := loadOpenAPI(t)
	said := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				said[strings.Join([]string{method, path, status}, " ")] = false
			}
		}
	}
	servers := startServers(t)
	for _, r := range requests() {
		t.Run(r.name(), func(t *testing.T) {
			told := fmt.Sprint(r.method, " ", r.path, " ", r.status)
			if _, ok := said[told]; !ok {
				t.Fatalf("docs/openapi.yaml does not say that %s may be answered", told)
			}
			said[told] = true
			if r.slowly {
				t.Parallel() // with the others that wait until the server gives up
			}
			resp, body := r.send(t, servers[r.server])
			if resp.StatusCode != r.status {
				t.Fatalf("got %s %.200s, want %d", resp.Status, body, r.status)
			}
			described := doc.Paths.Find(r.path).GetOperation(r.method).Responses.Status(r.status).Value
			checkAnswer(t, described, resp, body)
		})
	}
	for key, asked := range said {
		if !asked {
			t.Errorf("docs/openapi.yaml has %s, and no request of this test gets it", key)
		}
	}
}

func loadOpenAPI(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(rig.Root(), "docs/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func startServers(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"":     rig.Start(t, "-token", "secret", "-key", key, "-private", "private").URL,
		"off":  rig.Start(t).URL,
		"full": rig.Start(t, "-max-streams", "1").URL,
		"slow": rig.Start(t, "-max-stream-rate", "1").URL,
		// Its NATS is not there.
		"alone": rig.StartUnready(t, "-token", "secret", "-nats", "nats://"+rig.FreeAddr(t)).URL,
	}
}

// request is one that a status is an answer to.
type request struct {
	server, method, path string
	query, body          string
	header               http.Header
	status               int
	times                int  // how often it is sent, {n} in its body as the number; the last answer counts
	slowly               bool // without the end of its body
}

func (r request) name() string {
	return strings.ReplaceAll(fmt.Sprint(r.method, " ", r.path, " ", r.status, " ", r.query), "/", "∕")
}

func requests() []request {
	secret := http.Header{"Authorization": {"Bearer secret"}}
	wrong := http.Header{"Authorization": {"Bearer wrong"}}
	with := func(name, value string) http.Header {
		h := secret.Clone()
		h.Set(name, value)
		return h
	}
	elsewhere := http.Header{"Origin": {"https://elsewhere.example"}}
	ids := `{"room":"lobby","ids":["client-0001"]}`
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("client-{n}-%02d", i))
	}
	private := "room=private&token=" + tokenFor("another")
	all := []request{
		{method: "GET", path: "/events", status: 200},
		{method: "GET", path: "/events", query: "poll=1&room=a&id=client-0001", status: 200},
		{method: "GET", path: "/events", query: "poll=1&wait=0&room=b&id=client-0001", status: 200},
		{method: "GET", path: "/events", query: "poll=1&stream=b", header: http.Header{"Accept": {"text/event-stream"}}, status: 200},
		{method: "GET", path: "/events", query: "room=", status: 400},
		{method: "GET", path: "/events", query: "room=private", status: 401},
		{method: "GET", path: "/events", header: elsewhere, status: 403},
		{server: "slow", method: "GET", path: "/events", times: 40, status: 429},
		{server: "full", method: "GET", path: "/events", times: 2, status: 503},
		{method: "HEAD", path: "/events", status: 200},
		{method: "GET", path: "/count", status: 200},
		{method: "GET", path: "/count", query: "room=private&token=secret", status: 200},
		{method: "GET", path: "/count", header: http.Header{"Accept": {"text/plain"}}, status: 200},
		{method: "GET", path: "/count", query: "room=", status: 400},
		{method: "GET", path: "/count", query: "room=private", status: 401},
		{method: "GET", path: "/count", header: elsewhere, status: 403},
		{method: "GET", path: "/badge.svg", status: 200},
		{method: "GET", path: "/badge.svg", query: "room=", status: 400},
		{method: "GET", path: "/badge.svg", query: "room=private", status: 401},
		{method: "GET", path: "/badge.svg", query: private, status: 403},
		{method: "GET", path: "/", status: 200},
		{method: "GET", path: "/", query: "room=", status: 400},
		{method: "GET", path: "/", query: "room=private", status: 401},
		{method: "GET", path: "/", query: private, status: 403},
		{method: "GET", path: "/assets/{file}", query: "io.mjs", status: 200},
		{method: "GET", path: "/assets/{file}", query: "nothing.js", status: 404},
		{method: "GET", path: "/socket.io/socket.io.js", status: 200},
		{method: "GET", path: "/docs", status: 200},
		{method: "GET", path: "/docs/{file}", query: "browser.md", status: 200},
		{method: "GET", path: "/docs/{file}", query: "openapi.yaml", status: 200},
		{method: "GET", path: "/docs/{file}", query: "nothing.md", status: 404},
		{method: "GET", path: "/favicon.ico", status: 200},
		{method: "GET", path: "/healthz", status: 200},
		{method: "GET", path: "/readyz", status: 200},
		{server: "alone", method: "GET", path: "/readyz", status: 503},
		{method: "GET", path: "/doctor/{probe}", query: "path", status: 200},
		{method: "GET", path: "/doctor/{probe}", query: "stream?gaps=0.1", status: 200},
		{method: "GET", path: "/doctor/{probe}", query: "stream?gaps=x", status: 400},
		{method: "GET", path: "/doctor/{probe}", query: "nothing", status: 404},

		{method: "POST", path: "/emit", header: secret, body: `{"event":"news","data":{"any":"JSON"},"room":"lobby"}`, status: 200},
		{method: "POST", path: "/emit", header: with("Content-Type", "application/x-www-form-urlencoded"), body: "event=news&data=hi", status: 200},
		{method: "POST", path: "/emit", header: secret, body: `{"event":"open"}`, status: 400},
		{method: "POST", path: "/emit", header: wrong, body: `{"event":"news"}`, status: 401},
		{server: "off", method: "POST", path: "/emit", body: `{"event":"news"}`, status: 403},
		{method: "POST", path: "/emit", header: secret, slowly: true, status: 408},
		{method: "POST", path: "/emit", header: secret, body: strings.Repeat(" ", 1<<17), status: 413},
		{method: "POST", path: "/emit", header: with("Content-Encoding", "gzip"), body: "x", status: 415},
		{server: "alone", method: "POST", path: "/emit", header: secret, body: `{"event":"news"}`, status: 503},
		{server: "slow", method: "POST", path: "/alive", body: `{"ids":["` + strings.Join(many, `","`) + `"]}`, times: 10, status: 429},
		{server: "off", method: "POST", path: "/alive", body: `{"ids":["` + strings.Join(many, `","`) + `"]}`, times: 1001, status: 503},
		{method: "POST", path: "/leave", body: `{"room":"lobby","ids":["client-0001"],"grace":1}`, status: 204},
	}
	for _, path := range []string{"/alive", "/leave"} {
		all = append(all,
			request{method: "POST", path: path, body: ids, status: 204},
			request{method: "POST", path: path, header: http.Header{"Content-Type": {"text/plain"}}, body: ids, status: 204},
			request{method: "POST", path: path, body: `{"ids":`, status: 400},
			request{method: "POST", path: path, body: `{"room":"private","ids":["client-0001"]}`, status: 401},
			request{method: "POST", path: path, query: "token=" + tokenFor("another"), body: `{"room":"private","ids":["client-0001"]}`, status: 403},
			request{method: "POST", path: path, slowly: true, status: 408},
			request{method: "POST", path: path, body: strings.Repeat(" ", 1<<17), status: 413},
		)
	}
	return all
}

// tokenFor signs a token that is good for one room alone.
func tokenFor(room string) string {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"exp": time.Now().Add(time.Hour).Unix(), "headcount": map[string]any{"subscribe": []string{room}},
	})
	signed, err := token.SignedString([]byte(key))
	if err != nil {
		panic(err) // the key and the claims are ours
	}
	return signed
}

// key signs the tokens of private rooms.
const key = "0123456789abcdef0123456789abcdef"

// send sends the request until it gets an answer, and returns the last one with the beginning of its body. Answers
// that do not end, such as streams, stay open meanwhile.
func (r request) send(t *testing.T, server string) (*http.Response, []byte) {
	t.Helper()
	if r.slowly {
		return r.sendSlowly(t, server)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	path, _, ok := strings.Cut(r.path, "{")
	url := server + path + "?" + r.query
	if ok {
		url = server + path + r.query
	}
	var resp *http.Response
	for n := range max(1, r.times) {
		body := strings.ReplaceAll(r.body, "{n}", fmt.Sprintf("%04d", n))
		req, err := http.NewRequestWithContext(ctx, r.method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if r.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		for name, values := range r.header {
			req.Header[name] = values
		}
		if resp, err = http.DefaultClient.Do(req); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
	}
	if resp.ContentLength < 0 { // a stream: its first bytes
		body := make([]byte, 4<<10)
		n, _ := resp.Body.Read(body)
		return resp, body[:n]
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// sendSlowly sends a header that promises a body, and no body.
func (r request) sendSlowly(t *testing.T, server string) (*http.Response, []byte) {
	t.Helper()
	addr := strings.TrimPrefix(server, "http://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 10\r\nAuthorization: Bearer secret\r\n\r\n", r.method, r.path, addr)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// checkAnswer holds an answer against what the description says of it.
func checkAnswer(t *testing.T, described *openapi3.Response, resp *http.Response, body []byte) {
	t.Helper()
	for name, header := range described.Headers {
		if header.Value.Required && resp.Header.Get(name) == "" {
			t.Errorf("the answer has no header %s", name)
		}
	}
	if resp.Request != nil && resp.Request.Method == http.MethodHead {
		return
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if len(described.Content) == 0 {
		if len(body) > 0 {
			t.Errorf("got the body %.100q, want none", body)
		}
		return
	}
	content := described.Content.Get(kind)
	if content == nil || !slices.Contains(keys(described.Content), kind) {
		t.Fatalf("got the type %q, want one of %v", kind, keys(described.Content))
	}
	var value any = string(body)
	if kind == "application/json" {
		if err := json.Unmarshal(body, &value); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
	}
	if err := content.Schema.Value.VisitJSON(value); err != nil {
		t.Errorf("%s: %v", body, err)
	}
}

func keys(content openapi3.Content) (all []string) {
	for kind := range content {
		all = append(all, kind)
	}
	return all
}
