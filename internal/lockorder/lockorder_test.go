//go:build lockorder

package lockorder_test

import (
	"sync"
	"testing"

	"headcount/internal/lockorder"
)

// With the build tag, a lock that is acquired in the wrong order panics, in the goroutine that does it and in no other.
func TestOrder(t *testing.T) {
	var hub lockorder.Mutex[lockorder.Hub]
	var room, other lockorder.Mutex[lockorder.Room]
	for _, row := range []struct {
		name          string
		first, second sync.Locker
		panics        bool
	}{
		{"up", &hub, &room, false},
		{"down", &room, &hub, true},
		{"same rank", &room, &other, true},
		{"the same lock", &room, &room, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.first.Lock()
			defer row.first.Unlock()
			defer func() {
				if got := recover() != nil; got != row.panics {
					t.Errorf("got panic %v, want %v", got, row.panics)
				}
			}()
			row.second.Lock()
			row.second.Unlock()
		})
	}
	room.Lock()
	var elsewhere sync.WaitGroup
	elsewhere.Go(func() {
		hub.Lock()
		hub.Unlock()
	})
	elsewhere.Wait()
	room.Unlock()
	hub.Lock() // after Unlock all is forgotten
	hub.Unlock()
}
