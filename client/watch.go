package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"

	"headcount/internal/sse"
)

func watchCommand() command {
	return command{
		name:  "watch",
		args:  "[URL]",
		about: aboutWatch,
		notes: notesWatch,
		flags: []string{"room", "event", "json", "once", "plot", "token"},
		run:   watch,
	}
}

// errOnce ends a subscription that has done what was asked of it.
var errOnce = errors.New("one event was enough")

// watch prints the events of a room until ctx ends.
func watch(ctx context.Context, o *options, args []string, std streams) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("watch takes one URL, got %d arguments", len(args))}
	}
	if err := sse.CheckRoom(o.room); err != nil {
		return usageError{err}
	}
	base, err := parseURL(append(args, defaultURL)[0])
	if err != nil {
		return err
	}

	if o.plot {
		return watchPlot(ctx, o, base, std)
	}

	following, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := whenReaderGone(std.out, func() { cancel(syscall.EPIPE) })
	defer stop()

	out := &printer{w: std.out, room: o.room, json: o.json}
	s := newSubscription(base, o.room, std.err, func(e *sse.Event) error {
		if len(o.events) > 0 && !slices.Contains(o.events, eventName(e)) {
			return nil
		}
		if err := out.print(e); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		if o.once {
			return errOnce
		}
		return nil
	})
	s.token = o.token
	err = s.follow(following)
	if errors.Is(err, errOnce) || ctx.Err() != nil {
		return nil
	}
	return err
}

// watchPlot draws the user count of a room until ctx ends.
func watchPlot(ctx context.Context, o *options, base *url.URL, std streams) error {
	if o.json || o.once || len(o.events) > 0 {
		return usageError{errors.New("-plot draws the user count alone; it does not go with -json, -once or -event")}
	}
	p, err := newPlot(o.room, base.Redacted(), std, time.Now())
	if err != nil {
		return err
	}
	following, cancel := context.WithCancelCause(ctx)
	var drawing sync.WaitGroup
	drawing.Go(func() { cancel(p.draw(following.Done())) })
	s := newSubscription(base, o.room, p, p.take)
	s.token, s.broken = o.token, p.broken
	err = s.follow(following)
	cancel(nil)
	drawing.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// eventName is the event's name as a handler would get it: "Otherwise [...] initialize event's type attribute to
// "message"".
func eventName(e *sse.Event) string {
	if len(e.Event) == 0 {
		return "message"
	}
	return string(e.Event)
}

// printer writes events, one a line and each in one write, so that a reader at the other end of a pipe gets it at once.
type printer struct {
	w    io.Writer
	room string
	json bool
}

func (p *printer) print(e *sse.Event) error {
	data := compact(e.Data)
	if !p.json {
		_, err := fmt.Fprintf(p.w, "%s %s\n", oneLine(eventName(e)), oneLine(string(data)))
		return err
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
		ID    string          `json:"id"`
		Room  string          `json:"room"`
	}{eventName(e), data, string(e.ID), p.room})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	_, err = p.w.Write(line.Bytes())
	return err
}

// compact is data as JSON in one line. A server that sends something else than JSON sends text: it becomes a string.
func compact(data []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, data) == nil {
		return b.Bytes()
	}
	b.Reset()
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(string(data)) != nil {
		return []byte(`""`) // cannot happen: every string can be encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// whenReaderGone calls gone once the reader of the pipe w has closed it. A write would say so too, but the next one may
// be hours away, and "client | head -1" should end when head does. The function it returns ends the looking.
func whenReaderGone(w io.Writer, gone func()) (stop func()) {
	if !isPipe(w) {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if readerGone(w) {
					gone()
					return
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}
