package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"headcount"
	"headcount/internal/handover"
	"headcount/internal/wire"
)

// predecessor is the process that hands over to this one, and what it sent. It is nil if there is no such process.
type predecessor struct {
	from   *handover.Predecessor
	parcel *handover.Parcel
	addr   net.Addr      // of the public listener
	ended  chan struct{} // closed when no more connections come

	percent int // of debug.SetGCPercent
}

// findPredecessor returns the process that started this one to hand over to it, or nil.
func findPredecessor() (*predecessor, error) {
	from, err := handover.FindPredecessor()
	if err != nil || from == nil {
		return nil, err
	}
	return &predecessor{from: from, parcel: new(handover.Parcel), ended: make(chan struct{})}, nil
}

// receive stops the other process and takes over its state. Until ready, the other process resumes if anything fails
// here.
func (p *predecessor) receive() (*headcount.Snapshot, error) {
	if p == nil {
		return nil, nil
	}
	p.percent = debug.SetGCPercent(-1) // until ready, because nobody is served until then
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

// collectAfter is after what time garbage is collected again. The streams continue first.
const collectAfter = time.Second

// ready confirms the takeover and waits until the other process has released its state. It returns the connections that
// wait for a request.
func (p *predecessor) ready(log *slog.Logger) ([]net.Conn, error) {
	if p == nil {
		return nil, nil
	}
	err := p.from.Ready()
	time.AfterFunc(collectAfter, func() { debug.SetGCPercent(p.percent) })
	if err != nil {
		return nil, err
	}
	conns, err := p.parcel.TakeConnections()
	if err != nil { // the other process is gone already, and the streams are worth more
		log.Warn("some connections between requests were lost", "error", err)
	}
	clear(p.parcel.State)  // has keys of TLS
	p.parcel.Streams = nil // other objects own them now
	p.parcel.Close()
	return conns, nil
}

// lateConns returns a listener for the connections that the other process forwards until it ends. It returns nil if
// there is no such process.
func (p *predecessor) lateConns(addr net.Addr) net.Listener {
	if p == nil {
		return nil
	}
	p.addr = addr
	return p
}

// awaitLate waits until the other process forwards no more connections.
func (p *predecessor) awaitLate(ctx context.Context) {
	if p == nil {
		return
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
	}
}

// Accept implements [net.Listener].
func (p *predecessor) Accept() (net.Conn, error) {
	for {
		parcel, err := p.from.Next()
		if err != nil {
			close(p.ended) // http.Server does not call Accept again
			return nil, errors.Join(net.ErrClosed, err)
		}
		if conn, err := forwardedConn(parcel); err == nil {
			return conn, nil
		} // others may come after one that failed
	}
}

// forwardedConn takes the connection out of a parcel.
func forwardedConn(parcel *handover.Parcel) (net.Conn, error) {
	defer parcel.Close()
	var about forwarded
	if err := json.Unmarshal(parcel.State, &about); err != nil {
		return nil, fmt.Errorf("read about connection: %w", err)
	}
	conns, err := parcel.TakeConnections()
	if err != nil || len(conns) != 1 {
		return nil, errors.Join(fmt.Errorf("got %d connections, want 1", len(conns)), err)
	}
	conn := conns[0]
	local, lerr := netip.ParseAddrPort(about.Local)
	remote, rerr := netip.ParseAddrPort(about.Remote)
	if _, ok := conn.(*net.UnixConn); ok && lerr == nil && rerr == nil {
		conn = &relayed{conn, net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(remote), about.TLS}
	}
	return &wire.Preread{Conn: conn, Bytes: about.Read}, nil
}

// Close implements [net.Listener].
func (p *predecessor) Close() error { return p.from.Close() }

// Addr implements [net.Listener].
func (p *predecessor) Addr() net.Addr { return p.addr }

// refuse sends the other process the reason why this one does not take over.
func (p *predecessor) refuse(why error) {
	if p != nil {
		p.from.Refuse(why)
	}
}
