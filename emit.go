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

// Errors, for [errors.Is]. The text of a returned error says what to do.
var (
	// ErrTooLarge means that an event is larger than Options.MaxEvent, or than the backend takes.
	ErrTooLarge = engine.ErrTooLarge
	// ErrReservedName means that the name of an event is reserved: "user count" and
	// all that begin with "io:" are the server's own, "message", "open" and "error" EventSource's,
	// "connect", "disconnect" and others Socket.IO's.
	ErrReservedName = errors.New("name is reserved")
	// ErrInvalidName means that the name of a room or an event is not 1 to 128 bytes of UTF-8 without
	// control characters.
	ErrInvalidName = errors.New("name is not valid")
	// ErrUnavailable means that the server is stopping, or that the backend is not reachable.
	// Nothing was sent.
	ErrUnavailable = engine.ErrUnavailable
	// ErrTooManyStreams means that a subscriber was refused because of a limit.
	ErrTooManyStreams = engine.ErrTooManyStreams
	// ErrUnauthenticated is for Options.Authorize to return, or to wrap: the request does not say
	// who it is from.
	ErrUnauthenticated = httpapi.ErrUnauthenticated
)

// Event is an event to emit.
type Event struct {
	Room string // 1 to 128 bytes; "" = lobby
	Name string // 1 to 128 bytes, and none of the reserved names
	Data any    // as encoding/json takes it; nil = null
	// Key is an idempotency key, "" = none: of all events with the same key within 2 minutes
	// only the first is sent. Over several nodes it counts for all of them.
	Key string
}

// Emit sends an event to every client in its room, on all nodes, and to those that reconnect
// while it is kept. It returns the event's id, or that of the first event with the same key, once
// the event is kept and on its way.
func (s *Server) Emit(ctx context.Context, e Event) (id string, err error) {
	var data bytes.Buffer
	out := json.NewEncoder(&data)
	out.SetEscapeHTML(false)
	if err := out.Encode(e.Data); err != nil {
		return "", fmt.Errorf("headcount: emit %q: %w", e.Name, err)
	}
	return s.emit(ctx, e, bytes.TrimSuffix(data.Bytes(), []byte("\n")))
}

// Publish sends an event of github.com/r3labs/sse/v2 to a room, as the server of that library
// would. Data that is JSON is sent as it is, and any other text as a JSON string, as clients
// expect it. ID, Retry and Comment are not sent: the server has its own.
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
