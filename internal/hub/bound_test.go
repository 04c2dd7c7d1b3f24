package hub_test

import (
	"strconv"
	"testing"

	"headcount/internal/hub"
)

// A client that opens streams in made-up rooms, one after the other, cannot create more rooms than the limit. A room
// that is open stays, and so does a room with history.
func TestManyRooms(t *testing.T) {
	h := hub.New(hub.Options{})
	kept := h.Open("somebody is here")
	defer h.Close(kept)
	h.Emit("said", "news", []byte(`"hi"`))
	before := heap()
	for i := range 250_000 {
		h.Close(h.Open("room " + strconv.Itoa(i)))
	}
	if n := h.Rooms(); n > 100_002 {
		t.Errorf("got %d rooms, want at most 100,002", n)
	}
	if used := heap() - before; used > 100<<20 {
		t.Errorf("they need %d MiB, want at most 100", used>>20)
	} else {
		t.Logf("%d rooms need %d MiB", h.Rooms(), used>>20)
	}
	if h.Lookup("somebody is here") != kept || h.Lookup("said") == nil {
		t.Error("a room with a reader or with history is gone")
	}
}
