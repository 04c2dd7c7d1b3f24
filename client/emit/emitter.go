// Package emit sends events to a headcount server, each exactly once and in order.
//
// Use an Emitter from one goroutine. It sends each event again until the server has accepted or refused it, and only
// then sends the next one.
package emit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"time"
	"unicode/utf8"

	"headcount/client/remote"
	"headcount/client/retry"
	"headcount/client/terminal"
)

const (
	// Limit is the time for one event over all attempts.
	Limit       = 30 * time.Second
	attemptTime = 10 * time.Second // for one attempt
	retryBase   = 500 * time.Millisecond
)

var (
	// ErrInDoubt means that emit ended before the answer came. The event may have been sent or not.
	ErrInDoubt = errors.New("ended before the answer")
	// ErrNotUTF8 and ErrLongInput are errors in the data.
	ErrNotUTF8   = errors.New("the data is not UTF-8")
	ErrLongInput = errors.New("more than 16 MiB for one event, which no server takes")
)

// UnansweredError wraps the error of the last attempt after the time for an event is over.
type UnansweredError struct{ Err error }

func (e *UnansweredError) Error() string {
	return fmt.Sprintf("event not accepted within %.0f s: %s; is the server up?", Limit.Seconds(), remote.Reason(e.Err))
}

// Emitter sends events with one name to one room.
type Emitter struct {
	Server *remote.Server
	Room   string
	Event  string
	JSON   bool      // prints the whole answer instead of the id
	Out    io.Writer // gets a line for each accepted event
	// Retrying is called for each failed attempt that is repeated. Accepted is called for each event that the server
	// has accepted.
	Retrying func(err error)
	Accepted func()
	// Quoted is called for the first text that looks like JSON but is not valid, and so was sent as a string.
	Quoted func(err error)

	quoted   bool
	accepted bool // the server has accepted an event
}

// Lines emits each line of in until its end, the end of ctx, or the first refused line.
func (e *Emitter) Lines(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, failed := readLines(ctx, in)
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line, ok := <-lines:
			if !ok {
				return <-failed
			}
			if err := e.Text(ctx, line); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
}

// All emits the whole content of in without its last line end, as a shell would.
func (e *Emitter) All(ctx context.Context, in io.Reader) error {
	text, err := readAll(ctx, in)
	if err != nil {
		return err
	}
	return e.Text(ctx, text)
}

// Text emits valid JSON as JSON, and other text as a string.
func (e *Emitter) Text(ctx context.Context, text []byte) error {
	if !utf8.Valid(text) {
		return ErrNotUTF8
	}
	data, err := remote.Value(text)
	if start := bytes.TrimLeft(text, " \t\r\n"); err != nil && len(start) > 0 && bytes.IndexByte([]byte(`{["`), start[0]) >= 0 && !e.quoted {
		e.quoted = true
		e.Quoted(err)
	}
	return e.emit(ctx, data)
}

// emit sends one event until the server has accepted or refused it, or Limit is over.
func (e *Emitter) emit(ctx context.Context, data json.RawMessage) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // escaping would make long data longer
	err := enc.Encode(struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
		Room  string          `json:"room"`
	}{e.Event, data, e.Room})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	key := rand.Text()
	end := time.Now().Add(Limit)
	for failures := 0; ; failures++ {
		answer, err := e.post(ctx, key, body.Bytes())
		switch {
		case err == nil:
			e.accepted = true
			e.Accepted()
			return e.print(answer)
		case ctx.Err() != nil:
			return ErrInDoubt
		}
		var refusal *remote.Refusal
		var after time.Duration
		if errors.As(err, &refusal) {
			after = refusal.After
		}
		if first := !e.accepted && failures == 0; !retries(err) || first && remote.NoSuchHost(err) {
			return fmt.Errorf("event not accepted: %s", remote.Reason(err))
		}
		wait := retry.Delay(retryBase, failures, after, mathrand.Float64())
		if time.Now().Add(wait).After(end) {
			return &UnansweredError{err}
		}
		e.Retrying(err)
		e.Server.Reset()
		select {
		case <-ctx.Done(): // the next attempt returns its error
		case <-time.After(wait):
		}
	}
}

// retries reports whether the event may be accepted later. While the server is away, a proxy responds with 502, 503,
// 504 or even 500.
func retries(err error) bool {
	var refusal *remote.Refusal
	if errors.As(err, &refusal) {
		return refusal.Status >= 500 || refusal.Status == http.StatusTooManyRequests
	}
	return remote.Waiting(err, false)
}

// post is one attempt. The key makes a repeated attempt safe. The server answers the same key with the same id, and
// does not send the event again.
func (e *Emitter) post(ctx context.Context, key string, body []byte) (answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	resp, err := e.Server.Post(ctx, "emit", http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {key}}, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		refusal := remote.Refuse(resp, answer)
		if resp.StatusCode == http.StatusUnauthorized {
			refusal.Why += " (-token or HEADCOUNT_TOKEN)"
		}
		return nil, refusal
	}
	var accepted struct{ ID string }
	if json.Unmarshal(answer, &accepted) != nil || accepted.ID == "" {
		return nil, &remote.Refusal{Why: fmt.Sprintf("it answers with %q and no id; is it a headcount server?", resp.Header.Get("Content-Type"))}
	}
	return answer, nil
}

// print writes one line for an accepted event, which is its id or the whole answer.
func (e *Emitter) print(answer []byte) error {
	line, err := remote.Value(answer)
	if !e.JSON {
		var accepted struct{ ID string }
		err = json.Unmarshal(answer, &accepted)
		line = []byte(terminal.OneLine(accepted.ID))
	}
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if _, err := e.Out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// readAll reads in to its end and removes the last line end, as a shell does.
func readAll(ctx context.Context, in io.Reader) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	// A read of standard input cannot be interrupted, so this goroutine may outlive ctx.
	go func() {
		text, err := io.ReadAll(io.LimitReader(in, remote.MaxEvent+1))
		done <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.err == nil && len(r.text) > remote.MaxEvent {
			r.err = bufio.ErrTooLong
		}
		if r.err != nil {
			return nil, inputError(r.err)
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(r.text, []byte("\n")), []byte("\r")), nil
	}
}

// readLines reads one line ahead. At the end it closes lines and sends the error on failed. Its goroutine may outlive
// ctx in a read, like that of readAll.
func readLines(ctx context.Context, in io.Reader) (lines <-chan []byte, failed <-chan error) {
	out, end := make(chan []byte), make(chan error, 1)
	go func() {
		defer close(out)
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, remote.MaxEvent)
		for scanner.Scan() {
			select {
			case out <- bytes.Clone(scanner.Bytes()):
			case <-ctx.Done():
				end <- ctx.Err()
				return
			}
		}
		if err := scanner.Err(); err != nil {
			end <- inputError(err)
			return
		}
		end <- nil
	}()
	return out, end
}

func inputError(err error) error {
	if errors.Is(err, bufio.ErrTooLong) {
		err = ErrLongInput
	}
	return fmt.Errorf("read standard input: %w", err)
}
