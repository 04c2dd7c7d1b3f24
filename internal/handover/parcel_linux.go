package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Parcel is what is handed over. The receiver owns the descriptors in it.
type Parcel struct {
	Listeners   []Listener
	Connections []int  // descriptors of connections between requests
	Streams     []int  // descriptors of open streams
	State       []byte // describes these
}

// Listener is the descriptor of a listener and the name by which the next process looks it up.
type Listener struct {
	Name string
	FD   int
}

// Close closes every descriptor.
func (p *Parcel) Close() {
	for _, l := range p.Listeners {
		_ = unix.Close(l.FD)
	}
	for _, fd := range slices.Concat(p.Connections, p.Streams) {
		_ = unix.Close(fd)
	}
	*p = Parcel{}
}

// TakeConnections takes the connections between requests out of the parcel. It leaves out those that their clients have
// reset.
func (p *Parcel) TakeConnections() (all []net.Conn, err error) {
	fds := p.Connections
	p.Connections = nil
	for _, fd := range fds {
		file := os.NewFile(uintptr(fd), "connection")
		c, e := net.FileConn(file)
		_ = file.Close() // FileConn has made its own
		switch {
		case e != nil:
			err = errors.Join(err, e)
		case c.RemoteAddr() == nil:
			_ = c.Close()
		default:
			all = append(all, c)
		}
	}
	return all, err
}

// Listener takes the listener called name out of the parcel. It returns nil if there is none.
func (p *Parcel) Listener(name string) (net.Listener, error) {
	for i, l := range p.Listeners {
		if l.Name == name {
			p.Listeners = append(p.Listeners[:i:i], p.Listeners[i+1:]...)
			return fileListener(l.FD)
		}
	}
	return nil, nil
}

// label comes before the descriptors. It has their number.
type label struct {
	Listeners   []string
	Connections int
	Streams     int
}

// batch is how many descriptors go with one message. The kernel accepts 253.
const batch = 250

// maxLabel limits the memory for a label.
const maxLabel = 64 << 10

// errDescriptors reports that the kernel dropped some of the descriptors that were sent.
var errDescriptors = errors.New("this process may not open as many files; raise its limit (LimitNOFILE=, ulimit -n)")

// send sends p. If state is not nil, it makes the state of p while the descriptors are on their way.
func send(c *net.UnixConn, p Parcel, state func() ([]byte, error)) error {
	made := make(chan error, 1)
	if state == nil {
		made <- nil
	} else {
		go func() {
			var err error
			p.State, err = state()
			made <- err
		}()
	}
	err := sendDescriptors(c, p.Listeners, p.Connections, p.Streams)
	if err := errors.Join(err, <-made); err != nil {
		return err
	}
	if _, err := c.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p.State)))); err != nil {
		return fmt.Errorf("send state: %w", err)
	}
	if _, err := c.Write(p.State); err != nil {
		return fmt.Errorf("send state: %w", err)
	}
	return nil
}

func sendDescriptors(c *net.UnixConn, listeners []Listener, connections, streams []int) error {
	about := label{Connections: len(connections), Streams: len(streams)}
	var all []int
	for _, l := range listeners {
		about.Listeners = append(about.Listeners, l.Name)
		all = append(all, l.FD)
	}
	text, err := json.Marshal(about)
	if err != nil {
		return fmt.Errorf("send parcel: %w", err)
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)); err != nil {
		return fmt.Errorf("send parcel: %w", err)
	}
	all = slices.Concat(all, connections, streams)
	for len(all) > 0 {
		n := min(batch, len(all))
		if _, _, err := c.WriteMsgUnix([]byte{byte(n)}, unix.UnixRights(all[:n]...), nil); err != nil {
			return fmt.Errorf("send descriptors: %w", err)
		}
		all = all[n:]
	}
	return nil
}

func receive(c *net.UnixConn) (*Parcel, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(c, size); err != nil {
		return nil, fmt.Errorf("receive parcel: %w", err)
	}
	n := binary.BigEndian.Uint32(size)
	if n > maxLabel {
		return nil, fmt.Errorf("receive parcel: its label has %d bytes", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(c, text); err != nil {
		return nil, fmt.Errorf("receive parcel: %w", err)
	}
	var about label
	if err := json.Unmarshal(text, &about); err != nil {
		return nil, fmt.Errorf("receive parcel: %w", err)
	}
	all, err := receiveDescriptors(c, len(about.Listeners)+about.Connections+about.Streams)
	p := &Parcel{Streams: all}
	if err == nil {
		p.State, err = receiveState(c)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	for i, name := range about.Listeners {
		p.Listeners = append(p.Listeners, Listener{name, all[i]})
	}
	all = all[len(about.Listeners):]
	p.Connections, p.Streams = all[:about.Connections], all[about.Connections:]
	return p, nil
}

func receiveState(c *net.UnixConn) ([]byte, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(c, size); err != nil {
		return nil, fmt.Errorf("receive state: %w", err)
	}
	state := make([]byte, binary.BigEndian.Uint32(size))
	if _, err := io.ReadFull(c, state); err != nil {
		return nil, fmt.Errorf("receive state: %w", err)
	}
	return state, nil
}

// receiveDescriptors returns the descriptors that came, even if there were fewer than n.
func receiveDescriptors(c *net.UnixConn, n int) (all []int, err error) {
	one, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4*batch))
	for len(all) < n {
		read, control, flags, _, err := c.ReadMsgUnix(one, oob)
		if err != nil {
			return all, fmt.Errorf("receive descriptors: %w", err)
		}
		if read == 0 {
			return all, fmt.Errorf("receive descriptors: %w", io.ErrUnexpectedEOF)
		}
		messages, err := unix.ParseSocketControlMessage(oob[:control])
		if err != nil {
			return all, fmt.Errorf("receive descriptors: %w", err)
		}
		got := 0
		for _, m := range messages {
			fds, err := unix.ParseUnixRights(&m)
			if err != nil {
				return all, fmt.Errorf("receive descriptors: %w", err)
			}
			all = append(all, fds...)
			got += len(fds)
		}
		if flags&unix.MSG_CTRUNC != 0 || got != int(one[0]) {
			return all, fmt.Errorf("receive descriptors: %w", errDescriptors)
		}
	}
	return all, nil
}
