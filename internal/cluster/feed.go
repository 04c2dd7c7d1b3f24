package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/hub"
	"headcount/internal/lockorder"
)

// feed passes the events of one room to the hub, each once and in order.
type feed struct {
	node *Node
	room *room
	hub  *hub.Room

	catching lockorder.Mutex[lockorder.Fetch] // held while missed events are fetched

	mu         lockorder.Mutex[lockorder.Feed] // held while events are passed to the hub, to keep their order
	generation int                             // the generation of the stream
	loaded     bool                            // the hub has the history
	last       uint64                          // the hub has every event up to this sequence
	read       time.Time                       // when that was last compared with the stream
	link       uint64                          // sequence of the last event that was seen in the room, 0 if there was none
	hole       bool                            // an event is missing and is being fetched
	early      []live                          // events that came after the gap
}

// live is an event that was republished after it was stored.
type live struct {
	hub.Event
	before uint64 // sequence of the previous event of the room
}

// maxEarly is how many events are kept while a gap is filled. Further events are dropped and become part of the gap.
const maxEarly = 1000

var (
	errStale = errors.New("the stream is another one by now")
	errHole  = errors.New("the stream is missing an earlier event")
)

// forget resets the feed for another stream.
func (f *feed) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.generation++
	f.loaded, f.hole, f.last, f.link, f.early, f.read = false, false, 0, 0, nil, time.Time{}
}

// onLive receives a republished event.
func (f *feed) onLive(e live) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hole || !f.loaded {
		if len(f.early) < maxEarly {
			f.early = append(f.early, e)
		} else {
			f.early = append(f.early[:0], e)
		}
		return
	}
	if !f.take(e) {
		f.hole = true
		f.early = append(f.early, e)
		f.node.tasks.add(f.fill)
	}
}

// take passes the event to the hub unless a previous event is missing. The caller holds f.mu.
func (f *feed) take(e live) bool {
	switch {
	case e.Seq <= f.last:
	case e.before > f.last:
		return false
	default:
		if e.before > f.link {
			f.missed(e.before)
		}
		f.hub.Deliver(e.Seq, e.Event)
		f.last, f.link = e.Seq, e.Seq
	}
	return true
}

// missed records that the hub lacks an event at or below the position that it already reported. The sender of that
// position did not know the event. The caller holds f.mu.
func (f *feed) missed(seq uint64) {
	f.node.log.Warn("event skipped; subscribers get an io:gap", "room", f.room.name, "sequence", seq)
	f.hub.Lose(f.last)
	f.link = seq
}

// onStored handles the message that the room has an event with that sequence.
func (f *feed) onStored(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loaded && !f.hole && seq > f.last {
		f.hole = true
		f.node.tasks.add(f.fill)
	}
}

// fill fetches the missing events and retries until it succeeds.
func (f *feed) fill(ctx context.Context) { f.room.retry(ctx, f.catchUp) }

// catchUp passes all events to the hub that are stored by now.
func (f *feed) catchUp(ctx context.Context) error {
	f.catching.Lock()
	defer f.catching.Unlock()
	f.mu.Lock()
	f.hole = true
	f.mu.Unlock()
	for range 5 {
		done, err := slot(ctx, f.node.requests)
		if err != nil {
			return err
		}
		closed, err := f.fetch(ctx)
		done()
		if err != nil || closed {
			return err
		}
	}
	return errHole // NATS may never have the events, so do not ask for ever
}

// fetch passes the stored events that the hub lacks to it, and then those that came in the meantime. It reports whether
// no gap is left.
func (f *feed) fetch(ctx context.Context) (closed bool, err error) {
	f.mu.Lock()
	generation, loaded, last, before := f.generation, f.loaded, f.last, f.read
	f.mu.Unlock()
	got, err := f.node.read(ctx, f.node.names.emit(f.room.token), last, before)
	if err != nil {
		return false, fmt.Errorf("read room: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.generation != generation {
		return false, errStale
	}
	f.node.hub.Advance(got.upTo)
	if !loaded {
		f.hub.Load(got.lost, got.upTo, got.events)
	} else {
		if got.lost > last {
			f.hub.Lose(got.lost)
		}
		f.hub.Deliver(got.upTo, got.events...)
	}
	f.loaded, f.read, f.last, f.link = true, got.at, max(f.last, got.upTo), max(f.link, got.link)
	for i, e := range f.early {
		if !f.take(e) {
			f.early = f.early[i:]
			return false, nil
		}
	}
	f.hole, f.early = false, nil
	return true, nil
}

func (n *Node) parse(data []byte, seq uint64, at time.Time) (hub.Event, bool) {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		n.log.Warn("malformed event in the stream", "sequence", seq, "error", err)
		return hub.Event{}, false
	}
	return hub.Event{Seq: seq, Time: at, Name: s.Event, Data: s.Data}, true
}

// onLive receives a message for all nodes that have a room open.
func (n *Node) onLive(r *room, m *nats.Msg) {
	number := m.Header.Get(jetstream.SequenceHeader)
	if number == "" {
		var c confirmation
		if json.Unmarshal(m.Data, &c) == nil && c.Stored > 0 { // older nodes send other messages
			r.feed.onStored(c.Stored)
		}
		return
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return
	}
	before, _ := strconv.ParseUint(m.Header.Get(jetstream.LastSequenceHeader), 10, 64)
	n.hub.Advance(seq)
	if e, ok := n.parse(m.Data, seq, time.Now()); ok {
		r.feed.onLive(live{Event: e, before: before})
	}
}
