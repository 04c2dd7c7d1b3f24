package engine

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"headcount/internal/wire"
)

// asked is a writer that records the calls to it.
type asked struct{ ends, pings int }

func (a *asked) End(time.Duration) { a.ends++ }
func (a *asked) Ping()             { a.pings++ }

// A stream's state only moves forward, for any order of calls, and its writer is asked to end once.
func TestStates(t *testing.T) {
	out := &asked{}
	attach := func(st *Stream) { st.attach(out, ByStream) }
	end := func(st *Stream) { st.End(time.Second) }
	closing := func(st *Stream) { st.Close(wire.Gone) }
	for _, row := range []struct {
		name  string
		steps []func(*Stream)
		want  state
		ends  int
		users int
	}{
		{"let in", nil, counted, 0, 1},
		{"written", []func(*Stream){attach}, open, 0, 1},
		{"asked to end", []func(*Stream){attach, end}, ending, 1, 1},
		{"asked twice", []func(*Stream){attach, end, end}, ending, 1, 1},
		{"asked before it is written", []func(*Stream){end, attach}, ending, 1, 1},
		{"closed", []func(*Stream){attach, closing}, closed, 0, 0},
		{"closed before it is written", []func(*Stream){closing}, closed, 0, 0},
		{"closed twice", []func(*Stream){attach, closing, closing}, closed, 0, 0},
		{"asked when it is closed", []func(*Stream){attach, closing, end}, closed, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			*out = asked{}
			e, err := New(Options{Writer: Portable})
			if err != nil {
				t.Fatal(err)
			}
			st, err := e.Subscribe(t.Context(), Request{Room: "a"})
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range row.steps {
				step(st)
			}
			if st.state != row.want || out.ends != row.ends || e.Users().Count("a") != row.users {
				t.Errorf("got state %d, %d ends, %d users, want %d, %d, %d",
					st.state, out.ends, e.Users().Count("a"), row.want, row.ends, row.users)
			}
			if streams := e.Streams(); (streams == 0) != (row.want == closed) {
				t.Errorf("%d streams are registered in state %d", streams, st.state)
			}
		})
	}
}

// A stream that is told to end while it is counted ends when it gets its writer.
func TestLeftWhileCounted(t *testing.T) {
	e, err := New(Options{Writer: Portable})
	if err != nil {
		t.Fatal(err)
	}
	st, err := e.Subscribe(t.Context(), Request{Room: "a", ClientID: "abcdefgh"})
	if err != nil {
		t.Fatal(err)
	}
	e.Leave("a", []string{"abcdefgh"}, 0)
	out := &asked{}
	st.attach(out, ByStream)
	if st.state != ending || out.ends != 1 || e.Users().Count("a") != 0 {
		t.Errorf("got state %d, %d ends, %d users, want it ending once, and nobody", st.state, out.ends, e.Users().Count("a"))
	}
}

// running returns an engine that runs, and a context, until the end of the test.
func running(t *testing.T) (*Engine, context.Context) {
	t.Helper()
	e, err := New(Options{Writer: Portable})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go e.Run(ctx)
	return e, ctx
}

// The renewal of a page and its goodbye come on two connections, so the renewal may arrive last, though it was sent first.
// A goodbye without a grace period is none of a page that closes.
func TestRenewalAfterGoodbye(t *testing.T) {
	for grace, want := range map[time.Duration]int{0: 1, time.Second: 0} {
		synctest.Test(t, func(t *testing.T) {
			e, ctx := running(t)
			renew := func() {
				t.Helper()
				if err := e.Renew(ctx, netip.Prefix{}, "a", []string{"abcdefgh"}); err != nil {
					t.Fatal(err)
				}
			}
			wantUsers := func(want int) {
				t.Helper()
				synctest.Wait()
				if got := e.Users().Count("a"); got != want {
					t.Errorf("grace %v: got %d users, want %d", grace, got, want)
				}
			}
			renew()
			wantUsers(1)
			e.Leave("a", []string{"abcdefgh"}, grace)
			renew()
			time.Sleep(grace + time.Second)
			wantUsers(want)
			renew()
			wantUsers(want)
			time.Sleep(overtaking)
			renew()
			wantUsers(1)
		})
	}
}

// Another tab repeats the goodbye of a page that reloads. The repetition may arrive when the page is back, and then
// nobody leaves. A goodbye with another end, or with the same grace period, is one of its own.
func TestRepeatedGoodbye(t *testing.T) {
	for _, row := range []struct {
		after, grace time.Duration
		want         int
	}{
		{400 * time.Millisecond, 700 * time.Millisecond, 1},
		{600 * time.Millisecond, 700 * time.Millisecond, 1},
		{400 * time.Millisecond, time.Second, 0},
		{400 * time.Millisecond, 100 * time.Millisecond, 0},
		{1300 * time.Millisecond, 300 * time.Millisecond, 0},
		{400 * time.Millisecond, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, ctx := running(t)
			leave := func(grace time.Duration) {
				t.Helper()
				if err := e.Leave("a", []string{"abcdefgh"}, grace); err != nil {
					t.Fatal(err)
				}
			}
			open := func() *Stream {
				t.Helper()
				st, err := e.Subscribe(ctx, Request{Room: "a", ClientID: "abcdefgh"})
				if err != nil {
					t.Fatal(err)
				}
				st.attach(&asked{}, ByStream)
				return st
			}
			before := open()
			leave(time.Second)
			before.Close(wire.Gone)
			time.Sleep(300 * time.Millisecond)
			defer open().Close(wire.Gone)
			time.Sleep(row.after - 300*time.Millisecond)
			leave(row.grace)
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if got := e.Users().Count("a"); got != row.want {
				t.Errorf("a goodbye for %v, %v after the first: got %d users, want %d", row.grace, row.after, got, row.want)
			}
		})
	}
}

// Anybody can say goodbye for any ids, so only some goodbyes are remembered.
func TestManyGoodbyes(t *testing.T) {
	var g guests
	now := time.Now()
	ids := make([]string, 100)
	for n := range 2 * maxGoodbyes / len(ids) {
		for i := range ids {
			ids[i] = fmt.Sprintf("stranger-%d-%d", n, i)
		}
		g.leave("a", ids, now, time.Second)
		if len(g.left) > maxGoodbyes {
			t.Fatalf("%d goodbyes are remembered, want at most %d", len(g.left), maxGoodbyes)
		}
	}
	for _, id := range ids {
		if !g.hasLeft("a", id, now) {
			t.Errorf("one of the last %d goodbyes, of %s, is forgotten", len(ids), id)
		}
	}
}

// No verb prints what a stream holds, because the keys of its connection are part of it.
func TestPrintedStream(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, &Stream{}); len(got) > len("[stream 0x0123456789abcdef]") {
			t.Errorf("got %s for %s", got, verb)
		}
	}
}
