package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"headcount/client/plot"
	"headcount/client/remote"
	"headcount/client/subscribe"
	"headcount/client/terminal"
	"headcount/internal/sse"
)

func watchCommand() command {
	return command{
		name:  "watch",
		args:  "[URL]",
		flags: []string{"room", "event", "json", "once", "plot", "token"},
		run:   watch,
	}
}

// errOnce ends a subscription after the one event that was requested.
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

	server := remote.New(base, o.token)
	if o.plot {
		return watchPlot(ctx, o, server, std)
	}
	following, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := whenReaderGone(std.out, func() { cancel(syscall.EPIPE) })
	defer stop()

	out := &printer{w: std.out, room: o.room, json: o.json}
	status := &console{w: std.err, server: server, room: o.room}
	err = subscribe.Follow(following, subscribe.Options{Server: server, Room: o.room, Notify: status.notify, Handle: func(e *sse.Event) error {
		if len(o.events) > 0 && !slices.Contains(o.events, eventName(e)) {
			return nil
		}
		if err := out.print(e); err != nil {
			return &outputError{err}
		}
		if o.once {
			return errOnce
		}
		return nil
	}})
	return endOfWatch(ctx, status, err)
}

// endOfWatch returns the error of the command. It is nil after ctrl-C and after all requested events.
func endOfWatch(ctx context.Context, status *console, err error) error {
	var output *outputError
	switch {
	case errors.Is(err, errOnce), ctx.Err() != nil:
		return nil
	case errors.As(err, &output), errors.Is(err, syscall.EPIPE):
		return err
	}
	return status.hopeless(err)
}

// outputError is a failure to write an event.
type outputError struct{ err error }

func (e *outputError) Error() string { return "write output: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// watchPlot draws the user count of a room until ctx ends.
func watchPlot(ctx context.Context, o *options, server *remote.Server, std streams) error {
	if o.json || o.once || len(o.events) > 0 {
		return usageError{errors.New("-plot draws the user count alone; it does not go with -json, -once or -event")}
	}
	p, err := plot.New(std.out, std.err, o.room, server.String())
	if err != nil {
		return usageError{err}
	}
	following, cancel := context.WithCancelCause(ctx)
	var drawing sync.WaitGroup
	drawing.Go(func() {
		if err := p.Draw(following.Done()); err != nil {
			cancel(&outputError{err})
		}
	})
	status := &console{w: p, server: server, room: o.room}
	err = subscribe.Follow(following, subscribe.Options{Server: server, Room: o.room, Handle: p.Take, Notify: func(c subscribe.Change) {
		if c.Kind == subscribe.Lost {
			p.Lost()
		}
		status.notify(c)
	}})
	cancel(nil)
	drawing.Wait()
	return endOfWatch(ctx, status, err)
}

// eventName returns the event's name as a handler would get it: "Otherwise [...] initialize event's type attribute to
// "message"".
func eventName(e *sse.Event) string {
	if len(e.Event) == 0 {
		return "message"
	}
	return string(e.Event)
}

// printer writes one event per line, each in one write, so that the next program in a pipe gets it at once.
type printer struct {
	w    io.Writer
	room string
	json bool
}

func (p *printer) print(e *sse.Event) error {
	data, _ := remote.Value(e.Data) // text that is not JSON becomes a string
	if !p.json {
		_, err := fmt.Fprintf(p.w, "%s %s\n", terminal.OneLine(eventName(e)), terminal.OneLine(string(data)))
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

// whenReaderGone calls gone once the other end of the pipe w is closed. A write would show this too, but the next one
// may be hours away, and "client | head -1" should end when head does. stop ends the checks.
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
