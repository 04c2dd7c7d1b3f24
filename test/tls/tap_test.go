package tls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tap is below a client's tls.Conn. It decrypts what the server sends with the secret that the client has logged. It
// checks that each record has the next sequence number, with none repeated or left out.
type tap struct {
	*net.TCPConn
	aead  cipher.AEAD
	iv    []byte
	buf   []byte
	seq   uint64
	alert bool // close_notify has come
	err   error
}

// Write takes a line of the client's key log.
func (l *tapLog) Write(line []byte) (int, error) {
	if rest, ok := strings.CutPrefix(string(line), "SERVER_TRAFFIC_SECRET_0 "); ok {
		_, text, _ := strings.Cut(strings.TrimSpace(rest), " ")
		secret, err := hex.DecodeString(text)
		if err != nil || len(secret) != sha256.Size {
			return 0, fmt.Errorf("secret of %d bytes, %v: the tap knows AES-128-GCM alone", len(secret), err)
		}
		block, _ := aes.NewCipher(expand(secret, "key", 16))
		l.tap.aead, _ = cipher.NewGCM(block)
		l.tap.iv = expand(secret, "iv", 12)
	}
	return len(line), nil
}

type tapLog struct{ tap *tap }

func expand(secret []byte, label string, n int) []byte {
	info := append([]byte{0, byte(n), byte(6 + len(label))}, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		panic(err)
	}
	return out
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.TCPConn.Read(p)
	t.buf = append(t.buf, p[:n]...)
	for t.aead != nil && len(t.buf) >= 5 {
		size := 5 + int(binary.BigEndian.Uint16(t.buf[3:]))
		if len(t.buf) < size {
			break
		}
		t.check(t.buf[:size])
		t.buf = t.buf[size:]
	}
	return n, err
}

func (t *tap) check(record []byte) {
	if record[0] != 23 || t.err != nil {
		return // of the handshake
	}
	nonce := bytes.Clone(t.iv)
	for i, b := range binary.BigEndian.AppendUint64(nil, t.seq) {
		nonce[4+i] ^= b
	}
	text, err := t.aead.Open(nil, nonce, record[5:], record[:5])
	switch {
	case err == nil && t.alert:
		t.err = errors.New("there is a record behind close_notify")
	case err == nil:
		t.seq++
		t.alert = bytes.Equal(text, []byte{1, 0, 21})
	case t.seq > 0: // before, it is sealed with the keys of the handshake
		t.err = fmt.Errorf("a record of %d bytes is not number %d", len(record), t.seq)
	}
}

// Readers of all kinds join, stall, leave and come back while events of all sizes are sent. No record is out of order,
// and no sequence number is used twice. Every reader gets each event of its time once. It lasts 5 s, or SOAK_TIME.
func TestSequenceNumbers(t *testing.T) {
	lasting := 5 * time.Second
	if text := os.Getenv("SOAK_TIME"); text != "" {
		var err error
		if lasting, err = time.ParseDuration(text); err != nil {
			t.Fatalf("read SOAK_TIME: %v", err)
		}
	}
	s := start(t, "-heartbeat", "300ms")
	deadline := time.Now().Add(lasting)
	cache := tls.NewLRUClientSessionCache(8)
	var readers sync.WaitGroup
	var mu sync.Mutex
	var streams, resumed, records int
	for i := range 12 {
		readers.Go(func() {
			for time.Now().Before(deadline) {
				tap, again, err := tapped(s, cache, i, min(rand.N(3*time.Second), time.Until(deadline)+time.Second))
				mu.Lock()
				streams++
				records += int(tap.seq)
				if again {
					resumed++
				}
				mu.Unlock()
				if err != nil {
					t.Errorf("reader %d: %v", i, err)
					return
				}
			}
		})
	}
	replaced := time.Now()
	for time.Now().Before(deadline) {
		s.emit("a", rand.IntN(1<<rand.IntN(16)))
		if time.Since(replaced) > 2*time.Second { // meanwhile
			s.writeCertificate()
			replaced = time.Now()
		}
		time.Sleep(rand.N(20 * time.Millisecond)) // random traffic, not a wait for anything
	}
	readers.Wait()
	if by := s.portable("unproven") + s.portable("tls12") + s.portable("http2") + s.portable("listener") + s.portable("cipher"); by > 0 {
		t.Errorf("%d streams were not taken over", by)
	}
	t.Logf("%d events; %d streams, %d of them resumed, with %d records, each with the number that was due", s.sent, streams, resumed, records)
	if resumed == 0 || records < streams*2 {
		t.Error("that proves nothing")
	}
}

// tapped reads a stream for a while through a tap.
func tapped(s *server, cache tls.ClientSessionCache, i int, lasting time.Duration) (*tap, bool, error) {
	raw, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return &tap{}, false, err
	}
	defer raw.Close()
	tap := &tap{TCPConn: raw.(*net.TCPConn)}
	if i%3 == 0 {
		tap.SetReadBuffer(2 << 10)
	}
	c := tls.Client(tap, &tls.Config{
		InsecureSkipVerify: true, ServerName: "localhost", MinVersion: tls.VersionTLS13, ClientSessionCache: cache, KeyLogWriter: &tapLog{tap},
	})
	if _, err := io.WriteString(c, "GET /events?room=a HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return tap, false, err
	}
	c.SetReadDeadline(time.Now().Add(lasting))
	var text strings.Builder
	buf := make([]byte, 1+rand.IntN(4096))
	for err == nil {
		var n int
		n, err = c.Read(buf)
		text.Write(buf[:n])
		if i%4 == 0 && rand.IntN(20) == 0 {
			time.Sleep(rand.N(200 * time.Millisecond)) // a slow reader
		}
	}
	if i%2 == 0 {
		c.Close() // with close_notify
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return tap, false, fmt.Errorf("the stream ended: %w", err)
	}
	return tap, c.ConnectionState().DidResume, errors.Join(tap.err, inOrder(text.String()))
}

var number = regexp.MustCompile(`data: "(\d+)\.|"missed":(\d+)`)

// inOrder checks that the events of a stream come one after the other; a gap says how many are missing.
func inOrder(text string) error {
	last, missed := 0, 0
	for _, m := range number.FindAllStringSubmatch(text, -1) {
		if m[2] != "" {
			missed, _ = strconv.Atoi(m[2])
			continue
		}
		n, _ := strconv.Atoi(m[1])
		if last > 0 && n != last+1+missed {
			return fmt.Errorf("event %d came behind %d, and %d were said to be missing", n, last, missed)
		}
		last, missed = n, 0
	}
	return nil
}

// A peer that closes the connection leaves the count at once, whichever way it closes it, and so does one that never
// completes a request.
func TestGone(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		name string
		how  func(c *tls.Conn)
	}{
		{"close_notify and FIN", func(c *tls.Conn) { c.Close() }},
		{"close_notify alone", func(c *tls.Conn) { c.CloseWrite() }},
		{"FIN alone", func(c *tls.Conn) { c.NetConn().Close() }},
		{"half-closed", func(c *tls.Conn) { c.NetConn().(*net.TCPConn).CloseWrite() }},
		{"RST", func(c *tls.Conn) { c.NetConn().(*net.TCPConn).SetLinger(0); c.NetConn().Close() }},
		{"a record of nonsense, and FIN", func(c *tls.Conn) {
			c.NetConn().Write([]byte{23, 3, 3, 0, 19, 1, 2, 3})
			c.NetConn().Close()
		}},
		{"an application record that nobody asked for", func(c *tls.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\n\r\n") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			io.WriteString(c, "GET /events?room=gone HTTP/1.1\r\nHost: localhost\r\n\r\n")
			for text := ""; !strings.Contains(text, "data: 1"); {
				buf := make([]byte, 4096)
				n, err := c.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				text += string(buf[:n])
			}
			tt.how(c)
			s.wantGone("gone")
		})
	}
}
