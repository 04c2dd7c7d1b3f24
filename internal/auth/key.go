package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Key verifies the tokens of private rooms. It never appears in a log or an error.
type Key struct {
	material any      // []byte or a public key
	methods  []string // the only algorithms that a token may use
}

// minSecret is the shortest secret in bytes: "A key of the same size as the hash output … or larger MUST be used", RFC
// 7518, section 3.2.
const minSecret = 32

// minRSA is the shortest RSA key in bits: "A key of size 2048 bits or larger MUST be used", RFC 7518, section 3.3.
const minRSA = 2048

// ParseKey reads a secret, or a public key in PEM. The kind of key decides which algorithms a token may use, so a
// public key can never serve as a secret.
func ParseKey(text string) (*Key, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "-----BEGIN ") {
		return parsePEM([]byte(text))
	}
	if len(text) < minSecret {
		return nil, fmt.Errorf("the secret has %d bytes; use at least %d, for example from openssl rand -base64 32", len(text), minSecret)
	}
	return &Key{[]byte(text), []string{"HS256", "HS384", "HS512"}}, nil
}

func parsePEM(text []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the PEM is cut off or damaged; use the whole file, including its last line")
	}
	var key crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, fmt.Errorf("the PEM is a %s; use a PUBLIC KEY, as openssl pkey -pubout prints it", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return nil, fmt.Errorf("the RSA key has %d bits; use at least %d", k.N.BitLen(), minRSA)
		}
		return &Key{k, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}}, nil
	case *ecdsa.PublicKey:
		// Each of these algorithms requires one curve: RFC 7518, section 3.4.
		if m := map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]; m != "" {
			return &Key{k, []string{m}}, nil
		}
	case ed25519.PublicKey:
		return &Key{k, []string{"EdDSA"}}, nil
	}
	return nil, errors.New("this kind of public key cannot sign tokens; use RSA, ECDSA with P-256, P-384 or P-521, or Ed25519")
}

// String hides the key when options are printed.
func (*Key) String() string { return "a key" }

// GoString hides the key for %#v.
func (*Key) GoString() string { return "a key" }
