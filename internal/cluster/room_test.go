package cluster

import (
	"context"
	"testing"
	"time"
)

// A room that is opened again while the one of that name before it still closes says nothing before that one has said its
// last word: the others would take the last word for its own.
func TestOpenedAgain(t *testing.T) {
	n, _ := newAlone(t)
	h, first := n.hub.Lookup("lobby"), n.room("lobby")
	first.tally.say()
	n.Unwatch(h)
	n.Watch(h)
	second := n.room("lobby")
	ended, end := context.WithCancel(t.Context())
	end()
	second.begin(ended)
	second.tally.say()
	if second.tally.known() {
		t.Error("the new room has said something before the old one has closed")
	}

	// It is closed at once, too, and a third one opened.
	n.Unwatch(h)
	said := n.versions.Load()
	if first.close(t.Context()); n.versions.Load() != said+1 {
		t.Errorf("closing a room that others have heard of: got %d words, want a last one", n.versions.Load()-said)
	}
	n.Watch(h)
	third := n.room("lobby")
	if third.before != second {
		t.Errorf("got %p before the third room, want the second, %p, which has not closed yet", third.before, second)
	}
	close(second.gone)
	second.begin(t.Context())
	if len(second.subs) > 0 {
		t.Errorf("a room that is gone has %d subscriptions, want none", len(second.subs))
	}
	second.tally.say()
	if got := second.tally.mine.Version; got <= said+1 {
		t.Errorf("got version %d of the new room's entry, want more than the last of the old one, %d", got, said+1)
	}
}

// A node that comes back from the dead says nothing of a room before it knows who has gone elsewhere, though it was about to.
func TestMute(t *testing.T) {
	n, _ := newAlone(t)
	r := n.room("lobby")
	n.comeBack()
	if r.tally.say(); r.tally.known() {
		t.Error("the node has said something of the room")
	}
}

// Without NATS nobody waits for a room, which cannot be loaded; and the node tries to reach NATS again for ever.
func TestAlone(t *testing.T) {
	n, _ := newAlone(t)
	begin := time.Now()
	if n.room("lobby").wait(t.Context()); time.Since(begin) >= longest {
		t.Errorf("a reader waited for %v, want no time", time.Since(begin))
	}
	if got := n.nc.Opts.MaxReconnect; got >= 0 {
		t.Errorf("NATS is given up after %d attempts, want never", got)
	}
}
