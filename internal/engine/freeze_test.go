package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

// A request that does not end delays no others for longer than a freeze may wait.
func TestFreezeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f freezer
		if !f.enter() {
			t.Fatal("not admitted")
		}
		begin, admitted := time.Now(), make(chan time.Duration, 1)
		go func() {
			time.Sleep(time.Second) // the freeze waits by now
			f.enter()
			f.leave()
			admitted <- time.Since(begin)
		}()
		if f.freeze(3 * time.Second) {
			t.Error("frozen with work inside")
		}
		if took := <-admitted; took != 3*time.Second {
			t.Errorf("a request waited until %v, want 3s", took)
		}
		f.leave()
		if !f.freeze(time.Second) || !f.isFrozen() {
			t.Error("not frozen, although nothing is inside")
		}
	})
}

// Work waits during a freeze. Afterwards it is admitted, or refused if another process has taken over.
func TestFreezer(t *testing.T) {
	for _, released := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var f freezer
			f.enter()
			done := make(chan bool, 1)
			go func() {
				time.Sleep(time.Second)
				f.leave()
			}()
			if begin := time.Now(); !f.freeze(time.Minute) || time.Since(begin) != time.Second {
				t.Errorf("frozen after %v, want 1s", time.Since(begin))
			}
			go func() { done <- f.enter() }()
			synctest.Wait()
			select {
			case <-done:
				t.Fatal("admitted during the freeze")
			default:
			}
			if released {
				f.release()
			} else {
				f.thaw()
			}
			if got := <-done; got == released {
				t.Errorf("admitted %v, want %v", got, !released)
			}
		})
	}
}
