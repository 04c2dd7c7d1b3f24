package wire

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringSize is how many sends go out with one system call. More would save little, and Go's scheduler waits until the
// call is over.
const ringSize = 64

// ring is an io_uring. It sends to many sockets with one system call, see docs/decisions/0018-io-uring.md. Each send is
// complete when the call returns, as with write(2), because no send may wait.
type ring struct {
	fd       int
	maps     [][]byte
	tail     *uint32 // of the submission queue
	mask     uint32
	requests []request
	head     *uint32 // of the completion queue
	doneTail *uint32
	doneMask uint32
	answers  []answer

	n     int // requests that wait for submit
	conns [ringSize]*Conn
	bytes [ringSize][]byte // what they send
	space []byte           // for what is sealed
}

// request is struct io_uring_sqe of linux/io_uring.h, as IORING_OP_SEND has it.
type request struct {
	opcode   uint8
	_        [3]byte
	fd       int32
	_        uint64
	addr     uint64
	len      uint32
	msgFlags uint32
	userData uint64
	_        [3]uint64
}

// answer is struct io_uring_cqe.
type answer struct {
	userData uint64
	res      int32
	_        uint32
}

// params is struct io_uring_params.
type params struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, workFD uint32
	_                                                                    [3]uint32
	sq                                                                   struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

const (
	opSend         = 26
	offsetRequests = 0x10000000
	featSingleMap  = 1 << 0
	featFastPoll   = 1 << 5 // since 5.7, newer than IORING_OP_SEND
	enterGetEvents = 1 << 0
)

// newRing fails where the kernel has no io_uring or does not let this process use it.
func newRing() (*ring, error) {
	var p params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringSize, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("set up io_uring: %w", errno)
	}
	r := &ring{fd: int(fd)}
	if p.features&featSingleMap == 0 || p.features&featFastPoll == 0 {
		r.close()
		return nil, fmt.Errorf("set up io_uring: %w", syscall.ENOSYS)
	}
	size := max(int(p.sq.array)+4*int(p.sqEntries), int(p.cq.cqes)+int(p.cqEntries)*int(unsafe.Sizeof(answer{})))
	queues, err := r.mmap(0, size)
	if err != nil {
		return nil, err
	}
	entries, err := r.mmap(offsetRequests, int(p.sqEntries)*int(unsafe.Sizeof(request{})))
	if err != nil {
		return nil, err
	}
	word := func(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&queues[at])) }
	r.tail, r.mask = word(p.sq.tail), *word(p.sq.mask)
	r.head, r.doneTail, r.doneMask = word(p.cq.head), word(p.cq.tail), *word(p.cq.mask)
	r.requests = unsafe.Slice((*request)(unsafe.Pointer(&entries[0])), p.sqEntries)
	r.answers = unsafe.Slice((*answer)(unsafe.Pointer(&queues[p.cq.cqes])), p.cqEntries)
	order := unsafe.Slice(word(p.sq.array), p.sqEntries)
	for i := range order {
		order[i] = uint32(i)
	}
	return r, nil
}

func (r *ring) mmap(offset int64, size int) ([]byte, error) {
	m, err := unix.Mmap(r.fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		r.close()
		return nil, fmt.Errorf("map io_uring: %w", err)
	}
	r.maps = append(r.maps, m)
	return m, nil
}

func (r *ring) close() {
	for _, m := range r.maps {
		_ = unix.Munmap(m)
	}
	_ = unix.Close(r.fd)
}

// add queues a send of p to c and reports whether the queue is full now.
func (r *ring) add(c *Conn, p []byte) (full bool) {
	at := *r.tail + uint32(r.n)
	r.requests[at&r.mask] = request{
		opcode: opSend, fd: c.fd, addr: uint64(uintptr(unsafe.Pointer(&p[0]))), len: uint32(len(p)),
		msgFlags: unix.MSG_DONTWAIT, userData: uint64(r.n),
	}
	r.conns[r.n], r.bytes[r.n] = c, p
	r.n++
	return r.n == ringSize
}

// submit carries out the queued sends, and then calls sent for each with what write(2) would have returned. It returns
// false if the ring stops working.
func (r *ring) submit(sent func(c *Conn, p []byte, n int, errno syscall.Errno)) bool {
	n := uint32(r.n)
	atomic.StoreUint32(r.tail, *r.tail+n)
	for taken, done := uint32(0), uint32(0); done < n; {
		// This does not tell Go's scheduler, like write, because none of it waits.
		k, _, errno := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n-taken), uintptr(n-done), enterGetEvents, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			for i := taken; i < n; i++ { // those before are done
				k, errno := write(r.conns[i].fd, r.bytes[i])
				sent(r.conns[i], r.bytes[i], k, errno)
			}
			return false
		}
		if errno == 0 {
			taken += uint32(k)
		}
		head := *r.head
		for ; head != atomic.LoadUint32(r.doneTail); head++ {
			a := r.answers[head&r.doneMask]
			done++
			c, p := r.conns[a.userData], r.bytes[a.userData]
			if a.res < 0 {
				sent(c, p, 0, syscall.Errno(-a.res))
			} else {
				sent(c, p, int(a.res), 0)
			}
		}
		atomic.StoreUint32(r.head, head)
	}
	clear(r.conns[:n])
	clear(r.bytes[:n])
	r.n, r.space = 0, r.space[:0]
	return true
}
