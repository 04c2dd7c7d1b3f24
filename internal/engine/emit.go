package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"headcount/internal/hub"
	"headcount/internal/lockorder"
)

// Event is an event to emit. The caller must check Room and Name, see package sse.
type Event struct {
	Room, Name string
	Data       []byte // JSON
	Key        string // idempotency key, "" = none
}

// slowStore is how long storing an event may take before /readyz and /stats report a problem.
const slowStore = 500 * time.Millisecond

// Emit sends an event to its room on all nodes. The id and the room are those of the first event with the same key
// within [KeyLife].
func (e *Engine) Emit(ctx context.Context, ev Event) (id, room string, err error) {
	if !e.freezer.enter() {
		return "", "", moved()
	}
	if !e.emits.enter() {
		e.freezer.leave()
		return "", "", ErrStopping
	}
	defer e.emits.leave()
	if e.alone {
		defer e.freezer.leave()
	} else { // the event is not kept here
		e.freezer.leave()
		waitFor(ctx, e.catching.joined)
	}
	begin := time.Now()
	id, room, err = e.node.Emit(ctx, ev.Room, ev.Name, ev.Data, ev.Key)
	if !e.alone {
		took := time.Since(begin)
		e.observer.Stored(took)
		e.degraded.Store(degraded(took, err))
	}
	switch {
	case errors.Is(err, hub.ErrTooLarge):
		return "", "", &Refusal{TooLarge, err.Error(), ErrTooLarge}
	case err != nil:
		e.log.Warn("event not accepted", "error", err)
		return "", "", unavailable(Cluster, "the event was not accepted; send it again with an Idempotency-Key: %v", err)
	}
	e.observer.Emitted()
	return id, room, nil
}

// Shut waits for the emits in progress and refuses new ones, because the backend is about to end.
func (e *Engine) Shut() { e.emits.shut() }

// gate counts the callers inside until it is shut.
type gate struct {
	mu     lockorder.Mutex[lockorder.Leaf]
	closed bool
	inside sync.WaitGroup
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

func (g *gate) shut() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

// degraded describes the failure of the last event, or returns nil. The node is still ready, because streams and counts
// do not need stored events.
func degraded(took time.Duration, err error) *string {
	var text string
	switch {
	case errors.Is(err, hub.ErrTooLarge):
	case err != nil:
		text = "the last event was not stored: " + err.Error()
	case took >= slowStore:
		text = fmt.Sprintf("NATS is slow: storing the last event took %.1f s", took.Seconds())
	}
	if text == "" {
		return nil
	}
	return &text
}
