//go:build unix

package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// isPipe reports whether w is a pipe that readerGone can check.
func isPipe(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}

// readerGone reports whether the other end of the pipe w is closed. poll(2): "POLLERR [...] is also set for a file
// descriptor referring to the write end of a pipe when the read end has been closed."
func readerGone(w io.Writer) bool {
	conn, err := w.(*os.File).SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = conn.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	})
	return err == nil && gone
}
