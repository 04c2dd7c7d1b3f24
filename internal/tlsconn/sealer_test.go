package tlsconn

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The test seals the records of the server in RFC 8448, section 3. They are application data after one session ticket,
// and the alert.
func TestRFC8448(t *testing.T) {
	secret := unhex(t, "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
	s, err := newSealer(tls.TLS_AES_128_GCM_SHA256, secret, 1)
	if err != nil {
		t.Fatal(err)
	}
	key, iv := s.key[:], s.iv[:]
	if got, want := key[:16], unhex(t, "9f02283b6c9c07efc26bb9f2ac92e356"); !bytes.Equal(got, want) {
		t.Errorf("got key %x, want %x", got, want)
	}
	if got, want := iv, unhex(t, "cf782b88dd83549aadf1e984"); !bytes.Equal(got, want) {
		t.Errorf("got IV %x, want %x", got, want)
	}
	payload := make([]byte, 50)
	for i := range payload {
		payload[i] = byte(i)
	}
	want := unhex(t, "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36"+
		"e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d")
	if got := s.Seal(nil, payload, false); !bytes.Equal(got, want) {
		t.Errorf("got record\n%x, want\n%x", got, want)
	}
	want = unhex(t, "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9")
	if got := s.CloseNotify(nil); !bytes.Equal(got, want) {
		t.Errorf("got alert\n%x, want\n%x", got, want)
	}
	if got := s.seq; got != 3 {
		t.Errorf("the next sequence number is %d, want 3", got)
	}
}

// allSuites runs the test with each cipher suite and some secret.
func allSuites(t *testing.T, test func(t *testing.T, id uint16, secret []byte)) {
	for id, size := range map[uint16]int{
		tls.TLS_AES_128_GCM_SHA256: 32, tls.TLS_AES_256_GCM_SHA384: 48, tls.TLS_CHACHA20_POLY1305_SHA256: 32,
	} {
		t.Run(tls.CipherSuiteName(id), func(t *testing.T) { test(t, id, bytes.Repeat([]byte{0xa7, byte(size)}, size/2)) })
	}
}

// Each record opens with its own sequence number and with no other one, and dst keeps what it had.
func TestSequence(t *testing.T) {
	allSuites(t, func(t *testing.T, id uint16, secret []byte) {
		s, err := newSealer(id, secret, 5)
		if err != nil {
			t.Fatal(err)
		}
		for seq := uint64(5); seq < 100; seq++ {
			text := bytes.Repeat([]byte{byte(seq)}, int(1+seq*seq*seq%MaxPlaintext))
			record := s.Seal([]byte("before"), text, false)
			if !bytes.HasPrefix(record, []byte("before")) || len(record) != 6+len(text)+Overhead {
				t.Fatalf("got %d bytes that begin with %q", len(record), record[:6])
			}
			for try := seq - 5; try <= seq+5; try++ {
				got, contentType, ok := s.open(record[6:], try)
				if ok != (try == seq) {
					t.Fatalf("record %d with sequence number %d: opened is %v", seq, try, ok)
				}
				if ok && (!bytes.Equal(got, text) || contentType != 23) {
					t.Fatalf("record %d has type %d and %d bytes, want 23 and %d", seq, contentType, len(got), len(text))
				}
			}
		}
	})
}

// "For AES-GCM, up to 2^24.5 full-size records may be encrypted on a given connection" (RFC 8446, 5.5).
func TestSpent(t *testing.T) {
	allSuites(t, func(t *testing.T, id uint16, secret []byte) {
		s, err := newSealer(id, secret, 1<<24-1)
		if err != nil {
			t.Fatal(err)
		}
		if s.Spent() {
			t.Error("spent before the last record")
		}
		s.Seal(nil, []byte("x"), false)
		if !s.Spent() {
			t.Error("not spent behind the last record")
		}
	})
}

// No type that holds a key shows it, no matter how it is printed.
func TestKeysAreNotPrinted(t *testing.T) {
	allSuites(t, func(t *testing.T, id uint16, secret []byte) {
		s, err := newSealer(id, secret, 0)
		if err != nil {
			t.Fatal(err)
		}
		conn := newConn(nil, fmt.Appendf(nil, "SERVER_TRAFFIC_SECRET_0 00 %x\n", secret))
		key, iv := s.key[:], s.iv[:]
		key, iv = bytes.Clone(key[:16]), bytes.Clone(iv)
		type holder struct {
			S *Sealer
			c *Conn
		}
		for _, v := range []any{s, *s, conn, conn.secret, &Proof{conn, id}, holder{s, conn}, []any{s}} {
			var all strings.Builder
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				fmt.Fprintf(&all, verb+"\n", v)
			}
			asJSON, _ := json.Marshal(v)
			all.Write(asJSON)
			slog.New(slog.NewTextHandler(&all, nil)).Info("text", "v", v)
			slog.New(slog.NewJSONHandler(&all, nil)).Info("json", "v", v)
			for _, hidden := range [][]byte{key, iv, secret[:16]} {
				for _, form := range []string{
					string(hidden), fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), strings.Trim(fmt.Sprint(hidden), "[]"),
					strings.TrimSuffix(fmt.Sprintf("%#v", hidden)[len("[]byte{"):], "}"), strings.ReplaceAll(strings.Trim(fmt.Sprint(hidden), "[]"), " ", ","),
				} {
					if strings.Contains(all.String(), form) {
						t.Errorf("%T shows a key: %q", v, all.String())
					}
				}
			}
		}
	})
}

// A panic that carries a sealer, and the traces of all goroutines, show no key.
func TestPanicShowsNoKey(t *testing.T) {
	secret := bytes.Repeat([]byte{0x5a}, 32)
	s, err := newSealer(tls.TLS_AES_128_GCM_SHA256, secret, 0)
	if err != nil {
		t.Fatal(err)
	}
	key, iv := s.key[:], s.iv[:]
	if os.Getenv("TLSCONN_PANIC") != "" {
		panic(s)
	}
	command := exec.Command(os.Args[0], "-test.run=^TestPanicShowsNoKey$")
	command.Env = append(os.Environ(), "TLSCONN_PANIC=1", "GOTRACEBACK=all")
	out, err := command.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("panic: ")) {
		t.Fatalf("got %v and %s, want a panic", err, out)
	}
	for _, hidden := range [][]byte{key[:8], iv[:8], secret[:8]} {
		for _, form := range []string{fmt.Sprintf("%x", hidden), strings.Trim(fmt.Sprint(hidden), "[]")} {
			if bytes.Contains(out, []byte(form)) {
				t.Errorf("the panic shows a key: %s", out)
			}
		}
	}
}

// Wipe leaves no trace of the keys, and nothing to seal with.
func TestWipe(t *testing.T) {
	allSuites(t, func(t *testing.T, id uint16, secret []byte) {
		s, err := newSealer(id, secret, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.Wipe()
		key, iv := s.key[:], s.iv[:]
		if !bytes.Equal(key, make([]byte, len(key))) || !bytes.Equal(iv, make([]byte, len(iv))) || !s.Spent() {
			t.Errorf("key %x, IV %x, spent %v are left", key, iv, s.Spent())
		}
		defer func() {
			if recover() == nil {
				t.Error("sealed with a key of zeros")
			}
		}()
		s.Seal(nil, []byte("x"), false)
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, id := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256} {
		b.Run(tls.CipherSuiteName(id), func(b *testing.B) {
			s, err := newSealer(id, make([]byte, 48), 0)
			if err != nil {
				b.Fatal(err)
			}
			text, buffer := make([]byte, 200), make([]byte, 0, 1<<10)
			b.ReportAllocs()
			for b.Loop() {
				buffer = s.Seal(buffer[:0], text, false)
			}
		})
	}
}

// Another process continues where this one has stopped, even in the middle of a record.
func TestExport(t *testing.T) {
	allSuites(t, func(t *testing.T, id uint16, secret []byte) {
		s, err := newSealer(id, secret, 77)
		if err != nil {
			t.Fatal(err)
		}
		s.Keep(s.Seal(nil, []byte("half a record"), true)[5:])
		next, err := Import(s.Export())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(next.Rest(), s.Rest()) || next.seq != 78 {
			t.Errorf("got a rest of %x before number %d, want %x before 78", next.Rest(), next.seq, s.Rest())
		}
		if got, want := next.Seal(nil, []byte("x"), false), s.Seal(nil, []byte("x"), false); !bytes.Equal(got, want) {
			t.Errorf("the next record is %x, want %x", got, want)
		}
		for n := range len(s.Export()) - len(s.Rest()) {
			if _, err := Import(s.Export()[:n]); err == nil {
				t.Errorf("%d bytes are taken for a state", n)
			}
		}
	})
	if _, err := Import(make([]byte, 100)); err == nil {
		t.Error("suite 0 is taken")
	}
}
