// Package lockorder is the order in which a goroutine may acquire the locks of headcount. Each lock has a rank. A
// goroutine that holds a lock may acquire only locks of a higher rank, so no two goroutines can wait for each other.
//
//	mu lockorder.Mutex[lockorder.Room]
//
// In a normal build a [Mutex] is a [sync.Mutex]. With the build tag lockorder it panics where the order is violated.
// The tag has a cost for each lock, and hides data races, so it is not for the race detector:
//
//	go test -tags lockorder ./...
//
// Hold a lock for a few instructions. Do not write, log, send or wait while you hold one.
package lockorder

// Rank is the rank of a lock.
type Rank interface{ rank() rank }

type rank int

// The ranks, in the order in which a goroutine acquires the locks.
type (
	Notifier struct{} // counts the users of a room
	Fetch    struct{} // one fetch of a room's missed events; it is held while the fetch waits
	Feed     struct{} // passes a room's events to the hub in their order
	Hub      struct{} // opens rooms, and asks the backend to watch them
	Room     struct{} // asks for the number of its users, and wakes its writers
	Sets     struct{} // the users of all nodes; takes the changes of the presence table
	Node     struct{} // the rooms of a backend
	Leaf     struct{} // all others; no lock is acquired under them
)

func (Notifier) rank() rank { return 1 }
func (Fetch) rank() rank    { return 2 }
func (Feed) rank() rank     { return 3 }
func (Hub) rank() rank      { return 4 }
func (Room) rank() rank     { return 5 }
func (Sets) rank() rank     { return 6 }
func (Node) rank() rank     { return 7 }
func (Leaf) rank() rank     { return 8 }
