package handover

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

// proceed is the byte that lets the next process continue.
const proceed = 'g'

// Predecessor is the process that started this one to hand over to it.
type Predecessor struct{ conn *net.UnixConn }

// FindPredecessor returns the process that hands over to this one. It returns nil if there is none.
func FindPredecessor() (*Predecessor, error) {
	text := os.Getenv(variable)
	if text == "" {
		return nil, nil
	}
	if err := os.Unsetenv(variable); err != nil { // it is not for the processes that this one starts
		return nil, fmt.Errorf("find predecessor: %w", err)
	}
	fd, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("find predecessor: %s=%q is no descriptor", variable, text)
	}
	conn, err := fileConn(fd)
	if err != nil {
		return nil, fmt.Errorf("find predecessor: %w", err)
	}
	return &Predecessor{conn}, nil
}

// Receive sends a hello, which makes the other process stop, and returns what the other process sends then.
func (p *Predecessor) Receive() (*Parcel, error) {
	if err := p.send(message{Hello: true}); err != nil {
		return nil, err
	}
	return receive(p.conn)
}

// Ready confirms that this process has everything, and waits until the other one lets it continue. After an error, do
// not touch anything that was received, except to close it.
func (p *Predecessor) Ready() error {
	if err := p.send(message{Ready: true}); err != nil {
		return err
	}
	reply := make([]byte, 1)
	if _, err := io.ReadFull(p.conn, reply); err != nil {
		return fmt.Errorf("the old process has not said go: %w", err)
	}
	if reply[0] != proceed {
		return fmt.Errorf("the old process said %q instead of go", reply)
	}
	return nil
}

// Next returns the next parcel that the other process forwards after it has let this one continue. It returns [io.EOF]
// if no more come, and another error after [Predecessor.Close].
func (p *Predecessor) Next() (*Parcel, error) { return receive(p.conn) }

// Close takes no more parcels.
func (p *Predecessor) Close() error { return p.conn.Close() }

// Refuse sends the other process the reason why this one does not continue.
func (p *Predecessor) Refuse(why error) {
	_ = p.send(message{Refused: why.Error()}) // otherwise the other process notices that this one ends
	_ = p.conn.Close()
}

func (p *Predecessor) send(m message) error {
	if err := json.NewEncoder(p.conn).Encode(m); err != nil {
		return fmt.Errorf("send to the old process: %w", err)
	}
	return nil
}
