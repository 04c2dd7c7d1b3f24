package sse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NameError explains in one sentence why a name cannot be used.
type NameError struct {
	Sentence string
	Reserved bool // it has another meaning for a client
}

func (e *NameError) Error() string { return e.Sentence }

func reserved(format, name string) error { return &NameError{fmt.Sprintf(format, name), true} }

func malformed(format string, args ...any) error {
	return &NameError{fmt.Sprintf(format, args...), false}
}

// MaxName is the longest name of an event or a room, in bytes.
const MaxName = 128

// CheckRoom returns nil if name can be a room, or an error that explains in one sentence why not. Rooms are 1 to 128
// bytes of UTF-8 without control characters.
func CheckRoom(name string) error { return check("room", name) }

// CheckName returns nil if an event called name may be emitted, or an error that explains in one sentence why not. The
// form of a name is that of rooms. CheckName also refuses the names that have another meaning for a client.
func CheckName(name string) error {
	if err := check("event", name); err != nil {
		return err
	}
	switch {
	case name == UserCount || strings.HasPrefix(name, SignalPrefix):
		return reserved("event %q is the server's own; choose another name", name)
	case slices.Contains(browserNames, name):
		return reserved("event %q would reach the wrong handler in a browser; choose another name", name)
	case slices.Contains(socketNames, name):
		return reserved("event %q is a signal of the client itself; choose another name", name)
	}
	return nil
}

// The server's own names.
const (
	UserCount    = "user count"
	SignalPrefix = "io:"
	Hello        = "io:hello"
	Ping         = "io:ping"
	Gap          = "io:gap"
)

var (
	// EventSource dispatches these itself, or delivers them to onmessage.
	browserNames = []string{"open", "error", "message"}
	// Socket.IO reserves these names, and so does the browser client.
	socketNames = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)

func check(what, name string) error {
	switch {
	case name == "":
		return malformed("%s is empty; give a name of 1 to %d bytes", what, MaxName)
	case len(name) > MaxName:
		return malformed("%s is %d bytes long; give a name of 1 to %d bytes", what, len(name), MaxName)
	case !utf8.ValidString(name):
		return malformed("%s is not UTF-8; give a name of 1 to %d bytes of UTF-8", what, MaxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return malformed("%s holds a control character; give a name without", what)
	}
	return nil
}

// Lengths of a client id.
const (
	MinClientID = 8
	MaxClientID = 64
)

var errClientID = errors.New("id is not a client id; give 8 to 64 of A-Z a-z 0-9 _ -")

// CheckClientID returns nil if id can be a client id, or an error that explains in one sentence why not.
func CheckClientID(id string) error {
	if len(id) < MinClientID || len(id) > MaxClientID {
		return errClientID
	}
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return errClientID
		}
	}
	return nil
}
