package subscribe

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// counted returns the first events of a server, with a user count.
func counted(ping, version, users int) string {
	return fmt.Sprintf("retry: 1000\n\nevent: io:hello\ndata: {\"id\":\"x\",\"ping\":%d,\"heartbeat\":10}\n\n", ping) +
		fmt.Sprintf("id: a.1.b.%d\nevent: user count\ndata: %d\n\n", version, users)
}

// answerPoll answers a poll as a server does. It answers at once if it has news, and otherwise after 20 s.
func answerPoll(w *stream, news string) {
	if news == "" {
		w.wait(20 * time.Second)
	}
	w.send("retry: 200\n\n" + news + "id: a.1.b.1\n\n")
}

func isPoll(r request) bool { return r.query.Get("poll") == "1" }

// TestFallback checks how the client asks for events when a middlebox disturbs its streams.
func TestFallback(t *testing.T) {
	passes := func(w *stream) {
		w.send(counted(0, 1, 1))
		w.hold()
	}
	tests := []struct {
		name   string
		stream func(w *stream)
		polls  time.Duration // time of the first poll; 0 = never
	}{
		{"passes", passes, 0},
		{"is held back", func(w *stream) { w.mute() }, firstEvent},
		{"is mute behind its header", func(w *stream) { w.send(""); w.mute() }, firstEvent},
		{"is slow, and passes", func(w *stream) { w.wait(firstEvent - time.Second); passes(w) }, 0},
		{"ends before its first event", func(w *stream) { w.send(": nothing\n\n") }, time.Millisecond},
		{"is refused by a box", func(w *stream) { w.w.WriteHeader(http.StatusForbidden) }, time.Millisecond},
		{"is refused by the server", func(w *stream) {
			http.Error(w.w, `{"error":"this room is private"}`, http.StatusForbidden)
		}, 0},
		{"ends at the silence behind its first words", func(w *stream) { w.send(counted(0, 1, 1)); w.mute() }, 25*time.Second + 500*time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(func(_ int, w *stream) {
					if w.r.URL.Query().Get("poll") != "1" {
						tt.stream(w)
						return
					}
					news := counted(0, 1, 1)
					if w.r.Header.Get("Last-Event-ID") != "" {
						news = ""
					}
					answerPoll(w, news)
				})
				in(t, s, func() { time.Sleep(50 * time.Second) })
				got := s.seen("/events")
				first := slices.IndexFunc(got, isPoll)
				if tt.polls == 0 {
					if first >= 0 {
						t.Errorf("polled at %v, want streams only", got[first].at)
					}
					return
				}
				if first < 0 {
					t.Fatalf("got %d requests and no poll", len(got))
				}
				// After a silence the client waits as after any other loss.
				if late := got[first].at - tt.polls; late < -time.Millisecond || late > 600*time.Millisecond {
					t.Errorf("the first poll came at %v, want %v", got[first].at, tt.polls)
				}
				if n := len(got) - first; n < 2 || n > 5 {
					t.Errorf("got %d polls, want one each 20 s", n)
				}
				addresses := map[string]bool{}
				for _, r := range got[first:] {
					if !isPoll(r) || r.query.Get("id") != s.ID || addresses[r.query.Get("try")] {
						t.Errorf("got %v, want polls of one client id, each with an address of its own", r.query)
					}
					addresses[r.query.Get("try")] = true
				}
				if want := []string{"user count 1"}; !slices.Equal(s.out, want) {
					t.Errorf("got events %q, want %q", s.out, want)
				}
				if n := strings.Count(strings.Join(s.told, "\n"), "polling"); n != 1 {
					t.Errorf("told %d times that it polls, want once: %q", n, s.told)
				}
			})
		})
	}
}

// If no POST gets through, the server ends each stream on which it asks for answers. Polls need no answer.
func TestFallbackWithoutPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(func(_ int, w *stream) {
			if w.r.URL.Query().Get("poll") == "1" {
				answerPoll(w, "")
				return
			}
			w.send(counted(25, 1, 1))
			w.wait(5 * time.Second)
		})
		s.refuse = http.StatusForbidden
		in(t, s, func() { time.Sleep(time.Minute) })
		got := s.seen("/events")
		if len(got) < 3 || isPoll(got[0]) || !isPoll(got[1]) || !isPoll(got[2]) || got[1].at > 5*time.Second+time.Millisecond {
			t.Errorf("got %v, want a stream and then polls, the first at 5s", got)
		}
		if n := len(s.out); n != 1 {
			t.Errorf("got events %q, want one", s.out)
		}
	})
}

// While polls work, the client tries a stream at growing intervals. It uses streams again after two events of a trial.
func TestTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened time.Time // streams work after this time
		s := newScene(func(_ int, w *stream) {
			switch {
			case w.r.URL.Query().Get("poll") == "1":
				answerPoll(w, "")
			case time.Now().Before(opened):
				w.send(counted(0, 1, 1)) // the first event only
				w.mute()
			default:
				w.send(counted(0, 1, 1))
				w.wait(5 * time.Second)
				w.send("id: a.2.b.1\nevent: news\ndata: 1\n\n")
				w.hold()
			}
		})
		opened = s.begin.Add(5 * time.Minute)
		in(t, s, func() { time.Sleep(15 * time.Minute) })
		var streams []time.Duration
		for _, r := range s.seen("/events") {
			if !isPoll(r) {
				streams = append(streams, r.at.Round(time.Minute))
			}
		}
		// These are the silent stream, the trials after 1, 2 and 4 minutes, of which the last succeeds, and the stream
		// that stays.
		if len(streams) != 5 {
			t.Fatalf("streams were opened at %v, want 5", streams)
		}
		if last := s.seen("/events"); isPoll(last[len(last)-1]) {
			t.Errorf("the last request is a poll, want a stream")
		}
		if strings.Count(strings.Join(s.told, "\n"), "streaming") != 1 {
			t.Errorf("got %q, want one line about streams arriving", s.told)
		}
	})
}

// The network may have changed after the server was away. So a stream is tried with the first poll that works.
func TestTrialAfterLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begin time.Time
		s := newScene(func(_ int, w *stream) {
			away, back := begin.Add(10*time.Minute), begin.Add(11*time.Minute)
			switch now := time.Now(); {
			case now.After(away) && now.Before(back):
				w.w.WriteHeader(http.StatusBadGateway)
			case w.r.URL.Query().Get("poll") == "1":
				answerPoll(w, "")
			case now.Before(away):
				w.send(counted(0, 1, 1))
				w.mute()
			default:
				w.send(counted(0, 1, 1))
				w.wait(5 * time.Second)
				w.send("id: a.2.b.1\nevent: news\ndata: 1\n\n")
				w.hold()
			}
		})
		begin = s.begin
		in(t, s, func() { time.Sleep(13 * time.Minute) }) // otherwise the next trial is after 15 minutes
		if got := s.seen("/events"); isPoll(got[len(got)-1]) {
			t.Errorf("the last request, at %v, is a poll; want a stream", got[len(got)-1].at)
		}
	})
}

// After a poll that was cut, the client sends one that is answered at once. It reports nothing, and no event is printed
// twice. It does report a server that is away.
func TestPollsThatAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away time.Time
		s := newScene(func(_ int, w *stream) {
			cursor := w.r.Header.Get("Last-Event-ID")
			switch {
			case time.Now().After(away):
				w.w.WriteHeader(http.StatusBadGateway)
			case w.r.URL.Query().Get("poll") != "1":
				w.mute()
			case cursor == "" || strings.HasSuffix(cursor, "."):
				answerPoll(w, counted(0, 1, 1))
			default:
				w.wait(10 * time.Second)
				w.cut()
			}
		})
		away = s.begin.Add(time.Minute)
		in(t, s, func() { time.Sleep(80 * time.Second) })
		if want := []string{"user count 1"}; !slices.Equal(s.out, want) {
			t.Errorf("got events %q, want %q", s.out, want)
		}
		isLost := func(told string) bool { return strings.HasPrefix(told, "lost: ") }
		first := slices.IndexFunc(s.told, isLost)
		if first < 0 || slices.ContainsFunc(s.told[first:], func(told string) bool { return told != "lost: it answers 502 Bad Gateway" }) {
			t.Errorf("got %q, want lost connections with 502 at the end, and no other", s.told)
		}
		for _, r := range s.seen("/events")[1:] {
			if !isPoll(r) {
				t.Errorf("a stream was asked for at %v, want polls where they worked", r.at)
			}
		}
	})
}
