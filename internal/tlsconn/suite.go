package tlsconn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// suite is a cipher suite of TLS 1.3.
type suite struct {
	hash   func() hash.Hash
	keyLen int
	aead   func(key []byte) (cipher.AEAD, error)
}

// suiteOf returns the cipher suite with the given number of RFC 8446, B.4.
func suiteOf(id uint16) (suite, bool) {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return suite{sha256.New, 16, newGCM}, true
	case tls.TLS_AES_256_GCM_SHA384:
		return suite{sha512.New384, 32, newGCM}, true
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return suite{sha256.New, chacha20poly1305.KeySize, chacha20poly1305.New}, true
	}
	return suite{}, false
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expandLabel is HKDF-Expand-Label with an empty context.
//
//	struct {
//	    uint16 length = Length;
//	    opaque label<7..255> = "tls13 " + Label;
//	    opaque context<0..255> = Context;
//	} HkdfLabel;
func (s suite) expandLabel(secret []byte, label string, length int) ([]byte, error) {
	label = "tls13 " + label
	info := string([]byte{byte(length >> 8), byte(length), byte(len(label))}) + label + "\x00"
	out, err := hkdf.Expand(s.hash, secret, info, length)
	if err != nil {
		return nil, fmt.Errorf("derive %q: %w", label, err)
	}
	return out, nil
}
