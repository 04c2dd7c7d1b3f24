package wire_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"headcount/internal/hub"
	"headcount/internal/wire"
)

// A stream ends cleanly, and its client is told to reconnect, before its key has sealed too many records. "For AES-GCM,
// up to 2^24.5 full-size records (about 24 million) may be encrypted on a given connection" (RFC 8446, 5.5).
func TestSpentKey(t *testing.T) {
	const limit, left = 1 << 24, 3 // records
	for _, uring := range []bool{true, false} {
		t.Run(fmt.Sprintf("io_uring %v", uring), func(t *testing.T) {
			e, err := wire.NewEpoll(time.Hour, uring)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			h := hub.New(hub.Options{})
			client, socket := pair(t)
			defer client.Close()
			keys := binary.BigEndian.AppendUint16(nil, tls.TLS_AES_128_GCM_SHA256)
			keys = binary.BigEndian.AppendUint64(keys, limit-left)
			keys = append(keys, make([]byte, 12+32)...) // IV and key are zeros
			ended := make(owner, 1)
			sub := h.Open("a").Join(hub.JoinOptions{Retry: time.Second})
			if _, err := e.Resume(socket.FD(), h.Open("a"), wire.ConnState{Sub: sub.Export(), TLS: keys}, ended); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			records := 0
			for ; ; records++ {
				if records < 10 {
					h.Emit("a", "n", fmt.Appendf(nil, "%d", records))
				}
				plain, contentType := record(t, client, uint64(limit-left+records))
				if contentType == 21 {
					break
				}
				text.WriteString(plain)
			}
			if why := <-ended; why != wire.Ended {
				t.Errorf("ended as %s, want ended", why)
			}
			if records < left || records > left+3 {
				t.Errorf("got %d records before close_notify, want %d and a few", records, left)
			}
			if !regexp.MustCompile(`\nretry: \d+\n+$`).MatchString(text.String()) {
				t.Errorf("got %q, want a farewell at the end", text.String())
			}
		})
	}
}

// record reads a record that was sealed with a key of zeros.
func record(t *testing.T, c io.Reader, seq uint64) (text string, contentType byte) {
	t.Helper()
	header := make([]byte, 5)
	if _, err := io.ReadFull(c, header); err != nil {
		t.Fatalf("record %d: %v", seq, err)
	}
	sealed := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(c, sealed); err != nil {
		t.Fatalf("record %d: %v", seq, err)
	}
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	p, err := aead.Open(nil, binary.BigEndian.AppendUint64(make([]byte, 4), seq), sealed, header)
	if err != nil {
		t.Fatalf("record %d: %v", seq, err)
	}
	return string(p[:len(p)-1]), p[len(p)-1]
}
