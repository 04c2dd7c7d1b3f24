package hub_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"

	"headcount/internal/sse/ssetest"
)

func (m *model) check(*rapid.T) {
	for _, r := range m.readers {
		m.verify(r)
	}
}

// finish lets all subscribers read to the end.
func (m *model) finish() {
	time.Sleep(2 * time.Second) // longer than any throttling delay
	for _, r := range m.readers {
		r.client.read()
		next, seen := m.verify(r)
		if r.farewell {
			if _, ended := r.stream(); r.chunked && !ended {
				m.Fatalf("the stream that was ended has no last chunk: %q", r.log)
			}
			continue
		}
		if next != m.total+1 {
			m.Fatalf("a reader that has read all would get event %d next, want %d", next, m.total+1)
		}
		if !maps.Equal(seen, m.values) {
			m.Fatalf("a reader that has read all has states %v, want %v", seen, m.values)
		}
	}
}

// verify checks everything that a subscriber has got so far. It returns the next event that it should get, and the
// states that it knows.
func (m *model) verify(r *modelReader) (next int, seen map[string]int) {
	blocks := r.blocks()
	next, seen = r.next, map[string]int{}
	snapshot := 0 // how many states of the opening are still to come
	if rest := m.verifyOpening(r, blocks); rest != nil {
		blocks, snapshot = rest, len(m.values)
	} else {
		return next, seen
	}
	if r.informed {
		snapshot = 0
	}
	opening := true
	for _, b := range blocks {
		if b.Comments > 0 && r.named || !b.Dispatched {
			m.Fatalf("got %+v, want an event, and comments only without a name", b)
		}
		value, _ := strconv.Atoi(strings.TrimSpace(b.Data))
		switch {
		case snapshot > 0:
			snapshot--
			if _, ok := m.values[b.Name]; !ok || value < seen[b.Name] || opening && value != r.opening[b.Name] {
				m.Fatalf("got %q of %s after %d, want a state (at the start %v)", b.Data, b.Name, seen[b.Name], r.opening)
			}
			seen[b.Name] = value
			if snapshot == 0 {
				opening = false
			}
		case b.Name == "io:ping" && r.named:
		case b.Name == "n":
			if value != next {
				m.Fatalf("got event %d, want %d", value, next)
			}
			next++
		case b.Name == "io:gap":
			var missed int
			if _, err := fmt.Sscanf(b.Data, `{"missed":%d}`, &missed); err != nil || missed < 1 {
				m.Fatalf("got gap %s: %v", b.Data, err)
			}
			if next += missed; next > m.oldest() {
				m.Fatalf("told to have missed %d: the next is %d, but %d is kept", missed, next, m.oldest())
			}
			snapshot = len(m.values)
		case m.values[b.Name] > 0:
			if value <= seen[b.Name] {
				m.Fatalf("got %s %d after %d", b.Name, value, seen[b.Name])
			}
			seen[b.Name] = value
			place := b.Name + "=" + strconv.Itoa(value)
			if at, ok := m.places[place]; ok && at != next-1 {
				m.Fatalf("%s came after event %d, to another reader after %d", place, next-1, at)
			}
			m.places[place] = next - 1
		default:
			m.Fatalf("got %+v", b)
		}
		m.point(b.ID, next)
	}
	return next, seen
}

// verifyOpening checks the start of a stream, up to the states, and returns the rest. It returns nil if the start has
// not arrived yet.
func (m *model) verifyOpening(r *modelReader, blocks []ssetest.Block) []ssetest.Block {
	want := []string{"", "io:gap", "io:hello"}
	if !r.named {
		want[2] = ""
	}
	if r.gap == "" {
		want[1] = ""
	}
	if len(blocks) == 0 {
		return nil
	}
	if blocks[0].Retry != "1000" {
		m.Fatalf("the stream begins with %+v, want a retry within the first block", blocks[0])
	}
	for _, name := range []string{want[2], want[1]} {
		if name == "" {
			continue
		}
		if len(blocks) == 0 {
			return nil
		}
		if blocks[0].Name != name || name == "io:gap" && blocks[0].Data != `{"missed":`+r.gap+`}` {
			m.Fatalf("got %+v, want %s (missed %s)", blocks[0], name, r.gap)
		}
		if recovered := r.returns && r.gap == ""; name == "io:hello" && strings.Contains(blocks[0].Data, `"recovered":true`) != recovered {
			m.Fatalf("got %+v, want recovered=%v", blocks[0], recovered)
		}
		blocks = blocks[1:]
	}
	return blocks
}
