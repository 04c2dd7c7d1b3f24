package presence_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/internal/presence"
)

// stream is a stream that ignores its end.
type stream struct{}

// A user has one stream through a proxy and one direct stream, which ends. The stream that is left proves nothing, so
// the user does not stay for ever.
func TestProvingStreamEndsBeforeLeasedOne(t *testing.T) {
	now := time.Unix(1e9, 0)
	table := presence.New(2 * time.Second)
	leased := table.Open("a", "x", stream{})
	table.Lease(leased, now.Add(5*time.Second))
	direct := table.Open("a", "x", stream{})
	now = now.Add(10 * time.Second)
	if got := table.Expire(now); len(got) != 0 || table.Count("a") != 1 {
		t.Fatalf("the lease's end changed %v, want nothing: a stream proves the user is there", got)
	}
	table.Close(direct, now)
	now = now.Add(2 * time.Second)
	if got := table.Expire(now); len(got) != 1 || table.Count("a") != 0 {
		t.Errorf("expire changed %v and leaves %d users, want a and 0", got, table.Count("a"))
	}
	table.Close(leased, now)
	if got := len(table.Rooms()); got != 0 {
		t.Errorf("%d rooms are left, want 0", got)
	}
}

func TestConcurrently(t *testing.T) {
	table := presence.New(0)
	now := time.Unix(1e9, 0)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 300 {
				room, id := fmt.Sprint("room", n%3), strings.Repeat("x", n%4)
				k := table.Open(room, id, stream{})
				table.Lease(k, now.Add(time.Duration(n)))
				table.Renew(room, strconv.Itoa(i), now)
				table.Count(room)
				table.Next()
				if n%5 == 0 {
					table.Leave(room, id)
				}
				table.Close(k, now)
				table.Leave(room, strconv.Itoa(i))
				table.Expire(now)
			}
		})
	}
	all.Wait()
	if got := table.Rooms(); len(got) != 0 {
		t.Errorf("left are %v, want nothing", got)
	}
}

func BenchmarkOpenClose(b *testing.B) {
	for _, id := range []string{"", "abcdefgh"} {
		b.Run("id="+id, func(b *testing.B) {
			table := presence.New(0)
			now := time.Unix(1e9, 0)
			for i := range 10_000 {
				table.Open("a", "user"+strconv.Itoa(i), stream{})
			}
			b.ReportAllocs()
			for b.Loop() {
				table.Close(table.Open("a", id, stream{}), now)
			}
		})
	}
}

func BenchmarkRenew(b *testing.B) {
	table := presence.New(0)
	now := time.Unix(1e9, 0)
	for i := range 10_000 {
		table.Renew("a", "user"+strconv.Itoa(i), now.Add(time.Duration(i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(1)
		table.Renew("a", "user5000", now)
	}
}
