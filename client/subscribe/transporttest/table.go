// Package transporttest reads docs/transport.json for tests.
package transporttest

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// Table is the state machine that docs/transport.md describes. Times are in milliseconds.
type Table struct {
	Events map[string]string
	Limits map[string]struct {
		MS         int64
		Heartbeats float64
	}
	Transitions []struct{ State, Event, Next, Delay string }
	Trials      struct{ FirstMS, CapMS, ProvedAfterMS int64 }
	Delays      []struct {
		Name       string
		Base       int64
		Failures   int
		RetryAfter int64
		Random     float64
		MS         int64
	}
	RetryAfter struct {
		Now   time.Time
		Cases []struct {
			Name    string
			Headers []string
			MS      int64
		}
	}
}

// Read reads the table from a file. The file must not contain anything that this package does not know.
func Read(t *testing.T, path string) *Table {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var table Table
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&table); err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return &table
}
