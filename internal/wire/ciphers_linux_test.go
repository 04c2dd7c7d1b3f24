package wire

import (
	"testing"
	"time"

	"headcount/internal/tlsconn"
)

// secured returns a stream with the keys 0 of AES-128-GCM.
func secured(t *testing.T) *Conn {
	t.Helper()
	s, err := tlsconn.Import(append([]byte{0x13, 0x01}, make([]byte, 52)...))
	if err != nil {
		t.Fatal(err)
	}
	return &Conn{tls: s}
}

// A cipher is kept while one record follows another, and no longer than two turns.
func TestCiphersAreKept(t *testing.T) {
	var k ciphers
	now := time.Now()
	often, seldom := secured(t), secured(t)
	k.seal(seldom, nil, []byte("x"))
	for n := range 5 {
		k.seal(often, nil, []byte("x"))
		if got, want := often.tls.Kept(), n > 0; got != want {
			t.Fatalf("record %d: the cipher is kept: %v, want %v", n, got, want)
		}
		if seldom.tls.Kept() {
			t.Fatalf("record %d: the cipher of a stream with one record is kept", n)
		}
		k.cool(now)
	}
	if !often.tls.Kept() || k.garbage != 2 { // the first ones of both
		t.Errorf("kept: %v, %d ciphers are garbage, want true and 2", often.tls.Kept(), k.garbage)
	}
	k.cool(now)
	if often.tls.Kept() || k.garbage != 3 || !k.ends.IsZero() || k.kept != nil {
		t.Errorf("after two turns of silence, kept: %v, %d ciphers are garbage, want false and 3; next turn at %v", often.tls.Kept(), k.garbage, k.ends)
	}
	if k.seal(often, nil, []byte("x")); often.tls.Kept() {
		t.Error("kept after a long silence")
	}
}

// The memory of many ciphers goes back to the system as soon as the last one is dropped.
func TestManyCiphersAreCollected(t *testing.T) {
	var k ciphers
	for range manyCiphers {
		k.seal(secured(t), nil, []byte("x"))
	}
	k.cool(time.Now())
	if k.garbage != 0 {
		t.Errorf("%d ciphers are not collected", k.garbage)
	}
}
