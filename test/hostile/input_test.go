package hostile

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"headcount/test/rig"
)

const hungUp = 0

func giantHeaders(f *field) error {
	return f.each([]string{
		get("/events", "X-Large: "+strings.Repeat("x", 1<<20)),
		get("/events", strings.Repeat("X-Many: x\r\n", 50_000)+"X-Last: x"),
		get("/events?room=" + strings.Repeat("x", 1<<20)),
		get("/events", "Last-Event-ID: "+strings.Repeat("9", 1<<20)),
		strings.Repeat("x", 1<<20),
	}, http.StatusRequestHeaderFieldsTooLarge, http.StatusBadRequest, hungUp)
}

func badFraming(f *field) error {
	chunked := func(body string) string {
		return "POST /alive HTTP/1.1\r\nHost: headcount.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body
	}
	return f.each([]string{
		chunked("zz\r\nxx\r\n0\r\n\r\n"),
		chunked("-1\r\nx\r\n0\r\n\r\n"),
		chunked("ffffffffffffffffff\r\nx\r\n0\r\n\r\n"),
		chunked("4;" + strings.Repeat("x", 1<<16) + "\r\n{}{}\r\n0\r\n\r\n"),
		chunked("2\r\n{}{}{}\r\n0\r\n\r\n"),
		"POST /alive HTTP/1.1\r\nHost: headcount.test\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
		"POST /alive HTTP/1.1\r\nHost: headcount.test\r\nContent-Length: -1\r\n\r\n",
		"POST /alive HTTP/1.1\r\nHost: headcount.test\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"POST /alive HTTP/1.1\r\nHost: headcount.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"POST /alive HTTP/1.1\r\nHost: headcount.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"POST /alive HTTP/1.1\r\nHost: headcount.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 40\r\n\r\n0\r\n\r\nGET /count HTTP/1.1\r\nHost: x\r\n\r\n",
	}, http.StatusBadRequest, http.StatusNotImplemented, http.StatusRequestEntityTooLarge, hungUp)
}

func badBodies(f *field) error {
	ids := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"abcdefgh",`, n), ",") }
	var raws []string
	for _, body := range []string{
		`{"ids":[` + ids(101) + `]}`, `{"ids":[]}`, `{}`, ``, `null`, `[]`, `"abcdefgh"`, `{"ids":null}`, `{"ids":"abcdefgh"}`,
		`{"ids":[1]}`, `{"ids":[{"a":1}]}`, `{"ids":["short"]}`, `{"ids":["abcdefg\n"]}`, `{"ids":["abcdefgh"]}x`,
		`{"room":"a\u0000","ids":["abcdefgh"]}`, `{"room":7,"ids":["abcdefgh"]}`,
		`{"room":"` + strings.Repeat("x", 129) + `","ids":["abcdefgh"]}`, "{\"room\":\"\xff\x00\",\"ids\":[\"abcdefgh\"]}",
		strings.Repeat("[", 16_000), strings.Repeat(`{"ids":`, 2_000), `{"ids":[` + strings.Repeat("[", 10_000),
		`{"ids":["` + strings.Repeat("a", 16_000) + `"]}`,
	} {
		raws = append(raws, post("/alive", body), post("/leave", body))
	}
	large := strings.Repeat(" ", 1<<20)
	return errors.Join(f.each(raws, http.StatusBadRequest),
		f.each([]string{post("/alive", large), post("/leave", large)}, http.StatusRequestEntityTooLarge, hungUp))
}

func badNames(f *field) error {
	var raws []string
	for _, name := range []string{"", "\x00", "a\nb", "a\r", "\xff", "\xed\xa0\x80", "\u0085", "\x7f", strings.Repeat("x", 129)} {
		for _, target := range []string{"/events?room=", "/events?stream=", "/count?room=", "/badge.svg?room="} {
			raws = append(raws, get(target+url.QueryEscape(name)))
		}
	}
	for _, id := range []string{"", "short", "abcdefg\n", "abcdefgh\x00", "äöüäöüäöü", strings.Repeat("a", 65), "../../etc"} {
		raws = append(raws, get("/events?id="+url.QueryEscape(id)))
	}
	raws = append(raws, get("/events?room=%"), get("/events?room=%zz"), get("/events?poll=maybe"),
		get("/events", "Last-Event-ID: a\x00b"), get("/events", "Last-Event-ID: a\x01b"))
	return f.each(raws, http.StatusBadRequest)
}

// absurdCursors get a stream that begins with a gap, never an error: a browser would give up for good.
func absurdCursors(f *field) error {
	most := "18446744073709551615"
	for _, cursor := range []string{
		"0", "-1", most, "99999999999999999999", "....", "x.1.y.2", "a." + most + ".b." + most, "NaN", "1e999", "' OR 1=1", "../../x",
		strings.Repeat("9", 4000), strings.Repeat("1.", 2000), "\xff\xfe", "𝟙.𝟚.𝟛", "%00", "\t",
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		reader := &rig.Subscriber{URL: f.server.URL, From: somewhere()}
		reader.Prepare = func(req *http.Request) { req.URL.RawQuery = "room=cursors&lastEventId=" + url.QueryEscape(cursor) }
		reader.Take = func(_ context.Context, e *rig.Event) bool {
			if e.Name == "user count" {
				cancel()
			}
			return true
		}
		err := reader.Read(ctx)
		cancel()
		if events := reader.Events(); len(events) < 2 || events[0].Name != "io:gap" {
			return fmt.Errorf("cursor %.40q: got %.300v (%v), want a gap and a count", cursor, events, err)
		}
	}
	return nil
}

func guessToken(f *field) error {
	body := `{"event":"n","data":{"n":0},"room":"lobby"}` // the healthy ones would notice
	guesses := []string{"", "Bearer", "Bearer ", "Bearer crow", "Bearer crowdy", "Bearer CROWD", "Bearer crowd\x00", "Basic crowd", "crowd", "Bearer crowd crowd", "Bearer " + strings.Repeat("x", 8000)}
	return crew(1000, func(i int) error {
		guess := fmt.Sprintf("Bearer %s", rand.Text())
		if i < len(guesses) {
			guess = guesses[i]
		}
		return f.expect(post("/emit", body, "Authorization: "+guess), http.StatusUnauthorized, http.StatusBadRequest, http.StatusTooManyRequests)
	})
}

func badEmits(f *field) error {
	var raws []string
	for _, body := range []string{
		`{"event":"user count","data":7}`, `{"event":"io:gap","data":null}`, `{"event":"open"}`, `{"event":"message"}`, `{"event":"a\nb"}`, `{"event":""}`,
		`{}`, `[]`, `null`, ``, `{"event":"a"`, `{"event":"a"}}`, `{"event":"a","data":{]}`, `{"event":"a","room":""}`, `{"event":"a","room":"a\u0000"}`,
		`{"event":"a","rooom":"x"}`, "{\"event\":\"a\xff\"}", strings.Repeat("[", 60_000), `{"event":"a","data":` + strings.Repeat("[", 60_000) + `}`,
	} {
		raws = append(raws, post("/emit", body, bearer))
	}
	for _, form := range []string{"event=user+count", "event=a%0ab", "event=%ff", "event=a&event=b", "event=a&x=y", "%", "data=1"} {
		raws = append(raws, post("/emit", form, bearer, "Content-Type: application/x-www-form-urlencoded"))
	}
	raws = append(raws, post("/emit", `{"event":"a"}`, bearer, "Idempotency-Key: "+strings.Repeat("k", 1000)))
	return errors.Join(f.each(raws, http.StatusBadRequest),
		f.expect(post("/emit", strings.Repeat(" ", 1<<20), bearer), http.StatusRequestEntityTooLarge, hungUp))
}

// bombs are small bodies that are large when unpacked: nobody unpacks them.
func bombs(f *field) error {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(make([]byte, 10<<20)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	var raws []string
	for _, target := range []string{"/emit", "/alive", "/leave"} {
		for _, coding := range []string{"gzip", "deflate", "br", "gzip, gzip"} {
			raws = append(raws, post(target, packed.String(), bearer, "Content-Encoding: "+coding, "Content-Type: application/json"))
		}
	}
	return f.each(raws, http.StatusBadRequest, http.StatusUnsupportedMediaType)
}

// noise is at least as long as the preface of HTTP/2: of what is shorter, the server waits for the rest, see silence.
func noise(f *field) error {
	clientHello := "\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + strings.Repeat("\x55", 240) + "\r\n\r\n"
	random := make([]byte, 64<<10)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	return errors.Join(
		f.expect("GET /events?room=old HTTP/1.0\r\n\r\n", http.StatusOK),
		f.each([]string{
			"GET /and-no-version-at-all\r\n\r\n", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", clientHello, string(random) + "\r\n\r\n",
			strings.Repeat("\x00", 30) + "\r\n\r\n", strings.Repeat("\r\n", 20), "GET  /  HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n",
			"PRI / HTTP/2.0\r\n\r\nXX\r\n\r\n" + strings.Repeat("x", 100) + "\r\n\r\n",
		}, http.StatusBadRequest, http.StatusHTTPVersionNotSupported, hungUp),
		// Go takes this for a request to find nothing at, and what follows for the next one.
		f.expect("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"+strings.Repeat("x", 100)+"\r\n\r\n", http.StatusNotFound, http.StatusBadRequest, hungUp))
}

func lies(f *field) error {
	return errors.Join(
		f.each([]string{
			get("/events", "Origin: https://evil.test"), get("/events", "Origin: null"), get("/events", "Origin: "+strings.Repeat("x", 8000)),
			get("/events", "Origin: http://headcount.test.evil.test"), get("/events", "Origin: http://headcount.test@evil.test"), get("/events", "Origin: ://"),
		}, http.StatusForbidden),
		f.each([]string{
			"GET /events HTTP/1.1\r\n\r\n", "GET /events HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET /events HTTP/1.1\r\nHost: a b\r\n\r\n", "GET /events HTTP/1.1\r\nHost: \x00\r\n\r\n",
		}, http.StatusBadRequest),
		f.each([]string{
			get("/events?room=lies", "X-Forwarded-For: "+strings.Repeat("1.2.3.4, ", 1000)+"x"), get("/events?room=lies", "X-Forwarded-For: ::ffff:1.2.3.4%eth0, , ,"),
			get("/events?room=lies", "X-Forwarded-For: 999.999.999.999"), get("/events?room=lies", "Forwarded: for=\"[::\", for=", "Via: "+strings.Repeat("x", 4000)),
		}, http.StatusOK))
}

func traversal(f *field) error {
	var raws []string
	for _, path := range []string{
		"/assets/../go.mod", "/assets/../../../../etc/passwd", "/assets/%2e%2e/go.mod", "/assets/..%2fgo.mod", "/assets/..%5c..%5cgo.mod", "/assets/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
		"/assets//etc/passwd", "/assets/%00", "/assets/assets.go", "/assets/src/", "/assets/", "/assets/.", "/assets/io.js/../../go.mod", "/assets/io.js%00.css",
		"//assets/../go.mod", "/%2e%2e/go.mod", "/../../etc/passwd", "/metrics", "/stats", "/debug/pprof/", "/debug/pprof/cmdline",
	} {
		raws = append(raws, get(path))
	}
	return f.each(raws, http.StatusNotFound, http.StatusBadRequest, http.StatusMovedPermanently)
}

func methods(f *field) error {
	var raws []string
	for _, method := range []string{"TRACE", "CONNECT", "PUT", "DELETE", "PATCH", "BREW", "get", "PRI", "\x00", "G ET", strings.Repeat("M", 2000)} {
		for _, target := range []string{"/events", "/emit", "/leave", "/count", "/"} {
			raws = append(raws, method+" "+target+" HTTP/1.1\r\nHost: headcount.test\r\nContent-Length: 0\r\n\r\n")
		}
	}
	raws = append(raws, get("/emit"), get("/leave"), get("/alive"), post("/events", ""), post("/count", ""))
	begin := time.Now()
	err := f.each(raws, http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusNotFound, http.StatusNotImplemented, hungUp)
	if took := time.Since(begin); took > 10*time.Second {
		err = errors.Join(err, fmt.Errorf("the answers took %v", took))
	}
	return err
}
