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

// Who was told to come back is waited for, whatever else of it ends meanwhile, such as the stream that a
// browser tries beside its polls; and only until it is back.
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

// A tab whose stream has ended, and for which another tab speaks from now on, is not dropped when a proxy
// tells of that end late.
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

	// One that answers for itself has gone with its stream.
	own := a.Open("a", "x", stream{})
	a.Lease(own, a.now.Add(5*time.Second))
	a.Renew("a", "x", a.now.Add(55*time.Second))
	a.Close(own, a.now)
	a.after(2*time.Second-1, 1)
	a.after(1, 0)
}
