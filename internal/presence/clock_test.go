package presence_test

import (
	"testing"
	"time"

	"headcount/internal/presence"
)

// A jump of the clock removes no user with an open stream, and keeps no user without one for ever.
func TestClockJumps(t *testing.T) {
	const linger = 2 * time.Second
	for _, row := range []struct {
		name string
		jump time.Duration
		left int // of one with a stream, one with a lease and one in its grace period
	}{{"back", -time.Hour, 3}, {"a little", linger, 2}, {"ahead", time.Hour, 1}} {
		t.Run(row.name, func(t *testing.T) {
			table, now := presence.New(linger), time.Unix(1e9, 0)
			stays := table.Open("a", "with-stream", stream{})
			table.Renew("a", "with-lease", now.Add(time.Minute))
			table.Close(table.Open("a", "lingers", stream{}), now)
			now = now.Add(row.jump)
			table.Expire(now)
			if got := table.Count("a"); got != row.left {
				t.Fatalf("got %d users, want %d", got, row.left)
			}
			// From now on the clock continues from its new time.
			table.Close(stays, now)
			table.Renew("a", "with-lease", now.Add(time.Minute))
			table.Expire(now.Add(linger))
			if got, want := table.Count("a"), min(row.left, 2); row.jump > 0 && got != 1 || row.jump < 0 && got != want {
				t.Errorf("got %d users after the stream ended", got)
			}
			table.Expire(time.Unix(1e9, 0).Add(2 * time.Hour))
			if got := table.Count("a"); got != 0 {
				t.Errorf("got %d users in the end, want 0", got)
			}
		})
	}
}
