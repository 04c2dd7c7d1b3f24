package cluster

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The last event of a room is confirmed once, also if the answers of NATS come in another order, and a room that is
// never quiet is confirmed all the time.
func TestConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c confirms
		sent := make(chan uint64, 20)
		add := func(seq uint64) { c.add("room", seq, func(_ string, seq uint64) { sent <- seq }) }
		confirmed := func() (got []uint64) {
			synctest.Wait()
			for len(sent) > 0 {
				got = append(got, <-sent)
			}
			return got
		}
		add(7)
		add(5)
		time.Sleep(2 * confirmAfter)
		if got := confirmed(); !slices.Equal(got, []uint64{7}) {
			t.Errorf("got confirmations of %d, want one, of 7", got)
		}
		for seq := uint64(10); seq < 20; seq++ {
			add(seq)
			time.Sleep(confirmAfter / 2)
		}
		time.Sleep(confirmAfter)
		if got := confirmed(); len(got) < 3 || got[len(got)-1] != 19 {
			t.Errorf("got confirmations of %d, want some on the way, and of 19 in the end", got)
		}
	})
}

// A node that is connected for the first time at this moment does not accept an event that it has not stored.
func TestEmitAtFirstConnection(t *testing.T) {
	n, _ := newAlone(t)
	n.state.Store(new(error))
	if id, _, err := n.Emit(t.Context(), "lobby", "news", []byte("1"), ""); err == nil {
		t.Errorf("got the id %q of an event that is not stored, want an error", id)
	}
}
