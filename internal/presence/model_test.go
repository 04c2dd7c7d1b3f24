package presence_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headcount/internal/presence"
)

// Streams open, close, leave, renew and expire in any order. The table counts as a naive model does, and nothing is
// left in the end.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		linger := rapid.SampledFrom([]time.Duration{0, time.Second, 5 * time.Second}).Draw(t, "linger")
		m := &model{
			T: t, linger: linger, table: presence.New(linger), now: time.Unix(1e9, 0),
			users: map[userKey]*modelUser{}, anon: map[string]int{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"open":            m.open,
			"open again":      m.open, // twice as likely
			"open leased":     m.openLeased,
			"lease":           m.lease,
			"close":           m.close,
			"renew":           m.renew,
			"returned":        m.returned,
			"leave":           m.leave,
			"leave by":        m.leaveBy,
			"time":            m.time,
			"expire":          m.expire,
			"expire when due": m.expireWhenDue,
			"hand over":       m.handOver,
			"":                m.check,
		})
		m.finish()
	})
}

type userKey struct{ room, id string }

// modelUser is a user that is counted.
type modelUser struct {
	open      []*modelStream
	all       []*modelStream // all streams that it ever had
	spokenFor bool           // renewed since its newest stream ended
	leaving   bool
	until     time.Time
	back      time.Time
}

type modelStream struct {
	table  *presence.Table
	ticket *presence.Ticket
	key    userKey
	leased bool
	closed bool
	left   int // how often the table told it to end
	told   int // how often the table should have done so
}

// Left is called without any lock. A call back into the table must not wait for ever.
func (s *modelStream) Ticket() *presence.Ticket { return new(presence.Ticket) }

func (s *modelStream) Left() {
	s.left++
	s.table.Count(s.key.room)
}

func (u *modelUser) proven() bool {
	return slices.ContainsFunc(u.open, func(s *modelStream) bool { return !s.leased })
}

type model struct {
	*rapid.T
	linger  time.Duration
	table   *presence.Table
	now     time.Time
	users   map[userKey]*modelUser
	anon    map[string]int
	streams []*modelStream // all streams that ever were, also closed ones and those that left
}

func (m *model) key(t *rapid.T) userKey {
	return userKey{
		rapid.SampledFrom([]string{"a", "b"}).Draw(t, "room"),
		rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "id"),
	}
}

func (m *model) add(k userKey) *modelStream {
	s := &modelStream{table: m.table, key: k}
	s.ticket = m.table.Open(k.room, k.id, s)
	m.streams = append(m.streams, s)
	if k.id == "" {
		m.anon[k.room]++
		return s
	}
	u := m.user(k)
	u.open = append(u.open, s)
	u.all = append(u.all, s)
	u.spokenFor, u.leaving = false, false
	return s
}

func (m *model) user(k userKey) *modelUser {
	if m.users[k] == nil {
		m.users[k] = &modelUser{}
	}
	return m.users[k]
}

func (m *model) open(t *rapid.T) {
	k := m.key(t)
	if rapid.IntRange(0, 3).Draw(t, "anonymous") == 0 {
		k.id = ""
	}
	m.add(k)
}

func (m *model) openLeased(t *rapid.T) { m.setLeased(t, m.add(m.key(t))) }

// lease may also pick a stream that has ended, or one without a client id.
func (m *model) lease(t *rapid.T) {
	if s := m.pick(t); s != nil {
		m.setLeased(t, s)
	}
}

func (m *model) setLeased(t *rapid.T, s *modelStream) {
	until := m.now.Add(m.span(t))
	m.table.Lease(s.ticket, until)
	if u := m.users[s.key]; s.key.id != "" && u != nil && slices.Contains(u.open, s) {
		s.leased = true
		if !u.leaving {
			u.until = later(u.until, until)
		}
	}
}

func (m *model) span(t *rapid.T) time.Duration {
	return time.Duration(rapid.IntRange(0, 10).Draw(t, "seconds")) * time.Second
}

func (m *model) pick(t *rapid.T) *modelStream {
	if len(m.streams) == 0 {
		return nil
	}
	return m.streams[rapid.IntRange(0, len(m.streams)-1).Draw(t, "stream")]
}

// close may also pick a stream that is closed, or whose user has left since.
func (m *model) close(t *rapid.T) {
	if s := m.pick(t); s != nil {
		m.end(s, time.Duration(rapid.IntRange(0, 2).Draw(t, "longer"))*time.Second)
	}
}

func (m *model) end(s *modelStream, longer time.Duration) {
	if longer == 0 {
		m.table.Close(s.ticket, m.now)
	} else {
		m.table.CloseFor(s.ticket, m.now, longer)
	}
	if s.closed {
		return
	}
	s.closed = true
	if s.key.id == "" {
		m.anon[s.key.room]--
		return
	}
	u := m.users[s.key]
	if u == nil || !slices.Contains(u.open, s) {
		return
	}
	u.open = slices.DeleteFunc(u.open, func(o *modelStream) bool { return o == s })
	if u.leaving {
		return
	}
	u.back = later(u.back, m.now.Add(m.linger+longer))
	switch {
	case len(u.open) == 0 && !u.spokenFor:
		u.until = u.back
	case !u.proven():
		u.until = later(u.until, u.back)
	}
	if len(u.open) == 0 && !u.until.After(m.now) {
		delete(m.users, s.key)
	}
}

// returned may also pick a stream that is closed, or whose user has left since.
func (m *model) returned(t *rapid.T) {
	s := m.pick(t)
	if s == nil {
		return
	}
	m.table.Returned(s.ticket)
	if u := m.users[s.key]; s.key.id != "" && u != nil && slices.Contains(u.all, s) {
		u.back = time.Time{}
	}
}

func (m *model) renew(t *rapid.T) {
	k, until := m.key(t), m.now.Add(m.span(t))
	got := m.table.Renew(k.room, k.id, until)
	u := m.user(k)
	if !u.leaving {
		u.until = later(u.until, until)
	}
	u.spokenFor = u.spokenFor || len(u.all) == 0 || u.all[len(u.all)-1].closed
	if len(got) != len(u.open) {
		m.Fatalf("renew returned %d streams, want %d", len(got), len(u.open))
	}
	for _, s := range got {
		if !slices.Contains(u.open, s.(*modelStream)) {
			m.Fatalf("renew returned a stream of somebody else")
		}
	}
}

func (m *model) leave(t *rapid.T) {
	k := m.key(t)
	m.table.Leave(k.room, k.id)
	if u := m.users[k]; u != nil {
		for _, s := range u.open {
			s.told++
		}
		delete(m.users, k)
	}
}

// handOver continues with another table, which must behave as the old one would. The model does not change.
func (m *model) handOver(t *rapid.T) {
	state := m.table.Export(m.now)
	next := presence.New(m.linger)
	m.streams = slices.DeleteFunc(m.streams, func(s *modelStream) bool { return s.closed })
	for _, i := range rapid.Permutation(indexes(len(m.streams))).Draw(t, "order") {
		s := m.streams[i]
		s.ticket = next.Reopen(s.key.room, m.table.ExportTicket(s.ticket), s)
		s.table = next
	}
	m.now = m.now.Add(time.Hour) // the other process has a clock of its own
	for _, u := range m.users {
		u.until, u.back = u.until.Add(time.Hour), u.back.Add(time.Hour)
	}
	next.Import(state, m.now, time.Minute)
	m.table = next
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func (m *model) leaveBy(t *rapid.T) {
	k, at := m.key(t), m.now.Add(m.span(t))
	m.table.LeaveBy(k.room, k.id, at)
	u := m.users[k]
	if u == nil {
		return
	}
	if u.leaving || !u.proven() {
		u.until, u.leaving = earlier(u.until, at), true
	} else {
		u.until, u.leaving = at, true
	}
}

func (m *model) time(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 6000).Draw(t, "ms")) * time.Millisecond)
}

func (m *model) expire(*rapid.T) {
	var want []string
	for k, u := range m.users {
		if u.proven() && !u.leaving || u.until.After(m.now) {
			continue
		}
		for _, s := range u.open {
			s.told++
		}
		delete(m.users, k)
		if !slices.Contains(want, k.room) {
			want = append(want, k.room)
		}
	}
	got := m.table.Expire(m.now)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		m.Fatalf("expire changed %q, want %q", got, want)
	}
}

func (m *model) expireWhenDue(t *rapid.T) {
	if next, ok := m.table.Next(); ok {
		m.now = later(m.now, next)
		m.expire(t)
	}
}

func (m *model) check(*rapid.T) {
	next, ok := m.table.Next()
	want := map[string]int{}
	for room, n := range m.anon {
		want[room] += n
	}
	for k, u := range m.users {
		want[k.room]++
		// Next must not be later than the end of any lease or grace period.
		if (!u.proven() || u.leaving) && (!ok || next.After(u.until)) {
			m.Fatalf("next is %v, %v, but %v ends at %v", next, ok, k, u.until)
		}
	}
	for _, room := range []string{"a", "b", "nobody's"} {
		if got := m.table.Count(room); got != want[room] {
			m.Fatalf("got %d users in %s, want %d", got, room, want[room])
		}
	}
	for _, r := range m.table.Rooms() {
		if r.Users != want[r.Name] || r.Users == 0 {
			m.Fatalf("got room %+v, want %d users, and no empty room", r, want[r.Name])
		}
		delete(want, r.Name)
	}
	for room, n := range want {
		if n > 0 {
			m.Fatalf("room %s with %d users is not among the rooms", room, n)
		}
	}
	for _, s := range m.streams {
		if s.left != s.told {
			m.Fatalf("a stream of %v was told to end %d times, want %d", s.key, s.left, s.told)
		}
	}
}

func (m *model) finish() {
	for _, s := range m.streams {
		m.end(s, 0)
	}
	m.now = m.now.Add(time.Hour)
	m.expire(m.T)
	m.check(m.T)
	if rooms := m.table.Rooms(); len(rooms) != 0 {
		m.Fatalf("left are rooms %v, want none", rooms)
	}
	if next, ok := m.table.Next(); ok {
		m.Fatalf("next is %v with nobody there", next)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (stream) Left() {}

func (stream) Ticket() *presence.Ticket { return new(presence.Ticket) }
