package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/internal/tlsconn"
	"headcount/internal/tlsconn/tlstest"
)

// pair returns both ends of a TLS connection that can be taken over.
func pair(t testing.TB, server, client *tls.Config) (s, c *tls.Conn) {
	t.Helper()
	return tlstest.Pair(t, func(l net.Listener) net.Listener { return tlsconn.NewListener(l, server) }, client)
}

// takeOver takes s over after opening.
func takeOver(s *tls.Conn, opening []byte) (*tlsconn.Sealer, net.Conn, error) {
	proof, err := tlsconn.Watch(s)
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.Write(opening); err != nil {
		return nil, nil, err
	}
	sealer, err := proof.Sealer(opening)
	if err != nil {
		return nil, nil, err
	}
	conn, err := tlsconn.Below(s)
	return sealer, conn, err
}

func want(t *testing.T, c io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %.60q, %v, want %.60q", got, err, text)
	}
}

// wantRecords writes records after a takeover, cut in all ways, and then the end. crypto/tls reads them.
func wantRecords(t *testing.T, s *tlsconn.Sealer, conn net.Conn, c *tls.Conn) {
	t.Helper()
	var sent strings.Builder
	var out []byte
	for n := range 50 {
		text := strings.Repeat(fmt.Sprint(n, " "), 1+n*n)
		sent.WriteString(text)
		out = s.Seal(out, []byte(text), false)
	}
	full := strings.Repeat("x", tlsconn.MaxPlaintext)
	sent.WriteString(full)
	out = s.CloseNotify(s.Seal(out, []byte(full), false))
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 1; len(out) > 0; n++ {
			k := min(n, len(out))
			if _, err := conn.Write(out[:k]); err != nil {
				t.Error(err)
				return
			}
			out = out[k:]
		}
	})
	defer writing.Wait()
	want(t, c, sent.String())
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("got %v behind the last record, want the end", err)
	}
}

// The bytes after a takeover are what crypto/tls would have written, no matter what came before.
func TestTakeover(t *testing.T) {
	for _, tt := range []struct {
		name    string
		before  int // records of other answers on the same connection
		opening int // bytes
		change  func(server, client *tls.Config)
	}{
		{"first request", 0, 300, nil},
		{"one byte", 0, 1, nil},
		{"opening of many records", 0, 200 << 10, nil},
		{"later request", 1, 300, nil},
		{"a thousand records before", 1000, 300, nil},
		{"no session tickets", 0, 300, func(server, _ *tls.Config) { server.SessionTicketsDisabled = true }},
		{"no session tickets, later request", 3, 300, func(server, _ *tls.Config) { server.SessionTicketsDisabled = true }},
		{"client certificate", 0, 300, func(server, client *tls.Config) {
			server.ClientAuth = tls.RequireAnyClientCert // then the ticket follows the client's part
			client.Certificates = server.Certificates
		}},
		{"HTTP/1.1 by ALPN", 0, 300, func(server, client *tls.Config) {
			server.NextProtos, client.NextProtos = []string{"h2", "http/1.1"}, []string{"http/1.1"}
		}},
		{"long chain", 0, 300, func(server, _ *tls.Config) {
			chain := &server.Certificates[0]
			for range 60 { // more than a record
				chain.Certificate = append(chain.Certificate, chain.Certificate[0])
			}
		}},
		{"another curve", 0, 300, func(_, client *tls.Config) { client.CurvePreferences = []tls.CurveID{tls.CurveP256} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := tlstest.Configs(t)
			if tt.change != nil {
				tt.change(server, client)
			}
			s, c := pair(t, server, client)
			for n := range tt.before {
				text := fmt.Sprint("answer ", n)
				if _, err := io.WriteString(s, text); err != nil {
					t.Fatal(err)
				}
				want(t, c, text)
			}
			opening := strings.Repeat("o", tt.opening)
			var reading sync.WaitGroup
			reading.Go(func() { want(t, c, opening) })
			sealer, conn, err := takeOver(s, []byte(opening))
			if err != nil {
				t.Fatal(err)
			}
			reading.Wait()
			wantRecords(t, sealer, conn, c)
		})
	}
}

// A session that a ticket resumes has its own keys, and the certificate may be another one by then.
func TestResumption(t *testing.T) {
	server, client := tlstest.Configs(t)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	other, _ := tlstest.Configs(t)
	certificates := server.Certificates
	server.Certificates = nil
	server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificates[0], nil }
	var keys [32]byte
	server.SetSessionTicketKeys([][32]byte{keys}) // each pair has its own listener
	for n := range 3 {
		s, c := pair(t, server, client)
		if got := c.ConnectionState().DidResume; got != (n > 0) {
			t.Fatalf("connection %d: resumed is %v", n, got)
		}
		sealer, conn, err := takeOver(s, []byte("opening"))
		if err != nil {
			t.Fatal(err)
		}
		want(t, c, "opening")
		wantRecords(t, sealer, conn, c)
		certificates = other.Certificates
	}
}

// The settings of the host stay. These are its choice of a config, and its key log.
func TestHostsConfig(t *testing.T) {
	server, client := tlstest.Configs(t)
	var log bytes.Buffer
	own := server.Clone()
	own.KeyLogWriter = &log
	server.Certificates = nil
	server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "nobody" {
			return nil, errors.New("unknown name")
		}
		return own, nil
	}
	s, c := pair(t, server, client)
	sealer, conn, err := takeOver(s, []byte("opening"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, c, "opening")
	wantRecords(t, sealer, conn, c)
	for _, label := range []string{"CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 ", "SERVER_HANDSHAKE_TRAFFIC_SECRET "} {
		if !strings.Contains(log.String(), label) {
			t.Errorf("the host's key log lacks %q", label)
		}
	}
}

// Where a takeover cannot be proven, it does not happen, and the connection still works.
func TestNoTakeover(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(server, client *tls.Config)
		want   error
	}{
		{"TLS 1.2", func(_, client *tls.Config) { client.MaxVersion = tls.VersionTLS12 }, tlsconn.ErrVersion},
		{"HTTP/2", func(server, client *tls.Config) {
			server.NextProtos, client.NextProtos = []string{"h2"}, []string{"h2"}
		}, tlsconn.ErrUnproven},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := tlstest.Configs(t)
			tt.change(server, client)
			s, c := pair(t, server, client)
			if _, _, err := takeOver(s, []byte("opening")); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if tt.want == tlsconn.ErrVersion { // known before anything is written
				_, _ = io.WriteString(s, "opening")
			}
			want(t, c, "opening")
			_, _ = io.WriteString(s, "more")
			want(t, c, "more")
		})
	}
}

// A tls.Conn of another listener is left alone.
func TestForeign(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server, _ := tlstest.Configs(t)
	if _, err := tlsconn.Watch(tls.Server(a, server)); !errors.Is(err, tlsconn.ErrForeign) {
		t.Errorf("got %v, want %v", err, tlsconn.ErrForeign)
	}
}

// A record that did not go out completely proves nothing either.
func TestWriteFails(t *testing.T) {
	server, client := tlstest.Configs(t)
	s, _ := pair(t, server, client)
	proof, err := tlsconn.Watch(s)
	if err != nil {
		t.Fatal(err)
	}
	opening := bytes.Repeat([]byte("x"), 16<<20) // more than buffers hold, and the client does not read
	_ = s.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := s.Write(opening); err == nil {
		t.Fatal("all of it went: the test proves nothing")
	}
	if _, err := proof.Sealer(opening); !errors.Is(err, tlsconn.ErrUnproven) {
		t.Errorf("got %v, want %v", err, tlsconn.ErrUnproven)
	}
}
