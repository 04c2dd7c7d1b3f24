package load

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// records opens the records of a server with TLS 1.3. It takes half the time of crypto/tls, whose 19,000 connections
// would be more work than the server's. A record that is not the next one is an error.
type records struct {
	aead cipher.AEAD
	iv   [12]byte
	seq  uint64
	rest []byte // of a record that is not complete
}

// keyLog keeps the secret of the server's records from a tls.Config.KeyLogWriter.
type keyLog struct{ secret []byte }

func (k *keyLog) Write(line []byte) (int, error) {
	if rest, ok := bytes.CutPrefix(line, []byte("SERVER_TRAFFIC_SECRET_0 ")); ok {
		_, text, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
		k.secret, _ = hex.AppendDecode(nil, text) // without it the first record does not open
	}
	return len(line), nil
}

func newRecords(suite uint16, secret []byte) (*records, error) {
	newHash, size := func() hash.Hash { return sha256.New() }, 16
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		newHash, size = func() hash.Hash { return sha512.New384() }, 32
	default:
		return nil, fmt.Errorf("read records: cipher suite %s", tls.CipherSuiteName(suite))
	}
	expand := func(label string, n int) ([]byte, error) { // RFC 8446, 7.1
		label = "tls13 " + label
		return hkdf.Expand(newHash, secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
	}
	key, err := expand("key", size)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	iv, err := expand("iv", 12)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	r := &records{iv: [12]byte(iv)}
	if r.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	return r, nil
}

var errRecord = errors.New("a record of the server does not have the number that is due")

// open replaces the records in b by their plaintext, and keeps the beginning of the last one for later. The error is
// io.EOF after an alert.
func (r *records) open(b []byte) ([]byte, error) {
	out := b[:0]
	for len(b) >= 5 {
		size := 5 + int(binary.BigEndian.Uint16(b[3:]))
		if len(b) < size {
			break
		}
		nonce := r.iv
		low := nonce[4:]
		binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^r.seq)
		p, err := r.aead.Open(b[5:5], nonce[:], b[5:size], b[:5])
		if err != nil {
			return nil, errRecord
		}
		r.seq++
		p = bytes.TrimRight(p, "\x00")
		switch {
		case len(p) == 0:
		case p[len(p)-1] == 21:
			return out, io.EOF
		case p[len(p)-1] == 23: // the others are session tickets
			out = append(out, p[:len(p)-1]...)
		}
		b = b[size:]
	}
	r.rest = append(r.rest[:0], b...)
	return out, nil
}
