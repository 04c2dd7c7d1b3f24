//go:build !lockorder

package lockorder

import "sync"

// Mutex is a mutex with a rank. The zero value is ready to use.
type Mutex[R Rank] struct{ sync.Mutex }
