package rig

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Servers listen on ports from 20000 to 31999. The kernel takes ports for outgoing connections from above them. There, a
// client that tries to reconnect could take the stopped server's port, or even connect to itself.
const (
	firstPort = 20000
	blocks    = 24
	blockSize = 500
)

// ports is the block of ports of this process. Packages are tested at the same time. One of them must not get a port
// that another one has found free or needs again after a restart.
var ports struct {
	mu   sync.Mutex
	lock net.Listener // on the first port of the block, as long as the process lives
	last int          // that was given out
}

// FreeAddr returns a free address 127.0.0.1:PORT. The process does not get the same one again before it has had all
// others of its block.
func FreeAddr(t testing.TB) string {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	// Both begin anywhere, so that what a process has left behind does not meet the servers of the next one.
	for n := rand.IntN(blocks); ports.lock == nil; n++ {
		if n == 2*blocks {
			t.Fatal("found no free block of ports")
		}
		ports.lock, _ = net.Listen("tcp", local(firstPort+n%blocks*blockSize)) // an error means that another process has it
		ports.last = rand.IntN(blockSize)
	}
	first := ports.lock.Addr().(*net.TCPAddr).Port
	for range blockSize - 1 {
		ports.last = ports.last%(blockSize-1) + 1
		addr := local(first + ports.last)
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatalf("found no free port between %d and %d", first, first+blockSize-1)
	return ""
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
