package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// A clock reads CLOCK_MONOTONIC. Go's own monotonic time is the same clock from another origin, and does not cost a
// system call.
type clock struct {
	base   time.Time
	offset int64
}

func newClock() clock {
	var now unix.Timespec
	base := time.Now()
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return clock{base: base, offset: now.Nano()}
}

func (c clock) now() int64 { return c.offset + int64(time.Since(c.base)) }

// Now is the present moment in nanoseconds of CLOCK_MONOTONIC.
func Now() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return now.Nano()
}
