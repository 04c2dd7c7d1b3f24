package hub_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/hub"
)

// shown starts a subscriber that reads each piece of news, and notes when it came.
func shown(t *testing.T, room *hub.Room) (values func() (all []string, at []time.Time)) {
	t.Helper()
	c := join(room, hub.JoinOptions{})
	c.read()
	begin := len(c.events())
	var at []time.Time
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			changed := room.Changed()
			for range len(c.events()) - begin - len(at) {
				at = append(at, time.Now())
			}
			select {
			case <-changed:
			case <-stop:
				return
			}
		}
	}()
	synctest.Wait()
	return func() ([]string, []time.Time) {
		close(stop)
		<-done
		return c.events()[begin:], at
	}
}

// While a room is quiet, a change is published at once.
func TestPaceOfQuietRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := hub.New(hub.Options{}).Open("a")
		values := shown(t, room)
		begin := time.Now()
		for n := range 10 {
			room.Update("user count", set(strconv.Itoa(n)))
			time.Sleep(time.Second)
		}
		all, at := values()
		if len(all) != 10 {
			t.Fatalf("got %v, want 10 values", all)
		}
		for n := range at {
			if want := begin.Add(time.Duration(n) * time.Second); !at[n].Equal(want) {
				t.Errorf("value %d was shown %v late", n, at[n].Sub(want))
			}
		}
	})
}

// 10,000 changes in a second cause some tens of publications. The last change is one of them and comes soon.
func TestPaceOfStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := hub.New(hub.Options{}).Open("a")
		values := shown(t, room)
		for n := range 10_000 {
			room.Update("user count", set(strconv.Itoa(n+1)))
			time.Sleep(100 * time.Microsecond)
		}
		end := time.Now()
		time.Sleep(time.Second)
		all, at := values()
		if len(all) < 5 || len(all) > 60 {
			t.Errorf("got %d showings, want 5 to 60", len(all))
		}
		if last := all[len(all)-1]; last != "user count 10000" {
			t.Errorf("the last one shown is %s, want 10000", last)
		}
		if late := at[len(at)-1].Sub(end); late > 200*time.Millisecond {
			t.Errorf("the last one was shown %v after the end, want 200 ms at most", late)
		}
		for i := 1; i < len(at); i++ {
			if pause := at[i].Sub(at[i-1]); pause < 20*time.Millisecond {
				t.Errorf("showings %d and %d are %v apart, want 20 ms at least", i-1, i, pause)
			}
		}
		// The room is quiet again, so a change is published at once again.
		values = shown(t, room)
		begin := time.Now()
		room.Update("user count", set("0"))
		synctest.Wait()
		if all, at := values(); len(all) != 1 || !at[0].Equal(begin) {
			t.Errorf("after the storm a change was shown as %v at %v, want at once", all, at)
		}
	})
}

// After a pass that took long, the next one waits twice as long, but no more than a second. The last value is published
// nevertheless.
func TestPaceAfterLongPass(t *testing.T) {
	for _, tt := range []struct{ pass, wait time.Duration }{
		{time.Millisecond, 20 * time.Millisecond},
		{100 * time.Millisecond, 200 * time.Millisecond},
		{time.Hour, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			room := hub.New(hub.Options{}).Open("a")
			values := shown(t, room)
			room.Update("user count", set("1"))
			synctest.Wait()
			room.Took(tt.pass)
			room.Took(0) // of another, faster writer
			room.Update("user count", set("2"))
			room.Update("user count", set("3"))
			time.Sleep(2 * time.Second)
			all, at := values()
			if got := strings.Join(all, ", "); got != "user count 1, user count 3" {
				t.Fatalf("after %v: got %s", tt.pass, got)
			}
			if got := at[1].Sub(at[0]); got != tt.wait {
				t.Errorf("after a pass of %v the next came %v later, want %v", tt.pass, got, tt.wait)
			}
		})
	}
}

// The room remembers the duration of the last pass while it is quiet.
func TestPaceRemembersLastPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := hub.New(hub.Options{}).Open("a")
		values := shown(t, room)
		room.Update("user count", set("1"))
		room.Took(100 * time.Millisecond)
		time.Sleep(time.Minute)
		begin := time.Now()
		room.Update("user count", set("2"))
		room.Update("user count", set("3"))
		time.Sleep(time.Second)
		_, at := values()
		if len(at) != 3 || !at[1].Equal(begin) || at[2].Sub(begin) != 200*time.Millisecond {
			t.Errorf("got showings at %v, want one at once and one after 200 ms", at)
		}
	})
}

// Setting a state to its current value publishes nothing. Events are not throttled.
func TestPaceOfNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{})
		room := h.Open("a")
		values := shown(t, room)
		for n := range 5 {
			room.Update("user count", set("1"))
			h.Emit("a", "n", []byte(strconv.Itoa(n)))
		}
		synctest.Wait()
		all, at := values()
		if got := strings.Join(all, ", "); got != "user count 1, n 0, n 1, n 2, n 3, n 4" || !at[5].Equal(at[0]) {
			t.Errorf("got %s", got)
		}
	})
}

// In a room with many events, where passes are long, a change goes out with the next event and needs no pass of its
// own. Without events it waits for its turn.
func TestPaceWithEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Options{})
		room := h.Open("a")
		values := shown(t, room)
		for n := range 100 {
			room.Took(150 * time.Millisecond)
			room.Update("user count", set(strconv.Itoa(n)))
			time.Sleep(50 * time.Millisecond)
			h.Emit("a", "news", []byte("1"))
			time.Sleep(50 * time.Millisecond)
		}
		all, at := values()
		counts := 0
		for i := range all {
			if all[i] == "news 1" {
				continue
			}
			counts++
			if i > 0 && i+1 < len(all) && !at[i].Equal(at[i-1]) && !at[i].Equal(at[i+1]) {
				t.Errorf("%s was shown at %v, by itself", all[i], at[i])
			}
		}
		if counts < 90 {
			t.Errorf("got %d counts, want one with nearly each of 100 events", counts)
		}
	})
}
