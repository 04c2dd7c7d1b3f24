package tlsconn

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	// MaxPlaintext is how many bytes a record can hold. "The record layer fragments information blocks into
	// TLSPlaintext records carrying data in chunks of 2^14 bytes or less" (RFC 8446, 5.1).
	MaxPlaintext = 1 << 14
	// Overhead is how much longer a record is than its plaintext. It consists of header, content type and tag.
	Overhead = headerLen + 1 + tagLen

	headerLen = 5
	tagLen    = 16
	ivLen     = 12 // of all three cipher suites

	// maxRecords is how many records one key seals. "For AES-GCM, up to 2^24.5 full-size records (about 24 million) may be
	// encrypted on a given connection while keeping a safety margin" (RFC 8446, 5.5).
	maxRecords = 1 << 24
)

// Content types of RFC 8446, B.1.
const (
	typeAlert       = 21
	typeApplication = 23
)

// Sealer makes the records of one direction of one connection. It is for one goroutine at a time. Each record takes the
// next sequence number. Send the sealed bytes unchanged or not at all.
type Sealer struct {
	redacted
	seq   uint64
	key   [32]byte // the key is the first bytes of it, as many as the suite needs
	iv    [ivLen]byte
	suite uint16 // 0 after Wipe
	busy  *busy  // nil for an idle stream, so that it takes 64 bytes
}

// busy is what a sealer has only at times.
type busy struct {
	kept cipher.AEAD // nil unless many records follow each other
	rest []byte      // sealed but not sent
}

// newSealer derives the keys of RFC 8446, 7.3, from a traffic secret.
func newSealer(id uint16, secret []byte, seq uint64) (*Sealer, error) {
	s := &Sealer{suite: id, seq: seq}
	suite, ok := suiteOf(id)
	if !ok {
		return nil, fmt.Errorf("cipher suite %#04x is unknown", id)
	}
	// "[sender]_write_key = HKDF-Expand-Label(Secret, "key", "", key_length)"
	key, err := suite.expandLabel(secret, "key", suite.keyLen)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	// "[sender]_write_iv  = HKDF-Expand-Label(Secret, "iv", "", iv_length)"
	iv, err := suite.expandLabel(secret, "iv", ivLen)
	if err != nil {
		return nil, err
	}
	defer clear(iv)
	copy(s.key[:], key)
	copy(s.iv[:], iv)
	if _, err := suite.aead(s.key[:suite.keyLen]); err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return s, nil
}

// aead returns the cipher. Making one for AES costs 1 µs. Keeping it takes more memory than everything else of a
// stream.
func (s *Sealer) aead(keep bool) cipher.AEAD {
	if s.Kept() {
		return s.busy.kept
	}
	suite, _ := suiteOf(s.suite)
	aead, _ := suite.aead(s.key[:suite.keyLen]) // newSealer has tried both; after Wipe this panics
	if keep {
		s.become(busy{aead, s.Rest()})
	}
	return aead
}

// become does not keep a pointer to b, because then each record would allocate one.
func (s *Sealer) become(b busy) {
	switch {
	case b.kept == nil && b.rest == nil:
		s.busy = nil
	case s.busy == nil:
		s.busy = &busy{b.kept, b.rest}
	default:
		*s.busy = b
	}
}

// Kept reports whether the cipher is kept.
func (s *Sealer) Kept() bool { return s.busy != nil && s.busy.kept != nil }

// Drop forgets the cipher. The next record makes another one.
func (s *Sealer) Drop() { s.become(busy{nil, s.Rest()}) }

// Rest returns what [Sealer.Keep] was given last.
func (s *Sealer) Rest() []byte {
	if s.busy == nil {
		return nil
	}
	return s.busy.rest
}

// Keep makes a copy of the end of the sealed records, which was not sent yet.
func (s *Sealer) Keep(rest []byte) {
	b := busy{rest: append([]byte(nil), rest...)} // nil if there is none
	if s.busy != nil {
		b.kept = s.busy.kept
	}
	s.become(b)
}

// turn changes the IV into the nonce of the sequence number, and the nonce back into the IV. "The padded sequence
// number is XORed with either the static client_write_iv or server_write_iv (depending on the role)" (RFC 8446, 5.3).
func (s *Sealer) turn(seq uint64) {
	low := s.iv[ivLen-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^seq)
}

// Seal appends a record of application data to dst. p has 1 to [MaxPlaintext] bytes and does not overlap dst. keep
// means that more records will follow soon. The cipher is then kept until [Sealer.Drop].
func (s *Sealer) Seal(dst, p []byte, keep bool) []byte { return s.seal(dst, p, typeApplication, keep) }

// CloseNotify appends the closing alert. Nothing may follow it. "Each party MUST send a "close_notify" alert before
// closing its write side of the connection, unless it has already sent some error alert" (RFC 8446, 6.1).
func (s *Sealer) CloseNotify(dst []byte) []byte {
	return s.seal(dst, []byte{1, 0}, typeAlert, false) // warning, close_notify
}

// seal makes a record of RFC 8446, 5.2.
func (s *Sealer) seal(dst, p []byte, contentType byte, keep bool) []byte {
	size := len(p) + 1 + tagLen
	dst = slices.Grow(dst, headerLen+size)
	// "The outer opaque_type field of a TLSCiphertext record is always set to the value 23", and legacy_record_version
	// to 0x0303.
	dst = append(dst, typeApplication, 3, 3, byte(size>>8), byte(size))
	header, start := dst[len(dst)-headerLen:], len(dst)
	dst = append(append(dst, p...), contentType)
	seq := s.seq
	s.seq++ // before anything else, so that it is used up whatever happens
	s.turn(seq)
	dst = s.aead(keep).Seal(dst[:start], s.iv[:], dst[start:], header)
	s.turn(seq)
	return dst
}

// open decrypts a record with a sequence number and reports whether it was sealed with that.
func (s *Sealer) open(record []byte, seq uint64) (p []byte, contentType byte, ok bool) {
	if len(record) < Overhead {
		return nil, 0, false
	}
	s.turn(seq)
	p, err := s.aead(true).Open(nil, s.iv[:], record[headerLen:], record[:headerLen])
	s.turn(seq)
	if err != nil {
		return nil, 0, false
	}
	// "TLSInnerPlaintext" is the content, its type, and zeros.
	end := len(p)
	for end > 0 && p[end-1] == 0 {
		end--
	}
	if end == 0 {
		return nil, 0, false
	}
	return p[:end-1], p[end-1], true
}

// Spent reports whether the key has sealed as much as it should. The stream must end then. A few more records do no
// harm.
func (s *Sealer) Spent() bool { return s.seq >= maxRecords }

// Wipe forgets the keys and the rest. To seal then is a bug, and panics. Otherwise the record would have a key of zeros.
func (s *Sealer) Wipe() { *s = Sealer{seq: maxRecords} }
