package tlsconn

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is embedded in types that hold keys, and in types that have a pointer to those. Code that prints, logs or
// encodes them gets this text instead.
type redacted struct{}

const redaction = "[TLS keys]"

// Format is for package fmt, with every verb.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redaction) }

// MarshalText is for package json and others.
func (redacted) MarshalText() ([]byte, error) { return []byte(redaction), nil }

// LogValue is for package slog.
func (redacted) LogValue() slog.Value { return slog.StringValue(redaction) }
