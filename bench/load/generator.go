package load

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Config says which server to load and how to open a stream there.
type Config struct {
	Port      int    // on 127.0.0.1
	Path      string // of the stream; {i} is replaced by the number of the stream, {room} by that of its fifty
	WebSocket bool   // Socket.IO over WebSocket instead of Server-Sent Events
	TLS       bool
}

// MaxOpen is how many streams one generator holds, a little less than the 20,000 files a process may have open.
const MaxOpen = 19_800

func (c Config) status() int {
	if c.WebSocket {
		return 101
	}
	return 200
}

func (c Config) request(i int) []byte {
	path := strings.NewReplacer("{i}", strconv.Itoa(i), "{room}", strconv.Itoa(i/50)).Replace(c.Path)
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n", path, c.Port)
	if c.WebSocket {
		b.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: aGVhZGNvdW50IGJlbmNoIQ==\r\n\r\n")
	} else {
		b.WriteString("Accept: text/event-stream\r\n\r\n")
	}
	return []byte(b.String())
}

// A Generator holds streams. It belongs to one goroutine.
type Generator struct {
	config Config
	clock  clock
	epoll  int
	ready  []unix.EpollEvent
	buf    []byte

	streams []*stream // by file descriptor
	open    []*stream // in the order of opening while nothing is closed at random
	started int       // streams ever started
	pending int       // started, not yet open
	failed  int       // could not be opened
	dropped int       // closed by the server
	fault   error     // the first reason for failed or dropped
	openAt  int64     // when the last stream was opened

	events, delivered, bytes int64
	lastDelivery             int64
	latency                  histogram

	want    int64 // the user count that all should hear, -1: none
	knowing int   // open streams whose last count is want
	knewAt  int64 // since when all have known

	stalled  []*stream
	replaced int64 // by the last churn

	shaken chan shaken
	wake   int // eventfd that tells of shaken

	commands   int // file descriptor of the pipe
	hasCommand bool
}

// New makes a Generator that watches the pipe commands, a file descriptor.
func New(commands int) (*Generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll set: %w", err)
	}
	g := &Generator{
		epoll: epoll, clock: newClock(), want: -1, commands: commands,
		ready: make([]unix.EpollEvent, 1024), buf: make([]byte, 256<<10), streams: make([]*stream, MaxOpen+200),
		shaken: make(chan shaken, handshakes),
	}
	if g.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	for _, fd := range []int{commands, g.wake} {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
		if err != nil {
			return nil, fmt.Errorf("watch commands: %w", err)
		}
	}
	return g, nil
}

// start begins to open a stream. Source addresses are spread over 127.0.7.0/24, so that ports do not run out.
func (g *Generator) start(receiveBuffer int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("create socket: %w", err)
	}
	s := &stream{fd: fd, number: g.started, index: -1, count: -1, next: -1, small: receiveBuffer > 0}
	g.streams[fd] = s
	g.started++
	g.pending++
	if receiveBuffer > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		// Segments as on Ethernet: with loopback's of 64 KiB the kernel gives the server a send buffer of 2.6 MB, in
		// which a stalled reader would go unnoticed.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	source := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 7, byte(2 + g.started%200)}}
	if err := unix.Bind(fd, source); err != nil {
		g.end(s, fmt.Errorf("bind socket: %w", err))
		return nil
	}
	target := &unix.SockaddrInet4{Port: g.config.Port, Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Connect(fd, target); err != nil && err != unix.EINPROGRESS {
		g.end(s, fmt.Errorf("connect: %w", err))
		return nil
	}
	if err := g.watch(s); err != nil {
		g.end(s, err)
	}
	return nil
}

func (g *Generator) watch(s *stream) error {
	const events = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: events, Fd: int32(s.fd)})
	if err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

// opened is called when the server has answered.
func (g *Generator) opened(s *stream, now int64) {
	s.phase, s.openedAt, s.index = open, now, len(g.open)
	g.open = append(g.open, s)
	g.pending--
	g.openAt = now
	if s.count == g.want && g.want >= 0 {
		g.knowing++
	}
}

// heard takes down a user count.
func (g *Generator) heard(s *stream, value, now int64) {
	if s.phase == open && g.want >= 0 && value != s.count {
		if s.count == g.want {
			g.knowing--
		}
		if value == g.want {
			g.knowing++
			if g.knowing == len(g.open) {
				g.knewAt = now
			}
		}
	}
	s.count = value
}

// end closes a stream; fault is nil when we wanted it so.
func (g *Generator) end(s *stream, fault error) {
	if s.phase == closed {
		return
	}
	if s.phase == open {
		if g.want >= 0 && s.count == g.want {
			g.knowing--
		}
		last := len(g.open) - 1
		g.open[s.index], g.open[last].index = g.open[last], s.index
		g.open = g.open[:last]
		if fault != nil {
			g.dropped++
		}
	} else {
		g.pending--
		g.failed++
	}
	if fault != nil && g.fault == nil {
		g.fault = fault
	}
	s.phase, s.carry, s.fate.closed = closed, nil, fault != nil
	g.streams[s.fd] = nil
	_ = unix.Close(s.fd)
}

// poll waits at most that long for something to happen, and deals with it.
func (g *Generator) poll(wait time.Duration) error {
	n, err := unix.EpollWait(g.epoll, g.ready, int((wait+time.Millisecond-1)/time.Millisecond))
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("wait for events: %w", err)
	}
	for _, ready := range g.ready[:max(n, 0)] {
		fd := int(ready.Fd)
		if fd == g.commands {
			g.hasCommand = true
			continue
		}
		if fd == g.wake {
			g.takeShaken()
			continue
		}
		if s := g.streams[fd]; s != nil {
			g.serve(s, ready.Events)
		}
	}
	return nil
}

// serve reads a stream that has become ready until nothing is left.
func (g *Generator) serve(s *stream, events uint32) {
	if s.phase == connecting && events&unix.EPOLLOUT != 0 && events&unix.EPOLLERR == 0 {
		if g.config.TLS {
			g.secure(s)
			return
		}
		s.phase = inHeader
		if err := g.send(s, g.config.request(s.number)); err != nil {
			g.end(s, err)
			return
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return
	}
	for s.phase != closed {
		p, more, err := s.read(g.buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, io.EOF):
			g.end(s, fmt.Errorf("read stream: closed by the server"))
			return
		case err != nil:
			g.end(s, fmt.Errorf("read stream: %w", err))
			return
		}
		g.bytes += int64(len(p))
		if err := g.take(s, p, g.clock.now()); err != nil {
			g.end(s, err)
			return
		}
		// Edge-triggered: a short read means that the socket is empty, unless its end came with the data.
		if !more && events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
			return
		}
	}
}

// loop polls until done, or for that long; it says whether done.
func (g *Generator) loop(limit time.Duration, done func() bool) (bool, error) {
	deadline := g.clock.now() + int64(limit)
	for !done() {
		left := deadline - g.clock.now()
		if left <= 0 {
			return false, nil
		}
		if err := g.poll(min(time.Duration(left), 100*time.Millisecond)); err != nil {
			return false, err
		}
	}
	return true, nil
}

// reset forgets everything that was counted. The next measured event bears the number first; with a negative one the
// streams go on as they are.
func (g *Generator) reset(first int64) {
	g.events, g.delivered, g.bytes, g.dropped, g.failed, g.fault = 0, 0, 0, 0, 0, nil
	g.latency = histogram{}
	if first < 0 {
		return
	}
	for _, s := range g.open {
		s.next, s.fate = first, fate{}
	}
}

// expect says which user count all should come to hear, -1: none.
func (g *Generator) expect(count int64) {
	g.want, g.knowing, g.knewAt = count, 0, 0
	for _, s := range g.open {
		if s.count == count && count >= 0 {
			g.knowing++
		}
	}
}
