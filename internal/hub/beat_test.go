package hub_test

import (
	"testing"

	"headcount/internal/hub"
)

// A heartbeat makes no garbage, because all streams get one every few seconds.
func TestHeartbeatAllocs(t *testing.T) {
	for name, who := range map[string]hub.JoinOptions{"comment": {Chunked: true}, "ping": {ClientID: "abcdefgh", Chunked: true}} {
		s := hub.New(hub.Options{}).Open("a").Join(who)
		var b hub.Batch
		s.Pending(&b)
		s.Advance(&b, b.Len())
		if n := testing.AllocsPerRun(100, func() {
			s.Heartbeat(&b)
			s.Advance(&b, b.Len())
		}); n > 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

// A heartbeat that did not go out completely continues, although its batch has been used for others.
func TestPartOfHeartbeat(t *testing.T) {
	r := hub.New(hub.Options{}).Open("a")
	s, other := r.Join(hub.JoinOptions{ClientID: "abcdefgh", Chunked: true}), r.Join(hub.JoinOptions{ClientID: "abcdefgi"})
	var b hub.Batch
	for _, s := range []*hub.Sub{s, other} {
		s.Pending(&b)
		s.Advance(&b, b.Len())
	}
	s.Heartbeat(&b)
	want := string(b.Bytes[0][5:])
	s.Advance(&b, 5)
	other.Heartbeat(&b)
	if s.Pending(&b); len(b.Bytes) != 1 || string(b.Bytes[0]) != want {
		t.Errorf("got the rest %q, want %q", b.Bytes, want)
	}
}
