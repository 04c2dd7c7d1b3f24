package web

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

// Leases. A proxy may keep its side of a stream open long after the reader has gone,
// so a stream with a client id that came through one proves nothing by being open:
// it is asked, and counts while it answers.
const (
	pingEvery = 25 * time.Second
	// leaseTime is two pings without an answer and the time an answer may take: who
	// vanished is gone within 60 s.
	leaseTime = 2*pingEvery + 5*time.Second
	// confirmWithin is how long the first answer may take. A stream that has not been
	// answered by then is probably held back on the way; ending it cleanly hands what
	// it holds over.
	confirmWithin = 5 * time.Second
	// returnWithin is how long one who was told to come back at once may take: what is on
	// the way may be slow, though it says nothing of itself, but who vanished directly is
	// to be gone within 30 s, of which a poll may take 20 and lingering 2.
	returnWithin = 7 * time.Second
	// detourWithin is the same behind a proxy, which may be slow: to read all of an answer,
	// to have it scanned for viruses, to connect anew.
	detourWithin = 10 * time.Second
	// seldomWithin and seldomDetourWithin are the same for one who asks for many rooms in turn, by polls that do not wait.
	// A hidden page does so every 10 s or so. With -linger they are less than the 30 s and the 60 s of those who vanish.
	seldomWithin       = 25 * time.Second
	seldomDetourWithin = 50 * time.Second
)

// proxied says that the request came through a proxy, or may have: HTTP/2 is what a
// proxy speaks to many readers on one connection, so its end says nothing of one.
func proxied(r *http.Request) bool {
	return r.ProtoMajor >= 2 || forwarded(r) || relayed(r)
}

// forwarded says that a proxy on the way has said so.
func forwarded(r *http.Request) bool {
	return r.Header.Get("Via") != "" || r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != ""
}

// relayed recognizes the proxies that name themselves in no header unless they are
// told to. Nginx speaks HTTP/1.0, and every browser asks for keep-alive: nginx and
// Node's http-proxy make "close" of it, HAProxy drops it. Nothing tells Privoxy from a
// browser, and nothing tells these from a program that connects like them.
func relayed(r *http.Request) bool {
	return !r.ProtoAtLeast(1, 1) || browser(r) && !strings.EqualFold(r.Header.Get("Connection"), "keep-alive")
}

// readdressed says that the client asked for another address than the one at which its request arrived. So something
// between them passed it on: a relay of TCP, which says nothing of itself and keeps its side open when the client has
// vanished, or the kernel, by a port mapping, which does no harm. Nothing tells a relay at the port that the name stands
// for from no relay.
//
// Some proxies put another address into Host. So "client watch" says in Referer too where it asked; a browser says there
// which page asked, which may be anybody's.
func readdressed(r *http.Request) bool {
	arrived, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	asked, tls := r.Host, r.TLS != nil
	if from, err := url.Parse(r.Referer()); err == nil && from.Host != "" && !browser(r) {
		asked, tls = from.Host, from.Scheme == "https"
	}
	if !ok || asked == "" {
		return false
	}
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		host, port = strings.Trim(asked, "[]"), "80"
		if tls {
			port = "443"
		}
	}
	if port != strconv.Itoa(arrived.Port) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.WithZone("").Unmap() != arrived.AddrPort().Addr().WithZone("").Unmap()
}

// browser says that a browser sent the request. Only they have antivirus between
// them and the network that holds back the last event, see wire.Push.
func browser(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "Mozilla/") }

// alive serves POST /alive.
func (s *Server) alive(c echo.Context) error {
	u, err := readUsers(c)
	if err != nil {
		return err
	}
	if _, err := s.admit(c, u.Room); err != nil {
		return err
	}
	if err := s.mayRenew(c, u); err != nil {
		return err
	}
	if s.opt.Cluster != nil {
		s.renewAnywhere(c.Request().Context(), u.Room, u.IDs)
	} else {
		for _, id := range u.IDs {
			s.renew(u.Room, id)
		}
	}
	s.recount(u.Room)
	s.wakeExpiry()
	return c.NoContent(http.StatusNoContent)
}

// minLeases is how many users may be counted without a stream that proves them, at least.
const minLeases = 100_000

// mayRenew refuses ids that are new here if they are too many: an id is only a word, and
// anybody can make up any number.
func (s *Server) mayRenew(c echo.Context, u users) error {
	fresh := 0
	for _, id := range u.IDs {
		if !s.table.Knows(u.Room, id) {
			fresh++
		}
	}
	if fresh > 0 && s.table.Leases()+fresh > s.maxLeases {
		return unavailable(byUsers, "this server remembers as many users without a stream as it may; open a stream, or come back in a few seconds")
	}
	if !s.rates.allow(addressKey(c.Echo().IPExtractor, c.Request()), time.Now(), fresh) {
		return tooFast()
	}
	return nil
}

// renew counts the id for another leaseTime.
func (s *Server) renew(room, id string) {
	for _, open := range s.table.Renew(room, id, time.Now().Add(leaseTime)) {
		if st, ok := open.(*stream); ok {
			st.confirm()
		}
	}
}

// lease is what is known of a stream that proves nothing by being open.
type lease struct {
	named     bool // it has a client id: it is asked; the others only grow old
	voluntary bool // it need not answer: who never does counts by being open
	strict    bool // it counts by its answers alone; guarded by Server.mu
	opened    time.Time
	pinged    time.Time // guarded by Server.mu
	confirmed atomic.Bool
}

// lease puts a stream under the rules of leases, until it is gone.
func (s *Server) lease(st *stream) {
	if !st.lease.voluntary {
		s.table.Lease(st.ticket, st.lease.opened.Add(confirmWithin+returnWithin))
	}
	s.mu.Lock()
	st.lease.strict = !st.lease.voluntary
	s.leased[st] = struct{}{}
	s.mu.Unlock()
	s.wakeExpiry()
}

// confirm says that the stream's reader has answered.
func (st *stream) confirm() {
	if st.lease != nil {
		st.lease.confirmed.Store(true)
	}
}

// askLeased pings the leased streams that are due, ends those that were never
// answered, and those of proxied readers without id that have lasted long enough. Who
// answers without need is held to it from the first answer on.
func (s *Server) askLeased(now time.Time) {
	var ping, mute, old, hold []*stream
	s.mu.Lock()
	for st := range s.leased {
		l := st.lease
		switch {
		case !l.named:
			if now.Sub(l.opened) >= s.opt.MaxAge {
				old = append(old, st)
			}
		case !l.confirmed.Load():
			if !l.voluntary && now.Sub(l.opened) >= confirmWithin {
				mute = append(mute, st)
			}
		case !l.strict:
			l.strict = true
			hold = append(hold, st)
		case now.Sub(l.pinged) >= pingEvery:
			l.pinged = now
			ping = append(ping, st)
		}
	}
	s.mu.Unlock()
	for _, st := range hold {
		s.table.Lease(st.ticket, now.Add(leaseTime))
	}
	for _, st := range ping {
		st.ping()
	}
	for _, st := range old {
		st.end(retry())
	}
	for _, st := range mute {
		st.returning.Store(true)
		st.end(soon())
	}
}
