package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"headcount/internal/tlsconn/tlstest"
)

// newConn returns a connection after a handshake that wrote line to the key log.
func newConn(c net.Conn, line []byte) *Conn {
	conn := &Conn{Conn: c}
	_, _ = keyLog{conn}.Write(line)
	conn.watch()
	return conn
}

// pair returns both ends of a TLS connection that can be taken over.
func pair(t *testing.T, server, client *tls.Config) (s, c *tls.Conn) {
	t.Helper()
	return tlstest.Pair(t, func(l net.Listener) net.Listener { return NewListener(l, server) }, client)
}

// prove takes s over. After the opening it calls late.
func prove(s *tls.Conn, late func()) error {
	proof, err := Watch(s)
	if err != nil {
		return err
	}
	opening := []byte("opening")
	if _, err := s.Write(opening); err != nil {
		return err
	}
	late()
	_, err = proof.Sealer(opening)
	return err
}

// The secret is wiped as soon as it is not needed any more.
func TestSecretIsWiped(t *testing.T) {
	server, client := tlstest.Configs(t)
	for _, how := range []string{"taken over", "closed"} {
		s, _ := pair(t, server, client)
		conn := s.NetConn().(*Conn)
		secret := conn.secret.bytes
		if bytes.Equal(secret, make([]byte, len(secret))) {
			t.Fatal("there is no secret")
		}
		if how == "closed" {
			_ = conn.Close()
		} else if err := prove(s, func() {}); err != nil {
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
	s, err := newSealer(tls.TLS_AES_128_GCM_SHA256, make([]byte, 32), 0)
	if err != nil {
		t.Fatal(err)
	}
	stream := []byte{20, 3, 3, 0, 1, 1} // change_cipher_spec
	stream = s.Seal(stream, []byte("first"), false)
	start := len(stream)
	stream = s.Seal(stream, []byte("second"), false)
	for first := range len(stream) + 1 {
		for second := first; second <= len(stream); second++ {
			c := newConn(sink{}, nil)
			for _, p := range [][]byte{stream[:first], stream[first:second], stream[second:]} {
				if _, err := c.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			if _, last, records := c.take(); !bytes.Equal(last, stream[start:]) || records != 2 {
				t.Fatalf("cut at %d and %d: got %d records and %x, want 2 and %x", first, second, records, last, stream[start:])
			}
		}
	}
	// An incomplete record is not a record.
	for n := start + 1; n < len(stream); n++ {
		c := newConn(sink{}, nil)
		_, _ = c.Write(stream[:n])
		if _, last, _ := c.take(); last != nil {
			t.Fatalf("got %x of %d bytes, want nothing", last, n)
		}
	}
}

// Only application data that was just written proves a sequence number.
func TestProof(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	line := fmt.Appendf(nil, "SERVER_TRAFFIC_SECRET_0 %064x %x\n", 1, secret)
	for _, tt := range []struct {
		name        string
		seq         uint64 // of the last record
		before      int    // records that are counted before it
		text        string
		contentType byte
		proven      bool
	}{
		{"what was written", 3, 3, "opening", typeApplication, true},
		{"its end", 3, 3, "ing", typeApplication, true},
		{"most records of a handshake", 3, 3 + candidates - 1, "opening", typeApplication, true},
		{"more records than a handshake has", 3, 3 + candidates, "opening", typeApplication, false},
		{"more numbers than records", 4, 3, "opening", typeApplication, false},
		{"something else", 3, 3, "another", typeApplication, false},
		{"nothing", 3, 3, "", typeApplication, false},
		{"an alert", 3, 3, "opening", typeAlert, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := newSealer(tls.TLS_AES_128_GCM_SHA256, secret, tt.seq)
			if err != nil {
				t.Fatal(err)
			}
			c := newConn(sink{}, line)
			_, _ = c.Write(bytes.Repeat([]byte{23, 3, 3, 0, 0}, tt.before))
			_, _ = c.Write(s.seal(nil, []byte(tt.text), tt.contentType, false))
			got, err := (&Proof{c, tls.TLS_AES_128_GCM_SHA256}).Sealer([]byte("opening"))
			switch {
			case tt.proven && (err != nil || got.seq != tt.seq+1):
				t.Errorf("got %v, want a sealer with number %d", err, tt.seq+1)
			case !tt.proven && !errors.Is(err, ErrUnproven):
				t.Errorf("got %v, want %v", err, ErrUnproven)
			}
		})
	}
}

// FuzzProof checks that a takeover happens only after a record that the secret opens, no matter what the key log
// contains and what the connection writes.
func FuzzProof(f *testing.F) {
	secret := bytes.Repeat([]byte{7}, 32)
	line := fmt.Appendf(nil, "SERVER_TRAFFIC_SECRET_0 %064x %x\n", 1, secret)
	s, err := newSealer(tls.TLS_AES_128_GCM_SHA256, secret, 3)
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
		c := newConn(sink{}, line)
		for len(stream) > 0 {
			n := min(len(stream), 1+int(stream[0])%7)
			_, _ = c.Write(stream[:n])
			if stream = stream[n:]; len(stream) == 0 {
				break
			}
		}
		sealer, err := (&Proof{c, suite}).Sealer(written)
		if err != nil {
			return
		}
		// Only what was sealed above can get here.
		if sealer.seq != 4 || !bytes.HasSuffix(written, []byte("opening")) {
			t.Errorf("took over at %d behind %q", sealer.seq, written)
		}
	})
}

// A KeyUpdate that is answered changes the server's key. If that happens before the opening, the secret does not open
// it. If it happens after the opening, the answer is the last record, and proves nothing. The connection still works.
func TestKeyUpdate(t *testing.T) {
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprintf("before the opening %v", before), func(t *testing.T) {
			server, client := tlstest.Configs(t)
			var log bytes.Buffer
			client.KeyLogWriter = &log
			s, c := pair(t, server, client)
			update := func() { updateKey(t, s, c, &log) }
			var err error
			if before {
				update()
				err = prove(s, func() {})
			} else {
				err = prove(s, update)
			}
			if !errors.Is(err, ErrUnproven) {
				t.Errorf("got %v, want %v", err, ErrUnproven)
			}
			if _, err := s.Write([]byte(" more")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len("opening more"))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != "opening more" {
				t.Errorf("got %q, %v, want the opening and more", got, err)
			}
		})
	}
}

// updateKey makes the client ask for new keys, and the server answer. From then on the server seals with new keys.
func updateKey(t *testing.T, s, c *tls.Conn, log *bytes.Buffer) {
	t.Helper()
	// The client's first record after its Finished has the sequence number 0.
	sealer := clientSealer(t, c, log)
	keyUpdate := []byte{24, 0, 0, 1, 1} // update_requested
	if _, err := c.NetConn().Write(sealer.seal(nil, keyUpdate, 22, false)); err != nil {
		t.Fatal(err)
	}
	// The server handles it when it reads.
	_ = s.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Fatal("the server read something")
	}
	_ = s.SetReadDeadline(time.Now().Add(tlstest.Timeout))
}

func clientSealer(t *testing.T, c *tls.Conn, log *bytes.Buffer) *Sealer {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		if fields := strings.Fields(line); fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			sealer, err := newSealer(c.ConnectionState().CipherSuite, unhex(t, fields[2]), 0)
			if err != nil {
				t.Fatal(err)
			}
			return sealer
		}
	}
	t.Fatal("the client has logged no secret")
	return nil
}
