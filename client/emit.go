package main

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
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"headcount/internal/sse"
)

const (
	emitTime    = 30 * time.Second // for one event, over all attempts
	attemptTime = 10 * time.Second // for one attempt
	emitBase    = 500 * time.Millisecond
)

func emitCommand() command {
	return command{
		name:  "emit",
		args:  "[URL] EVENT [DATA]",
		about: aboutEmit,
		notes: notesEmit,
		flags: []string{"room", "token", "lines", "json"},
		run:   emit,
	}
}

// emit sends one event, or one for each line of standard input, and prints what the server calls it.
func emit(ctx context.Context, o *options, args []string, std streams) error {
	base, args, err := cutURL(args)
	if err != nil {
		return err
	}
	switch {
	case len(args) == 0:
		return usageError{errors.New("emit needs the name of an EVENT")}
	case len(args) > 2:
		return usageError{fmt.Errorf("emit takes a URL, an EVENT and its DATA, got %d arguments", len(args)+1)}
	case o.lines && len(args) == 2 && args[1] != "-":
		return usageError{errors.New("-lines takes the DATA from standard input; leave DATA out, or give -")}
	}
	for _, err := range []error{sse.CheckName(args[0]), sse.CheckRoom(o.room), checkToken(o.token)} {
		if err != nil {
			return usageError{err}
		}
	}
	e := newEmitter(base, o, args[0], std)
	defer e.http.CloseIdleConnections()

	switch {
	case o.lines:
		err = e.emitLines(ctx, std.in)
	case len(args) < 2:
		err = e.emit(ctx, []byte("null"))
	case args[1] == "-":
		var text []byte
		if text, err = readAll(ctx, std.in); err == nil {
			err = e.emitText(ctx, text)
		}
	case !utf8.ValidString(args[1]):
		return usageError{errNotUTF8}
	default:
		err = e.emitText(ctx, []byte(args[1]))
	}
	switch {
	case errors.Is(err, errInDoubt):
		return statusError(statusInDoubt)
	case errors.Is(err, context.Canceled): // while nothing was to be answered
		return nil
	}
	return err
}

// cutURL takes the URL off the arguments, or the default one. Where it may be left out it must look like one: an event
// may be called build.done.
func cutURL(args []string) (*url.URL, []string, error) {
	if len(args) < 3 && (len(args) == 0 || !looksLikeURL(args[0])) {
		u, err := parseURL(defaultURL)
		return u, args, err
	}
	u, err := parseURL(args[0])
	return u, args[1:], err
}

// looksLikeURL says whether s has a scheme or a port, or is the host that everybody has.
func looksLikeURL(s string) bool {
	port, _, _ := strings.Cut(s[strings.LastIndexByte(s, ':')+1:], "/")
	hasPort := strings.Contains(s, ":") && port != "" && strings.Trim(port, "0123456789") == ""
	return strings.Contains(s, "://") || hasPort || s == "localhost"
}

func checkToken(token string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token has a space or another character that cannot go into a header")
	}
	return nil
}

var (
	errInDoubt   = errors.New("ended before the answer")
	errNotUTF8   = errors.New("the data is not UTF-8")
	errLongInput = errors.New("more than 16 MiB for one event, which no server takes")
)

// unansweredError is what the last attempt failed with.
type unansweredError struct{ error }

// emitter sends events of one name to one room, each exactly once, in order: the next one only when the server has
// accepted the one before.
type emitter struct {
	url   string
	room  string
	event string
	token string
	json  bool
	out   io.Writer
	http  *http.Client
	told  *console
}

func newEmitter(base *url.URL, o *options, event string, std streams) *emitter {
	return &emitter{
		url: base.JoinPath("emit").String(), room: o.room, event: event, token: o.token, json: o.json, out: std.out,
		http: &http.Client{
			Transport: http.DefaultTransport.(*http.Transport).Clone(),
			// A POST that is redirected becomes a GET, whose answer says nothing of the event.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		told: &console{w: std.err, server: base.Redacted()},
	}
}

// emitLines emits each line of in until its end, ctx's end, or the first line that is refused.
func (e *emitter) emitLines(ctx context.Context, in io.Reader) error {
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
			if err := e.emitText(ctx, line); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
}

// emitText emits text that is JSON as JSON, and other text as a string.
func (e *emitter) emitText(ctx context.Context, text []byte) error {
	if !utf8.Valid(text) {
		return errNotUTF8
	}
	return e.emit(ctx, compact(text))
}

// emit sends one event until the server has accepted or refused it or emitTime is over.
func (e *emitter) emit(ctx context.Context, data json.RawMessage) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // it would make long data longer
	err := enc.Encode(struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
		Room  string          `json:"room"`
	}{e.event, data, e.room})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	key := rand.Text()
	end := time.Now().Add(emitTime)
	for failures := 0; ; failures++ {
		answer, err := e.post(ctx, key, body.Bytes())
		switch {
		case err == nil:
			e.told.accepted()
			return e.print(answer)
		case ctx.Err() != nil:
			e.told.interrupted()
			return errInDoubt
		}
		var refused *refusedError
		var after time.Duration
		if errors.As(err, &refused) {
			if !refused.again {
				return fmt.Errorf("event not accepted: %w", err)
			}
			after = refused.after
		}
		wait := delay(emitBase, failures, mathrand.Float64())
		if after > 0 {
			wait = delayAfter(after, emitBase, mathrand.Float64())
		}
		if time.Now().Add(wait).After(end) {
			return &unansweredError{err}
		}
		e.told.notAccepted(err)
		// An idle connection may be as dead as the one that failed.
		e.http.CloseIdleConnections()
		select {
		case <-ctx.Done(): // the next attempt says so
		case <-time.After(wait):
		}
	}
}

// post is one attempt. A key makes it safe to try again what may have arrived: the server answers the same key with the
// same id, and does not send the event again.
func (e *emitter) post(ctx context.Context, key string, body []byte) (answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	if e.token != "" {
		req.Header.Set("Authorization", "Bearer "+e.token)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("post emit: %w", err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return answer, checkEmitted(resp, answer)
}

// checkEmitted returns an error unless the answer says that the event is accepted.
func checkEmitted(resp *http.Response, answer []byte) error {
	var body struct{ ID, Error string }
	isJSON := json.Unmarshal(answer, &body) == nil
	switch {
	case resp.StatusCode == http.StatusOK && isJSON && body.ID != "":
		return nil
	case resp.StatusCode == http.StatusOK:
		return &refusedError{why: whyNoAnswer(resp)}
	case resp.StatusCode/100 == 3:
		return &refusedError{why: whyRedirected(resp)}
	}
	return &refusedError{
		why:   whyEmitRefused(resp, body.Error),
		after: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
		// What stands between answers 502, 503, 504 or even 500 while the server is away.
		again: resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests,
	}
}

// print writes one line for an accepted event: its id, or the whole answer.
func (e *emitter) print(answer []byte) error {
	line := compact(answer)
	if !e.json {
		var body struct{ ID string }
		if err := json.Unmarshal(answer, &body); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		line = []byte(oneLine(body.ID))
	}
	if _, err := e.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// readAll reads in to its end, and takes the line end there away, as a shell does.
func readAll(ctx context.Context, in io.Reader) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	// Nobody can end a read of standard input, so nobody waits for this goroutine once ctx is done.
	go func() {
		text, err := io.ReadAll(io.LimitReader(in, maxEvent+1))
		done <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.err == nil && len(r.text) > maxEvent {
			r.err = bufio.ErrTooLong
		}
		if r.err != nil {
			return nil, inputError(r.err)
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(r.text, []byte("\n")), []byte("\r")), nil
	}
}

// readLines reads one line ahead of whoever takes them. At the end it closes the lines and says why; like readAll's, its
// goroutine may be left behind in a read.
func readLines(ctx context.Context, in io.Reader) (lines <-chan []byte, failed <-chan error) {
	out, end := make(chan []byte), make(chan error, 1)
	go func() {
		defer close(out)
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, maxEvent)
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
		err = errLongInput
	}
	return fmt.Errorf("read standard input: %w", err)
}
