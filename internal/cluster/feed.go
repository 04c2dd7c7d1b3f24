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

	mu         lockorder.Mutex[lockorder.Feed] // held while events are passed to the hub, to keep their order
	generation int                             // the generation of the stream
	complete   bool                            // the hub has the history, and no event is known to be missing
	last       uint64                          // the hub has every event up to this sequence
	read       time.Time                       // when that was last compared with the stream, zero before the first time
	link       uint64                          // sequence of the last event that was seen in the room, 0 if there was none
	early      []live                          // events that came after those that are missing
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
	errHole  = errors.New("the stream does not have an earlier event, or not yet")
)

// forget resets the feed for another stream.
func (f *feed) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.generation++
	f.complete, f.last, f.read, f.link, f.early = false, 0, time.Time{}, 0, nil
}

// onLive receives a republished event.
func (f *feed) onLive(e live) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.complete && f.take(e) {
		return
	}
	if len(f.early) >= maxEarly {
		f.early = f.early[:0]
	}
	f.early = append(f.early, e)
	f.miss()
}

// onStored handles the message that the room has an event with that sequence.
func (f *feed) onStored(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq > f.last {
		f.miss()
	}
}

// miss starts to fetch missing events, unless that has been done already. The caller holds f.mu.
func (f *feed) miss() {
	if f.complete {
		f.complete = false
		f.node.stale.add(f.room)
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
			f.skip(e.before)
		}
		f.hub.Deliver(e.Seq, e.Event)
		f.last, f.link = e.Seq, e.Seq
	}
	return true
}

// skip records that the hub lacks an event at or below the position that it already reported. The sender of that
// position did not know the event. The caller holds f.mu.
func (f *feed) skip(seq uint64) {
	f.node.log.Warn("event skipped; subscribers get an io:gap", "room", f.room.name, "sequence", seq)
	f.hub.Lose(f.last)
	f.link = seq
}

// catchUp passes the stored events that the hub lacks to it, and then those that came in the meantime.
func (f *feed) catchUp(ctx context.Context) error {
	f.mu.Lock()
	f.complete = false
	generation, last, before := f.generation, f.last, f.read
	f.mu.Unlock()
	got, err := f.node.read(ctx, f.node.names.emit(f.room.token), last, before)
	if err != nil {
		return fmt.Errorf("read room: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.generation != generation {
		return errStale
	}
	f.node.hub.Advance(got.upTo)
	if before.IsZero() {
		f.hub.Load(got.lost, got.upTo, got.events)
		f.room.loaded.close()
	} else {
		if got.lost > last {
			f.hub.Lose(got.lost)
		}
		f.hub.Deliver(got.upTo, got.events...)
	}
	f.last, f.read, f.link = max(f.last, got.upTo), got.at, max(f.link, got.link)
	for i, e := range f.early {
		if !f.take(e) {
			f.early = f.early[i:]
			return errHole
		}
	}
	f.complete, f.early = true, nil
	return nil
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
