package presence_test

import (
	"testing"
	"time"

	"headcount/internal/presence"
)

// awaited is a table with one user, and the clock.
type awaited struct {
	*testing.T
	*presence.Table
	now time.Time
}

func (a *awaited) after(d time.Duration, want int) {
	a.Helper()
	a.now = a.now.Add(d)
	a.Expire(a.now)
	if got := a.Count("a"); got != want {
		a.Errorf("got %d users, want %d", got, want)
	}
}

// The table waits for a user that was told to reconnect, no matter what else of it ends in the meantime, such as the
// stream that a browser tries in addition to its polls. It waits only until the user is back.
func TestAwaited(t *testing.T) {
	a := &awaited{t, presence.New(2 * time.Second), time.Unix(1e9, 0)}
	poll := a.Open("a", "x", stream{})
	trial := a.Open("a", "x", stream{})
	a.Lease(trial, a.now.Add(5*time.Second))
	a.CloseFor(poll, a.now, 10*time.Second)
	a.Close(trial, a.now)
	a.after(12*time.Second-1, 1)
	a.after(1, 0)

	poll = a.Open("a", "x", stream{})
	a.CloseFor(poll, a.now, 10*time.Second)
	poll = a.Open("a", "x", stream{})
	a.Returned(poll)
	a.Close(poll, a.now)
	a.after(2*time.Second-1, 1)
	a.after(1, 0)
}

// A tab's stream has ended, and another tab renews the lease from now on. The user is not dropped when a proxy reports
// the end of the first stream late.
func TestLateEnd(t *testing.T) {
	a := &awaited{t, presence.New(2 * time.Second), time.Unix(1e9, 0)}
	old := a.Open("a", "x", stream{})
	a.Lease(old, a.now.Add(5*time.Second))
	poll := a.Open("a", "x", stream{})
	a.CloseFor(poll, a.now, 10*time.Second)
	a.Renew("a", "x", a.now.Add(55*time.Second))
	a.after(20*time.Second, 1)
	a.Close(old, a.now)
	a.after(35*time.Second-1, 1)
	a.after(1, 0)

	// A tab that renews its own lease leaves with its stream.
	own := a.Open("a", "x", stream{})
	a.Lease(own, a.now.Add(5*time.Second))
	a.Renew("a", "x", a.now.Add(55*time.Second))
	a.Close(own, a.now)
	a.after(2*time.Second-1, 1)
	a.after(1, 0)
}
