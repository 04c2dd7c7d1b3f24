package tls

import (
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"headcount/test/rig"
)

// reader is a program that reads a stream and prints its bytes, or the lines "data: …" of them.
type reader struct {
	name    string
	command []string // PORT and ROOM are filled in
	request bool     // it gets the request on standard input
	by      string   // the transport that it must get
	reason  string   // why it is the portable writer
}

func readers() []reader {
	openssl := func(name, args string) reader {
		return reader{name: "openssl " + name, command: strings.Fields("openssl s_client -quiet -connect 127.0.0.1:PORT " + args), request: true, by: "epoll_tls"}
	}
	all := []reader{
		openssl("AES-128-GCM", "-ciphersuites TLS_AES_128_GCM_SHA256"),
		openssl("AES-256-GCM", "-ciphersuites TLS_AES_256_GCM_SHA384"),
		openssl("ChaCha20-Poly1305", "-ciphersuites TLS_CHACHA20_POLY1305_SHA256"),
		openssl("P-256", "-groups P-256"),
		openssl("small records", "-max_send_frag 512"),
		{name: "curl", command: strings.Fields("curl -skN --http1.1 https://127.0.0.1:PORT/events?room=ROOM"), by: "epoll_tls"},
		{name: "node", command: []string{"node", "-e", `require('https').get('https://127.0.0.1:PORT/events?room=ROOM', {rejectUnauthorized: false}, r => r.pipe(process.stdout))`}, by: "epoll_tls"},
		{name: "python", command: []string{"python3", "-u", "-c", `
import ssl, sys, urllib.request
for line in urllib.request.urlopen("https://127.0.0.1:PORT/events?room=ROOM", context=ssl._create_unverified_context()):
    sys.stdout.buffer.write(line); sys.stdout.buffer.flush()`}, by: "epoll_tls"},
		{name: "curl with TLS 1.2", command: strings.Fields("curl -skN --http1.1 --tls-max 1.2 https://127.0.0.1:PORT/events?room=ROOM"), by: "stream", reason: "tls12"},
		{name: "curl with HTTP/2", command: strings.Fields("curl -skN --http2 https://127.0.0.1:PORT/events?room=ROOM"), by: "stream", reason: "http2"},
	}
	return all
}

// running is a reader that runs.
type running struct {
	out   rig.Buffer
	stdin io.WriteCloser
	cmd   *exec.Cmd
}

func (r reader) run(t *testing.T, s *server, room string) *running {
	t.Helper()
	rig.Need(t, r.command[0], "apt-get install openssl curl nodejs python3")
	_, port, _ := strings.Cut(s.Addr, ":")
	fill := strings.NewReplacer("PORT", port, "ROOM", room)
	args := make([]string, len(r.command))
	for i, word := range r.command {
		args[i] = fill.Replace(word)
	}
	p := &running{cmd: exec.Command(args[0], args[1:]...)}
	p.cmd.Stdout = &p.out
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	if r.request {
		fmt.Fprintf(p.stdin, "GET /events?room=%s HTTP/1.1\r\nHost: localhost\r\n\r\n", room)
	}
	return p
}

var numbers = regexp.MustCompile(`data: "(\d+)\.`)

// wantNumbers waits until the reader has printed the numbers 1..n, each once and in order.
func (p *running) wantNumbers(t *testing.T, n int) {
	t.Helper()
	var got []string
	rig.Wait(t, patience, fmt.Sprintf("event %d of %.300q", n, p.out.String()), func() bool {
		got = got[:0]
		for _, m := range numbers.FindAllStringSubmatch(p.out.String(), -1) {
			got = append(got, m[1])
		}
		return len(got) >= n
	})
	for i, number := range got {
		if number != fmt.Sprint(i+1) {
			t.Fatalf("got the numbers %v, want 1 to %d", got, n)
		}
	}
}

// Each program reads each event of every size, is counted while it reads, and leaves the count at once when it ends.
// The loops write to all that they can take over.
func TestReaders(t *testing.T) {
	s := start(t)
	for i, r := range readers() {
		t.Run(r.name, func(t *testing.T) {
			room := fmt.Sprint("room", i)
			s.sent = 0
			before := 0
			if r.reason != "" {
				before = s.portable(r.reason)
			}
			p := r.run(t, s, room)
			rig.Wait(t, patience, "the first count", func() bool { return strings.Contains(p.out.String(), "data: 1") })
			s.wantStreams(r.by, 1)
			if r.reason != "" && s.portable(r.reason) != before+1 {
				t.Errorf("%s is counted %d times, want %d", r.reason, s.portable(r.reason), before+1)
			}
			for _, size := range []int{0, 1, 100, 1000, 16300, 16384, 16400, 40000, 60000, 10} {
				s.emit(room, size)
			}
			p.wantNumbers(t, 10)
			for range 100 {
				s.emit(room, 50)
			}
			p.wantNumbers(t, 110)
			p.cmd.Process.Kill()
			s.wantGone(room)
		})
	}
}

// A server that stops ends streams over TLS properly too. curl can tell a stream that was cut (56) from one that
// ended.
func TestCleanEnd(t *testing.T) {
	for _, r := range readers() {
		if r.by != "epoll_tls" {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			s := start(t)
			p := r.run(t, s, "a")
			rig.Wait(t, patience, "the first count", func() bool { return strings.Contains(p.out.String(), "data: 1") })
			s.Stop()
			if err := p.cmd.Wait(); err != nil {
				t.Errorf("the reader ended with %v, want none", err)
			}
			if out := p.out.String(); !regexp.MustCompile(`retry: \d+\s+(0\s+)?$`).MatchString(out) {
				t.Errorf("the stream ends with %q, want a farewell", out[max(0, len(out)-60):])
			}
		})
	}
}

// Without HTTP/2 everybody with TLS 1.3 gets a stream at the price of a plain one.
func TestWithoutHTTP2(t *testing.T) {
	s := start(t, "-http2=false")
	curl := reader{name: "curl", command: strings.Fields("curl -skN https://127.0.0.1:PORT/events?room=ROOM")}
	p := curl.run(t, s, "a")
	rig.Wait(t, patience, "the first count", func() bool { return strings.Contains(p.out.String(), "data: 1") })
	s.wantStreams("epoll_tls", 1)
}

// OpenSSL changes its keys in the middle of a stream. The loops cannot follow that, so the stream ends cleanly.
func TestKeyUpdate(t *testing.T) {
	for _, tt := range []struct{ name, command string }{{"and asks for ours", "K\n"}, {"alone", "k\n"}} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			openssl := reader{name: "openssl", command: strings.Fields("openssl s_client -connect 127.0.0.1:PORT"), request: true}
			p := openssl.run(t, s, "a")
			rig.Wait(t, patience, "the first count", func() bool { return strings.Contains(p.out.String(), "data: 1") })
			io.WriteString(p.stdin, tt.command)
			if err := p.cmd.Wait(); err != nil {
				t.Errorf("s_client ended with %v", err)
			}
			if out := p.out.String(); !regexp.MustCompile(`\r\nretry: \d+\n+\r\n0\r\n\r\n`).MatchString(out) || !strings.HasSuffix(out, "closed\n") {
				t.Errorf("s_client said %q, want a farewell and an end", out[strings.Index(out, "HTTP/1.1 200"):])
			}
			s.wantGone("a")
		})
	}
}
