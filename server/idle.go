package main

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"headcount/internal/auth"
	"headcount/internal/engine"
)

// idleTime is how long a connection may be idle between requests: longer than proxies keep theirs.
const idleTime = 2 * time.Minute

// idleConns closes connections without a request. Those that had none for idleTime go, and of an address that has more than
// so many the oldest: each is an open file, and one stranger could have all of them. An honest client whose connection is
// closed between two requests makes another. A trusted proxy has the connections of many, and may have twice as many.
//
// With http.Server.IdleTimeout net/http would do the first, but its timer for HTTP/2 outlives the connection, and keeps in
// memory for that long all requests that were cancelled before they had begun: up to a thousand, 6 MB, for each connection
// that a stranger opens and drops.
type idleConns struct {
	most    int // of one address, of a trusted proxy twice as many
	trusted []netip.Prefix

	mu    sync.Mutex
	conns map[net.Conn]idleConn
	from  map[netip.Prefix]*list.List // of net.Conn, the oldest first

	leaving leaving      // those that go to another process
	changes atomic.Int32 // requests under way that may change something
}

// idleConn is what is known of a connection without a request.
type idleConn struct {
	from  netip.Prefix
	place *list.Element // in idleConns.from
	timer *time.Timer   // nil before the first request, for which the header has its own time
}

// idleOfAddress returns how many connections without a request an address may have: a quarter of the open files that are
// not for streams.
func idleOfAddress(files, processors int) int {
	if files == 0 {
		return 250
	}
	return max(16, (files-engine.StreamsFor(files, processors))/4)
}

func newIdleConns(most int, trusted []netip.Prefix) *idleConns {
	return &idleConns{most: most, trusted: trusted, conns: make(map[net.Conn]idleConn), from: make(map[netip.Prefix]*list.List)}
}

// counted counts the requests that change something.
func (i *idleConns) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			i.changes.Add(1)
			defer i.changes.Add(-1)
		}
		next.ServeHTTP(w, r)
	})
}

// changed is for http.Server.ConnState.
func (i *idleConns) changed(c net.Conn, state http.ConnState) {
	if oldest := i.note(c, state); oldest != nil {
		_ = innermostConn(oldest).Close()
	}
}

// note returns the connection that is to be closed, nil if none is.
func (i *idleConns) note(c net.Conn, state http.ConnState) (oldest net.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leaving.changed(c, state)
	i.forget(c)
	if state != http.StateNew && state != http.StateIdle {
		return nil
	}
	from, proxy := auth.Peer(c, i.trusted)
	one := idleConn{from: from}
	if state == http.StateIdle {
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
	if i.from[from].Len() <= most {
		return nil
	}
	oldest = i.from[from].Front().Value.(net.Conn)
	i.forget(oldest)
	return oldest
}

// forget takes a connection off the lists. i.mu is held.
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

// innermostConn returns what is below TLS, whose goodbye could wait for a reader.
func innermostConn(c net.Conn) net.Conn {
	if secure, ok := c.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c
}
