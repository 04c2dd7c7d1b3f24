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

const patience = 15 * time.Second

// pair returns both ends of a TLS connection over loopback, after its handshake.
func pair(t testing.TB, server, client *tls.Config) (s, c *tls.Conn) {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := tlsconn.NewListener(raw, server)
	defer l.Close()
	accepted := make(chan *tls.Conn, 1)
	go func() {
		defer close(accepted)
		if c, err := l.Accept(); err == nil && c.(*tls.Conn).Handshake() == nil {
			accepted <- c.(*tls.Conn)
		}
	}()
	out, err := net.Dial("tcp", raw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c = tls.Client(out, client)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if s = <-accepted; s == nil {
		t.Fatal("the server's handshake went wrong")
	}
	t.Cleanup(func() { _ = s.Close() })
	_ = s.SetDeadline(time.Now().Add(patience))
	return s, c
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
		before func(t *testing.T, s, c *tls.Conn, log *bytes.Buffer)
		want   error
	}{
		{"TLS 1.2", func(_, client *tls.Config) { client.MaxVersion = tls.VersionTLS12 }, nil, tlsconn.ErrVersion},
		{"HTTP/2", func(server, client *tls.Config) {
			server.NextProtos, client.NextProtos = []string{"h2"}, []string{"h2"}
		}, nil, tlsconn.ErrUnproven},
		{"KeyUpdate before", nil, func(t *testing.T, s, c *tls.Conn, log *bytes.Buffer) { updateKey(t, s, c, log) }, tlsconn.ErrUnproven},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := tlstest.Configs(t)
			var log bytes.Buffer
			client.KeyLogWriter = &log
			if tt.change != nil {
				tt.change(server, client)
			}
			s, c := pair(t, server, client)
			if tt.before != nil {
				tt.before(t, s, c, &log)
			}
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

// If a KeyUpdate is answered after the opening, that answer is the last record, and proves nothing.
func TestKeyUpdateDuringTakeover(t *testing.T) {
	server, client := tlstest.Configs(t)
	var log bytes.Buffer
	client.KeyLogWriter = &log
	s, c := pair(t, server, client)
	proof, err := tlsconn.Watch(s)
	if err != nil {
		t.Fatal(err)
	}
	opening := []byte("opening")
	if _, err := s.Write(opening); err != nil {
		t.Fatal(err)
	}
	updateKey(t, s, c, &log)
	if _, err := proof.Sealer(opening); !errors.Is(err, tlsconn.ErrUnproven) {
		t.Errorf("got %v, want %v", err, tlsconn.ErrUnproven)
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

// updateKey makes the client ask for new keys, and the server answer. From then on the server seals with new keys.
func updateKey(t *testing.T, s, c *tls.Conn, log *bytes.Buffer) {
	t.Helper()
	// The client's first record after its Finished has the sequence number 0.
	sealer := clientSealer(t, c, log)
	keyUpdate := []byte{24, 0, 0, 1, 1} // update_requested
	if _, err := c.NetConn().Write(sealer.SealAs(nil, keyUpdate, 22)); err != nil {
		t.Fatal(err)
	}
	// The server handles it when it reads.
	_ = s.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Fatal("the server read something")
	}
	_ = s.SetReadDeadline(time.Now().Add(patience))
}

func clientSealer(t *testing.T, c *tls.Conn, log *bytes.Buffer) *tlsconn.Sealer {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		if fields := strings.Fields(line); fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			sealer, err := tlsconn.NewSealer(c.ConnectionState().CipherSuite, unhex(t, fields[2]), 0)
			if err != nil {
				t.Fatal(err)
			}
			return sealer
		}
	}
	t.Fatal("the client has logged no secret")
	return nil
}

// The secret is wiped as soon as it is not needed any more.
func TestSecretIsWiped(t *testing.T) {
	server, client := tlstest.Configs(t)
	for _, how := range []string{"taken over", "closed"} {
		s, _ := pair(t, server, client)
		conn := s.NetConn().(*tlsconn.Conn)
		secret := conn.SecretBytes()
		if bytes.Equal(secret, make([]byte, len(secret))) {
			t.Fatal("there is no secret")
		}
		if how == "closed" {
			_ = conn.Close()
		} else if _, _, err := takeOver(s, []byte("opening")); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(secret, make([]byte, len(secret))) {
			t.Errorf("%s: %x is left of the secret", how, secret)
		}
	}
}

// sink accepts all writes.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }

// The last record and the number of protected records are found no matter where writes cut the records.
func TestRecordsCutAnywhere(t *testing.T) {
	s, err := tlsconn.NewSealer(tls.TLS_AES_128_GCM_SHA256, make([]byte, 32), 0)
	if err != nil {
		t.Fatal(err)
	}
	stream := []byte{20, 3, 3, 0, 1, 1} // change_cipher_spec
	stream = s.Seal(stream, []byte("first"), false)
	start := len(stream)
	stream = s.Seal(stream, []byte("second"), false)
	for first := range len(stream) + 1 {
		for second := first; second <= len(stream); second++ {
			c := tlsconn.NewConn(sink{}, nil)
			for _, p := range [][]byte{stream[:first], stream[first:second], stream[second:]} {
				if _, err := c.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			if last, records := c.Last(); !bytes.Equal(last, stream[start:]) || records != 2 {
				t.Fatalf("cut at %d and %d: got %d records and %x, want 2 and %x", first, second, records, last, stream[start:])
			}
		}
	}
	// An incomplete record is not a record.
	for n := start + 1; n < len(stream); n++ {
		c := tlsconn.NewConn(sink{}, nil)
		_, _ = c.Write(stream[:n])
		if last, _ := c.Last(); last != nil {
			t.Fatalf("got %x of %d bytes, want nothing", last, n)
		}
	}
}

// FuzzProof checks that a takeover happens only after a record that the secret opens, no matter what the key log
// contains and what the connection writes.
func FuzzProof(f *testing.F) {
	secret := bytes.Repeat([]byte{7}, 32)
	line := fmt.Appendf(nil, "SERVER_TRAFFIC_SECRET_0 %064x %x\n", 1, secret)
	s, err := tlsconn.NewSealer(tls.TLS_AES_128_GCM_SHA256, secret, 3)
	if err != nil {
		f.Fatal(err)
	}
	record := s.Seal(nil, []byte("opening"), false)
	before := bytes.Repeat([]byte{23, 3, 3, 0, 0}, 3)
	f.Add(line, append(before, record...), []byte("opening"), tls.TLS_AES_128_GCM_SHA256)
	f.Add(line, record, []byte("opening"), tls.TLS_AES_128_GCM_SHA256)
	f.Add(line, append(before, record[:20]...), []byte("opening"), tls.TLS_AES_256_GCM_SHA384)
	f.Add([]byte("SERVER_TRAFFIC_SECRET_0 xyz"), []byte{23, 3, 3, 255, 255}, []byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, line, stream, written []byte, suite uint16) {
		c := tlsconn.NewConn(sink{}, line)
		for len(stream) > 0 {
			n := min(len(stream), 1+int(stream[0])%7)
			_, _ = c.Write(stream[:n])
			if stream = stream[n:]; len(stream) == 0 {
				break
			}
		}
		sealer, err := tlsconn.NewProof(c, suite).Sealer(written)
		if err != nil {
			return
		}
		// Only what was sealed above can get here.
		if sealer.Seq() != 4 || !bytes.HasSuffix(written, []byte("opening")) {
			t.Errorf("took over at %d behind %q", sealer.Seq(), written)
		}
	})
}
