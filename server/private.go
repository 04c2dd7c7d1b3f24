package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"headcount/internal/auth"
)

// parseKey reads -key. The value is the secret or the PEM itself, or @FILE as with curl, so that a mistyped file name
// does not become a secret that others can guess. An error may show the name of a file, but never the value.
func parseKey(value string) (*auth.Key, error) {
	if value == "" {
		return nil, nil
	}
	name, isFile := strings.CutPrefix(value, "@")
	if isFile {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("-key: %w", err)
		}
		value = string(text)
	} else if _, err := os.Stat(value); err == nil {
		return nil, errors.New("-key is the name of a file; write @ before it to read the key from that file")
	}
	key, err := auth.ParseKey(value)
	if err != nil {
		return nil, fmt.Errorf("-key: %w", err)
	}
	return key, nil
}
