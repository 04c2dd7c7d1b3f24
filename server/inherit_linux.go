package main

import (
	"net"

	"headcount"
	"headcount/internal/handover"
)

// predecessor is the process that hands over to this one, and what it sent; nil if this one is the first.
type predecessor struct {
	from   *handover.Predecessor
	parcel *handover.Parcel
}

// inherit returns the process that has started this one to hand over to it, nil if none has.
func inherit() (*predecessor, error) {
	from, err := handover.Inherit()
	if err != nil || from == nil {
		return nil, err
	}
	return &predecessor{from: from, parcel: new(handover.Parcel)}, nil
}

// receive stops the other process and takes over what it has. Until ready, it goes on there if anything goes wrong here.
func (p *predecessor) receive() (*headcount.Snapshot, error) {
	if p == nil {
		return nil, nil
	}
	parcel, err := p.from.Receive()
	if err != nil {
		return nil, err
	}
	p.parcel = parcel
	return headcount.ReadSnapshot(parcel.State, parcel.Streams)
}

// listener returns a listener that was taken over, nil if there is none.
func (p *predecessor) listener(name string) (net.Listener, error) {
	if p == nil {
		return nil, nil
	}
	return p.parcel.Listener(name)
}

// ready confirms that everything is here, and waits until the other process has let go of it. It returns the connections
// that wait for a request.
func (p *predecessor) ready() ([]net.Conn, error) {
	if p == nil {
		return nil, nil
	}
	if err := p.from.Ready(); err != nil {
		return nil, err
	}
	conns, err := p.parcel.TakeConnections()
	p.parcel.Streams = nil // they have owners now
	p.parcel.Close()
	return conns, err
}

// refuse says why this process does not go on.
func (p *predecessor) refuse(why error) {
	if p != nil {
		p.from.Refuse(why)
	}
}
