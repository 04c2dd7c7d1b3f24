//go:build lockorder

package lockorder

import (
	"fmt"
	"math/bits"
	"runtime"
	"sync"
)

// Mutex is a mutex with a rank that panics where the order is violated. The zero value is ready to use.
type Mutex[R Rank] struct {
	mu    sync.Mutex
	owner uint64 // guarded by mu
}

// held are the ranks that each goroutine holds, by its number. The order is a property of the whole process.
var held = struct {
	sync.Mutex
	by   map[uint64]ranks
	line [32]byte // for goroutine
}{by: make(map[uint64]ranks)}

// ranks has a bit for each rank.
type ranks uint16

// Lock locks the mutex. It panics if this goroutine holds a lock of the same or a higher rank.
func (m *Mutex[R]) Lock() {
	var r R
	held.Lock()
	me := goroutine()
	others := held.by[me]
	held.Unlock()
	if others>>r.rank() != 0 {
		panic(fmt.Sprintf("acquire a lock of rank %d (%T) while holding one of rank %d", r.rank(), r, bits.Len16(uint16(others))-1))
	}
	m.mu.Lock()
	m.owner = me
	held.Lock()
	held.by[me] |= 1 << r.rank()
	held.Unlock()
}

// Unlock unlocks the mutex, in the goroutine that has locked it.
func (m *Mutex[R]) Unlock() {
	var r R
	held.Lock()
	if held.by[m.owner] &^= 1 << r.rank(); held.by[m.owner] == 0 {
		delete(held.by, m.owner)
	}
	held.Unlock()
	m.mu.Unlock()
}

// goroutine returns the number of the running goroutine, from the first line of its stack, such as "goroutine 7
// [running]:". The caller holds held.
func goroutine() (n uint64) {
	line := held.line[:]
	for _, b := range line[len("goroutine "):runtime.Stack(line, false)] {
		if b == ' ' {
			break
		}
		n = 10*n + uint64(b-'0')
	}
	return n
}
