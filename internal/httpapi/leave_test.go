package httpapi_test

import (
	"io"
	"testing"
	"time"

	"headcount/internal/bubble"
)

// A goodbye takes effect at once and ends all streams of the id cleanly. It affects no other user and no other room.
func TestLeave(t *testing.T) {
	inBubble(t, options{Linger: time.Minute}, func(t *testing.T, b *rig) {
		watcher := b.Open("")
		a1, a2, other := b.Open("id="+idA), b.Open("id="+idA), b.Open("room=other&id="+idA)
		bee := b.Open("id=" + idB)
		b.WantUsers("lobby", 3)
		a := b.Do("POST", "/leave", `{"ids":["`+idA+`"]}`, "Content-Type", "text/plain;charset=UTF-8")
		if a.StatusCode != 204 || a.Body != "" {
			t.Errorf("got %s %q, want 204 and nothing", a.Status, a.Body)
		}
		b.WantUsers("lobby", 2)
		b.WantUsers("other", 1)
		for i, s := range []*bubble.Stream{a1, a2} {
			if err := s.Ended(); err != io.EOF {
				t.Errorf("stream %d ended with %v, want a clean end", i, err)
			}
		}
		for i, s := range []*bubble.Stream{bee, other, watcher} {
			if err := s.Ended(); err != nil {
				t.Errorf("stream %d of somebody else ended with %v", i, err)
			}
		}
		time.Sleep(time.Second)
		if got := watcher.Values("user count"); got[len(got)-1] != "2" {
			t.Errorf("the last count is %s, want 2", got[len(got)-1])
		}
		// The user may come back at once, and then has a normal grace period.
		again := b.Open("id=" + idA)
		b.WantUsers("lobby", 3)
		again.Cancel()
		time.Sleep(time.Minute - 1)
		b.WantUsers("lobby", 3)
		time.Sleep(time.Nanosecond)
		b.WantUsers("lobby", 2)
	})
}

// A page says goodbye without knowing whether it is closed or reloaded. With a grace period it leaves unless it
// reconnects before. This holds for direct connections, behind a proxy that keeps its old stream open, and for polls.
func TestLeaveWithGrace(t *testing.T) {
	inBubble(t, options{Linger: 2 * time.Second}, func(t *testing.T, b *rig) {
		for _, tt := range []struct {
			name, header, value string
			back                func(room string)
		}{
			{"stream", "X-None", "", func(room string) { b.Open("id=" + idA + "&room=" + room) }},
			{"proxied-stream", "Via", "1.1 proxy", func(room string) {
				b.Open("id="+idA+"&room="+room, "Via", "1.1 proxy")
				b.Do("POST", "/alive", `{"room":"`+room+`","ids":["`+idA+`"]}`)
			}},
			{"poll", "Via", "1.1 proxy", func(room string) { b.Do("GET", "/events?poll=1&wait=0&id="+idA+"&room="+room, "", "Via", "1.1 proxy") }},
			{"answer", "Via", "1.1 proxy", func(room string) { b.Do("POST", "/alive", `{"room":"`+room+`","ids":["`+idA+`"]}`) }},
		} {
			room := tt.name
			goodbye := func(grace string) bubble.Answer {
				return b.Do("POST", "/leave", `{"room":"`+room+`","ids":["`+idA+`"],"grace":`+grace+`}`)
			}
			watcher := b.Open("room=" + room)
			old := b.Open("id="+idA+"&room="+room, tt.header, tt.value)
			b.Do("POST", "/alive", `{"room":"`+room+`","ids":["`+idA+`"]}`)
			if a := goodbye("1"); a.StatusCode != 204 {
				t.Fatalf("%s: got %s", tt.name, a.Status)
			}
			time.Sleep(900 * time.Millisecond)
			tt.back(room)
			if tt.header == "X-None" {
				old.Cancel()
			}
			time.Sleep(5 * time.Second)
			if tt.name == "answer" { // it may have been sent before the goodbye, so it is no return
				watcher.WantCounts("1", "2", "1")
			} else {
				watcher.WantCounts("1", "2")
			}
			goodbye("1")
			time.Sleep(1100 * time.Millisecond)
			watcher.WantCounts("1", "2", "1")
			for _, bad := range []string{"-1", "6", `"1"`} {
				if a := goodbye(bad); a.StatusCode != 400 {
					t.Errorf("grace %s: got %s, want 400", bad, a.Status)
				}
			}
		}
	})
}

// A goodbye during the grace period of an id takes effect at once.
func TestLeaveWhileLingering(t *testing.T) {
	inBubble(t, options{Linger: time.Minute}, func(t *testing.T, b *rig) {
		watcher := b.Open("")
		time.Sleep(time.Second)
		b.Open("id=" + idA).Cancel()
		b.WantUsers("lobby", 2)
		time.Sleep(time.Second)
		b.Do("POST", "/leave", `{"room":"lobby","ids":["`+idA+`","`+idB+`"]}`)
		b.WantUsers("lobby", 1)
		watcher.WantCounts("1", "2", "1")
	})
}
