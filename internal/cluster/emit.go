package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headcount/internal/hub"
)

const (
	emitTime     = 5 * time.Second         // how long NATS may take to store an event
	emitTry      = 1500 * time.Millisecond // for one attempt
	confirmAfter = 250 * time.Millisecond  // delay before the confirmation of a room's last event
	tries        = 3                       // for an event that NATS reports as a duplicate but does not have
)

// Permanent errors of NATS for one event. The stream has no space left.
const (
	noResources jetstream.ErrorCode = 10023
	noStorage   jetstream.ErrorCode = 10047
)

// inProcess is the error of NATS while another attempt with the same id, from this or another node, is undecided.
const inProcess jetstream.ErrorCode = 10158

// Emit stores an event for all nodes and returns its id and its room. key is its idempotency key, or "". An event with
// a known key is not stored again, and the id and the room are those of the first event. An error means that the event
// is not accepted. After a timeout NATS may have stored the event all the same.
func (n *Node) Emit(ctx context.Context, room, event string, data []byte, key string) (id, in string, err error) {
	if err := n.Ready(); n.Epoch() == "" { // asked first, because it may become nil at any moment
		return "", "", cmp.Or(err, errUnreached)
	}
	// All attempts have the same id, so NATS keeps only one of them.
	msgID := "random " + rand.Text()
	if key != "" {
		msgID = "key " + key
	}
	body := encode(stored{Room: room, Event: event, Data: data})
	if limit := n.nc.MaxPayload(); limit > 0 && int64(len(body)+len(msgID)+256) > limit {
		return "", "", fmt.Errorf("%w: NATS takes at most %d bytes", hub.ErrTooLarge, limit)
	}
	t := token(room)
	for range tries {
		ack, err := n.store(ctx, &nats.Msg{Subject: n.names.emit(t), Data: body}, msgID)
		if err != nil {
			return "", "", fmt.Errorf("store event: %w", err)
		}
		kept := true
		if ack.Duplicate {
			if room, kept, err = n.first(ctx, ack.Sequence, msgID, room); err != nil {
				return "", "", fmt.Errorf("find the event of the idempotency key: %w", err)
			}
		} else {
			n.hub.Advance(ack.Sequence)
			n.confirms.add(t, ack.Sequence, n.confirm)
		}
		if kept {
			return hub.Cursor{Epoch: n.Epoch(), Seq: ack.Sequence, Node: "0"}.String(), room, nil
		}
		// NATS remembers an attempt whose event it has lost, for example because its leader changed at that moment. It
		// takes this attempt for a duplicate.
		n.log.Warn("NATS lost an event that it had confirmed; storing it again", "room", room, "sequence", ack.Sequence)
		msgID += " again"
	}
	return "", "", errors.New("store event: NATS confirmed the event but does not have it")
}

// store publishes until NATS confirms the message or the time is over.
func (n *Node) store(ctx context.Context, m *nats.Msg, id string) (ack *jetstream.PubAck, err error) {
	ctx, cancel := context.WithTimeout(ctx, emitTime)
	defer cancel()
	for begin := time.Now(); ; {
		if n.nc.IsConnected() {
			try, stop := context.WithTimeout(ctx, emitTry)
			ack, err = n.js.PublishMsg(try, m, jetstream.WithMsgID(id), jetstream.WithExpectStream(n.names.events()))
			stop()
			if err == nil || isRefused(err) {
				return ack, err
			}
		} else if err = n.away(); time.Since(begin) >= emitTry {
			return nil, err // until now there might have been a connection to another server soon
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// isRefused reports whether NATS will never store the event. The other errors are temporary.
func isRefused(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) && e.ErrorCode != inProcess &&
		(e.Code < 500 || e.ErrorCode == noResources || e.ErrorCode == noStorage)
}

// first returns the room of the event with that id, which NATS says is at seq. kept is false if the event is not there.
func (n *Node) first(ctx context.Context, seq uint64, id, room string) (in string, kept bool, err error) {
	events := n.streams.Load().events
	m, err := events.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		// The event was dropped to make room for later ones. Most likely it was in this room.
		info, err := events.Info(ctx)
		return room, err == nil && seq <= info.State.LastSeq, err
	}
	if err != nil || m.Header.Get(jetstream.MsgIDHeader) != id {
		return room, false, err
	}
	var s stored
	err = json.Unmarshal(m.Data, &s)
	return s.Room, err == nil, err
}

// confirm sends the sequence of a room's last event to all nodes that have the room open. NATS sends each republished
// event only once and may lose it. The next event shows that, but nothing follows the last one.
func (n *Node) confirm(token string, seq uint64) {
	if r := n.roomOf(token); r != nil {
		r.feed.onStored(seq)
	}
	if err := n.nc.Publish(n.names.live(token), encode(confirmation{seq})); err != nil {
		n.lost() // the other nodes will compare the room themselves
	}
}

// confirms holds the confirmations to send, only the last event of each room.
type confirms struct {
	mu   sync.Mutex
	last map[string]uint64 // by token
}

// add sends a confirmation after confirmAfter. Later events of the room until then are part of it, so a busy room has
// one timer.
func (c *confirms) add(token string, seq uint64, confirm func(string, uint64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[string]uint64)
	}
	_, pending := c.last[token]
	c.last[token] = max(c.last[token], seq)
	if pending {
		return
	}
	time.AfterFunc(confirmAfter, func() {
		c.mu.Lock()
		seq := c.last[token]
		delete(c.last, token)
		c.mu.Unlock()
		confirm(token, seq)
	})
}
