package subscribe

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"headcount/client/remote"
	"headcount/client/subscribe/transporttest"
)

const table = "../../docs/transport.json"

// The state machine does exactly what the rows of the table say.
func TestTransitions(t *testing.T) {
	rows := transporttest.Read(t, table)
	seen := map[string]bool{}
	for _, row := range rows.Transitions {
		got, delay := next(state(row.State), event(row.Event))
		if string(got) != row.Next || string(delay) != row.Delay {
			t.Errorf("%s, %s: got %s, %s; want %s, %s", row.State, row.Event, got, delay, row.Next, row.Delay)
		}
		seen[row.State+" "+row.Event] = true
	}
	refusal := func(status int, own bool) error { return &remote.Refusal{Status: status, Own: own} }
	ends := map[string]error{
		"clean end": remote.ErrEnded, "silence": remote.ErrSilent, "no event": remote.ErrHeld, "break": errors.New("reset"),
		"403 of a box": refusal(403, false), "another type": refusal(0, false), "502": refusal(502, false),
		"429": refusal(http.StatusTooManyRequests, false), "403 of the server": refusal(403, true), "503 of the server": refusal(503, true),
	}
	for _, s := range []state{connecting, streaming, asking, polling, checking} {
		for name, err := range ends {
			heard := s == streaming || name == "clean end" && s.polls()
			for _, unheard := range []bool{false, true} {
				if e := eventOf(s, heard, unheard, err); !seen[string(s)+" "+string(e)] && !(s == streaming && errors.As(err, new(*remote.Refusal))) {
					t.Errorf("%s in %s is %s, for which the table has no row", name, s, e)
				}
			}
		}
	}
}

func TestLimits(t *testing.T) {
	rows := transporttest.Read(t, table)
	want := map[state]time.Duration{
		connecting: firstEvent, streaming: limitOf(defaultHeartbeat), asking: pollLimit, polling: pollLimit, checking: pollLimit,
	}
	for s, limit := range want {
		if got := rows.Limits[string(s)]; got.MS != limit.Milliseconds() {
			t.Errorf("%s: got %v, want %d ms", s, limit, got.MS)
		}
	}
	if got := rows.Limits["streaming"].Heartbeats; len(rows.Limits) != len(want) || got != silence {
		t.Errorf("got %d limits and %v heartbeats, want %d and %v", len(rows.Limits), got, len(want), silence)
	}
	if got := rows.Trials; got.FirstMS != trialAfter.Milliseconds() || got.CapMS != maxTrial.Milliseconds() || got.ProvedAfterMS != provedAfter.Milliseconds() {
		t.Errorf("got trials %+v, want %v, %v, %v", got, trialAfter, maxTrial, provedAfter)
	}
}

// docs/transport.md has the same rows as docs/transport.json.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/transport.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := transporttest.Read(t, table)
	var transitions strings.Builder
	for _, r := range rows.Transitions {
		fmt.Fprintf(&transitions, "| `%s` | `%s` | `%s` | %s |\n", r.State, r.Event, r.Next, r.Delay)
	}
	if !strings.Contains(string(page), "|---|---|---|---|\n"+transitions.String()+"\n") {
		t.Errorf("docs/transport.md lacks these rows, or has more:\n%s", transitions.String())
	}
	for _, name := range slices.Sorted(maps.Keys(rows.Events)) {
		if row := fmt.Sprintf("| `%s` | %s |\n", name, rows.Events[name]); !strings.Contains(string(page), row) {
			t.Errorf("docs/transport.md lacks the row %q", row)
		}
	}
}
