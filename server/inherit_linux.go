package main

import (
	"net"

	"headcount"
	"headcount/internal/handover"
)

// predecessor is the process that hands over to this one, and what it sent. It is nil if there is no such process.
type predecessor struct {
	from   *handover.Predecessor
	parcel *handover.Parcel
}

// inherit returns the process that started this one to hand over to it, or nil.
func inherit() (*predecessor, error) {
	from, err := handover.Inherit()
	if err != nil || from == nil {
		return nil, err
	}
	return &predecessor{from: from, parcel: new(handover.Parcel)}, nil
}

// receive stops the other process and takes over its state. Until ready, the other process resumes if anything fails
// here.
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

// listener returns a listener that was taken over, or nil.
func (p *predecessor) listener(name string) (net.Listener, error) {
	if p == nil {
		return nil, nil
	}
	return p.parcel.Listener(name)
}

// ready confirms the takeover and waits until the other process has released its state. It returns the connections that
// wait for a request.
func (p *predecessor) ready() ([]net.Conn, error) {
	if p == nil {
		return nil, nil
	}
	if err := p.from.Ready(); err != nil {
		return nil, err
	}
	conns, err := p.parcel.TakeConnections()
	p.parcel.Streams = nil // other objects own them now
	p.parcel.Close()
	return conns, err
}

// refuse tells the other process why this one does not take over.
func (p *predecessor) refuse(why error) {
	if p != nil {
		p.from.Refuse(why)
	}
}
