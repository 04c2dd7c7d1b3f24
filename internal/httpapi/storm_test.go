package httpapi_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// The memory of a storm is returned to the system after the storm, and only then.
func TestStorm(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, b *rig) {
		forced := func() uint32 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.NumForcedGC
		}
		storm := func(n int) {
			for range n {
				b.Open("").Cancel()
			}
		}
		before := forced()
		storm(900)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := forced() - before; n != 0 {
			t.Errorf("after 900 newcomers memory was given back %d times, want 0", n)
		}
		storm(200)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := forced() - before; n != 1 {
			t.Errorf("after 1,100 newcomers memory was given back %d times, want once", n)
		}
	})
}
