package engine

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Of 300,000 keys the last 100,000 are kept, each for two minutes. A known key does not displace another one.
func TestKeysAreBounded(t *testing.T) {
	const most = 100_000
	synctest.Test(t, func(t *testing.T) {
		var keys keys
		size := func() int { return max(len(keys.known), len(keys.order)) }
		calls := 0
		once := func(n int) string {
			return keys.once(fmt.Sprint(n), func() emitted { calls++; return emitted{id: fmt.Sprint("id ", n)} }).id
		}
		for n := range 3 * most {
			once(n)
		}
		if size() != most || calls != 3*most {
			t.Fatalf("got %d keys after %d calls, want %d after %d", size(), calls, most, 3*most)
		}
		for _, n := range []int{3*most - 1, 2 * most, 2 * most} { // the oldest too, and a repeated one
			if got := once(n); got != fmt.Sprint("id ", n) || calls != 3*most {
				t.Errorf("key %d of those that are remembered: got %s and %d calls, want its id and no other", n, got, calls)
			}
		}
		if once(2*most - 1); calls != 3*most+1 {
			t.Error("a key before the last 100,000 is still known")
		}
		time.Sleep(2 * time.Minute)
		once(-1)
		if size() != 1 {
			t.Errorf("got %d keys after two minutes, want the new one", size())
		}
	})
}

// The record of an event is small, however large its body was.
func TestKeysKeepNoBodies(t *testing.T) {
	e, err := New(Options{History: 1, Writer: Portable})
	if err != nil {
		t.Fatal(err)
	}
	const emits, size = 500, 60_000
	send := func(n int) {
		ev := Event{Room: "a", Name: "news", Data: make([]byte, size), Key: fmt.Sprint(n)}
		if _, _, err := e.Emit(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	send(-1)
	before := heap()
	for n := range emits {
		send(n)
	}
	if grown := int64(heap()) - int64(before); grown > emits*size/10 {
		t.Errorf("%d events of %d bytes leave %d bytes behind", emits, size, grown)
	}
	runtime.KeepAlive(e)
}
