package main

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"headcount/internal/auth"
	"headcount/internal/engine"
	"headcount/internal/wire"
)

// idleTime is how long a connection may be idle between requests. It is longer than the time for which proxies keep
// idle connections.
const idleTime = 2 * time.Minute

// idleConns closes connections without a request. It closes those that were idle for idleTime. If an address has more
// than its maximum, it closes the oldest ones, because each is an open file and one stranger could take all of them. An
// honest client whose connection is closed between two requests opens a new one. A trusted proxy holds the connections
// of many users and may have twice as many.
//
// http.Server.IdleTimeout would close idle connections too. But its timer for HTTP/2 outlives the connection. For that
// time it keeps all requests in memory that were cancelled before they began. That is up to a thousand requests, 6 MB,
// for each connection that a stranger opens and drops.
type idleConns struct {
	most    int // for one address; a trusted proxy may have twice as many
	trusted []netip.Prefix

	mu    sync.Mutex
	conns map[net.Conn]idleConn
	from  map[netip.Prefix]*list.List // net.Conn values, the oldest first
	one   map[net.Conn]struct{}       // connections with HTTP/1

	leaving leaving // connections that go to another process
}

// idleConn is the record of a connection without a request.
type idleConn struct {
	from  netip.Prefix
	place *list.Element // element of idleConns.from
	since time.Time
	timer *time.Timer // nil before the first request, which ReadHeaderTimeout limits
}

// idleOfAddress returns how many connections without a request an address may have. It is a quarter of the open files
// that streams do not use.
func idleOfAddress(files, processors int) int {
	if files == 0 {
		return 250
	}
	return max(16, (files-engine.StreamsFor(files, processors))/4)
}

func newIdleConns(most int, trusted []netip.Prefix) *idleConns {
	return &idleConns{most: most, trusted: trusted, conns: make(map[net.Conn]idleConn), from: make(map[netip.Prefix]*list.List), one: make(map[net.Conn]struct{})}
}

// plainListener accepts connections without TLS, which may go to another process.
type plainListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if _, again := c.(*wire.Preread); err == nil && !again {
		c = &wire.Preread{Conn: c, Header: headerTime}
	}
	return c, err
}

// serves notes that a connection carries HTTP/1, between whose requests nothing is left in net/http.
func (i *idleConns) serves(c net.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.one[c] = struct{}{}
}

// between returns connections between two requests that were taken from net/http, to be served again.
func (i *idleConns) between(conns []net.Conn) []net.Conn {
	again := make([]net.Conn, len(conns))
	for k, c := range conns {
		again[k] = &wire.Preread{Conn: c, Idle: idleTime, Header: headerTime}
		i.serves(again[k])
	}
	return again
}

// changed implements http.Server.ConnState.
func (i *idleConns) changed(c net.Conn, state http.ConnState) {
	for _, old := range i.note(c, state) {
		_ = innermostConn(old).Close()
	}
}

// crowdTime is how long a connection may always be without a request. Many clients of one address connect at once after
// a restart, and the server needs a moment to read what they send.
const crowdTime = 2 * time.Second

// note records a change of state. It returns the connections to close.
func (i *idleConns) note(c net.Conn, state http.ConnState) (old []net.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leaving.changed(c, state)
	i.forget(c)
	if p, ok := c.(*wire.Preread); ok && state == http.StateIdle {
		p.Rest()
	}
	if state == http.StateClosed || state == http.StateHijacked {
		delete(i.one, c)
	}
	if state != http.StateNew && state != http.StateIdle {
		return nil
	}
	from, proxy := auth.Peer(c, i.trusted)
	one := idleConn{from: from, since: time.Now()}
	if _, served := i.one[c]; served || state == http.StateIdle {
		one.timer = time.AfterFunc(idleTime, func() { _ = c.Close() })
	}
	if i.from[from] == nil {
		i.from[from] = list.New()
	}
	one.place = i.from[from].PushBack(c)
	i.conns[c] = one
	most := i.most
	if proxy {
		most *= 2
	}
	for i.from[from].Len() > most {
		oldest := i.from[from].Front().Value.(net.Conn)
		if time.Since(i.conns[oldest].since) < crowdTime || unread(oldest) {
			break
		}
		i.forget(oldest)
		old = append(old, oldest)
	}
	return old
}

// restTime is how long the connections that stay in a process without listeners may be idle before they are closed.
const restTime = time.Second

// rest waits until no connection is left without a request, because an idle one may be sending a request when it is
// closed. It waits at most restTime.
func (i *idleConns) rest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, restTime)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i.any() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (i *idleConns) any() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.conns) > 0
}

// forget removes a connection from the lists. The caller holds i.mu.
func (i *idleConns) forget(c net.Conn) {
	one, ok := i.conns[c]
	if !ok {
		return
	}
	delete(i.conns, c)
	if one.timer != nil {
		one.timer.Stop()
	}
	i.from[one.from].Remove(one.place)
	if i.from[one.from].Len() == 0 {
		delete(i.from, one.from)
	}
}

// innermostConn returns the connection below TLS. Closing the TLS connection would send close_notify and could block.
func innermostConn(c net.Conn) net.Conn {
	if secure, ok := c.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c
}
