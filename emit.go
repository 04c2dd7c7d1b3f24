package headcount

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/r3labs/sse/v2"

	"headcount/internal/engine"
	"headcount/internal/httpapi"
	names "headcount/internal/sse"
)

// Errors to compare with [errors.Is]. The text of a returned error says what to do.
var (
	// ErrTooLarge means that an event is larger than Options.MaxEvent, or too large for the backend.
	ErrTooLarge = engine.ErrTooLarge
	// ErrReservedName means that the name of an event is reserved. The server reserves "user count" and all names that
	// begin with "io:". EventSource reserves "message", "open" and "error". Socket.IO reserves "connect", "disconnect"
	// and others.
	ErrReservedName = errors.New("name is reserved")
	// ErrInvalidName means that the name of a room or an event is not 1 to 128 bytes of UTF-8 without control
	// characters.
	ErrInvalidName = errors.New("name is not valid")
	// ErrUnavailable means that the server is stopping, or that the backend cannot be reached. Nothing was sent.
	ErrUnavailable = engine.ErrUnavailable
	// ErrTooManyStreams means that a subscriber was refused because of a limit.
	ErrTooManyStreams = engine.ErrTooManyStreams
	// ErrUnauthenticated is an error that Options.Authorize can return or wrap. It means that the request does not say
	// who sent it.
	ErrUnauthenticated = httpapi.ErrUnauthenticated
)

// Event is an event to emit.
type Event struct {
	Room string // 1 to 128 bytes; "" = lobby
	Name string // 1 to 128 bytes, not a reserved name
	Data any    // anything that encoding/json can encode; nil = null
	// Key is an idempotency key, "" = none. Of all events with the same key within 2 minutes only the first is sent.
	// This holds over all nodes.
	Key string
}

// Emit sends an event to every client in its room, on all nodes, and to clients that reconnect while the event is kept.
// It returns once the event is kept and is being delivered. The id is that of the event, or of the first event with the
// same key.
func (s *Server) Emit(ctx context.Context, e Event) (id string, err error) {
	var data bytes.Buffer
	out := json.NewEncoder(&data)
	out.SetEscapeHTML(false)
	if err := out.Encode(e.Data); err != nil {
		return "", fmt.Errorf("headcount: emit %q: %w", e.Name, err)
	}
	return s.emit(ctx, e, bytes.TrimSuffix(data.Bytes(), []byte("\n")))
}

// Publish sends an event of github.com/r3labs/sse/v2 to a room, as the server of that library would. JSON data is sent
// as it is. Any other text is sent as a JSON string, because clients expect JSON. ID, Retry and Comment are not sent,
// because the server sets its own.
func (s *Server) Publish(room string, e *sse.Event) error {
	data := e.Data
	switch {
	case len(data) == 0:
		data = []byte("null")
	case !json.Valid(data):
		data = names.Quote(string(data))
	}
	_, err := s.emit(context.Background(), Event{Room: room, Name: string(e.Event)}, bytes.Clone(data))
	return err
}

func (s *Server) emit(ctx context.Context, e Event, data []byte) (id string, err error) {
	room := cmp.Or(e.Room, httpapi.DefaultRoom)
	if err := errors.Join(names.CheckRoom(room), names.CheckName(e.Name)); err != nil {
		kind := ErrInvalidName
		if bad := (*names.NameError)(nil); errors.As(err, &bad) && bad.Reserved {
			kind = ErrReservedName
		}
		return "", fmt.Errorf("headcount: %w: %w", kind, err)
	}
	if int64(len(data)) > s.maxEvent {
		return "", fmt.Errorf("headcount: %w: it has %d bytes, and Options.MaxEvent is %d", ErrTooLarge, len(data), s.maxEvent)
	}
	id, _, err = s.engine.Emit(ctx, engine.Event{Room: room, Name: e.Name, Data: data, Key: e.Key})
	if err != nil {
		return "", fmt.Errorf("headcount: %w", err)
	}
	return id, nil
}
