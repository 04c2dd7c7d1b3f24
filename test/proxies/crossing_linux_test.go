package proxies

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/test/rig"
)

const (
	crossers = 200
	gentle   = 100 * time.Millisecond // between two things that happen
	bustling = 10 * time.Second       // how long they happen, between two rests
	allGone  = 60*time.Second + slack // "within 60 s through any proxy"
)

// 200 clients behind random proxies, and behind none. Half of them stay, and switch between
// proxies, and between streams and polls, all the time: none of them is dropped once, and none
// misses an event. The others come, go, vanish, freeze, thaw and switch: at rest the count is
// the truth. It lasts one rest, or CROSSING_TIME.
func TestCrossing(t *testing.T) { apart(t, crossing) }

func crossing(t *testing.T) {
	var lasting time.Duration
	if s := os.Getenv("CROSSING_TIME"); s != "" {
		var err error
		if lasting, err = time.ParseDuration(s); err != nil {
			t.Fatalf("read CROSSING_TIME: %v", err)
		}
	}
	run(t, "nft", "add table inet test; add set inet test lost { type ipv4_addr; }; add chain inet test in { type filter hook input priority 0; }; "+
		"add rule inet test in ip saddr @lost drop; add rule inet test in ip daddr @lost drop")
	c := &crossroads{t: t, server: rig.Start(t, "-token", token, "-drain", "1s", "-h2c")}
	c.ways = []*Running{{Proxy: Proxy{Name: "none", Streams: Live, Hears: AtOnce}, URL: c.server.URL}, startSlow(t, c.server.Addr, false), startSlow(t, c.server.Addr, true)}
	kinds := make(map[string]bool)
	for _, p := range All() {
		// The short run is to have every kind of proxy, not each configuration of each.
		if kind, _, _ := strings.Cut(p.Name, ","); lasting > 0 || !kinds[kind] {
			kinds[kind] = true
			c.ways = append(c.ways, p.Start(t, c.server.Addr))
		}
	}
	tellStarted(t)

	for range crossers / 2 {
		c.stayers = append(c.stayers, c.arrive("stays"))
		c.movers = append(c.movers, c.arrive("moves"))
	}
	for _, s := range c.stayers {
		s.Await(c.t, 30*time.Second, "user count", strconv.Itoa(len(c.stayers)))
		s.Forget() // the counts from before all had arrived
	}
	var watching sync.WaitGroup
	stop := make(chan struct{})
	var longest time.Duration
	watching.Go(func() { longest = c.watch(stop) })
	began := time.Now()
	for round := 1; round == 1 || time.Since(began) < lasting; round++ {
		for until := time.Now().Add(bustling); time.Now().Before(until); {
			time.Sleep(gentle)
			c.step()
			c.move()
		}
		took := c.rest()
		t.Logf("%4.0f s: at rest %d of %d crossers are there and counted, %v after the last of the others; %d things have happened: %v",
			time.Since(began).Seconds(), c.truth(), len(c.movers)+len(c.frozen), took.Round(time.Second), c.done.total(), c.done)
	}
	close(stop)
	watching.Wait()
	c.judge()
	if !t.Failed() {
		t.Logf("all of the %d that stayed were counted at each of the looks, %v apart at most; they heard no other count, and missed none of %d events",
			len(c.stayers), longest.Round(10*time.Millisecond), c.emitted)
	}
}

// crossroads is the clients, and what is between them and the server.
type crossroads struct {
	t       *testing.T
	server  *rig.Server
	ways    []*Running
	stayers []*crosser
	movers  []*crosser // those that run
	frozen  []*crosser // those that do not
	steps   int
	emitted int
	left    time.Time // when the last one went
	hosts   int       // how many addresses have been given out
	done    deeds
}

// deeds is what has happened, and how often.
type deeds map[string]int

func (d deeds) total() (n int) {
	for _, times := range d {
		n += times
	}
	return n
}

// crosser is one client: the same id, whichever way it takes.
type crosser struct {
	*reader
	road *crossroads
	past []*reader // that it was before
	seen map[string]int
}

// arrive starts a client with a new id.
func (c *crossroads) arrive(room string) *crosser {
	p := &crosser{road: c, seen: make(map[string]int)}
	p.move(room, fmt.Sprintf("crosser-%d", rand.Int64()))
	return p
}

// move starts the client on a random way: by stream where they pass, or by polls.
func (p *crosser) move(room, id string) {
	c := p.road
	via := c.ways[rand.IntN(len(c.ways))]
	if rand.IntN(8) == 0 {
		via = c.ways[0] // else hardly anybody would come directly
	}
	c.hosts++
	host := net.IPv4(127, 1, byte(c.hosts>>8), byte(c.hosts))
	next := newReader(c.t, via, room, id, via.Streams != Live || rand.IntN(3) == 0, host)
	if p.reader != nil {
		next.SetCursor(p.Cursor())
		p.past = append(p.past, p.reader)
	}
	p.reader = next
	next.Start(c.t, rig.Every(again))
}

// cross takes another way, with the same id; the old one ends before or after, with a word
// or without.
func (p *crosser) cross() string {
	old := p.reader
	switch rand.IntN(4) {
	case 0:
		p.move(old.Room, old.ID)
		old.Stop()
		return "switches"
	case 1:
		old.Stop()
		p.move(old.Room, old.ID)
		return "switches"
	case 2:
		p.move(old.Room, old.ID)
		p.road.lose(old)
		return "switches without a word"
	default: // as the browser's client does, where nothing comes on the stream that it asks for
		probe := newReader(p.t, old.via, old.Room, old.ID, false, old.From)
		probe.Start(p.t, rig.Every(again))
		time.AfterFunc(time.Second+rand.N(2*time.Second), probe.Stop)
		return "tries a stream"
	}
}

// lose takes the network away from a reader: no packet passes any more.
func (c *crossroads) lose(r *reader) {
	run(c.t, "nft", "add element inet test lost { "+r.From.String()+" }")
	r.Die(func(*net.TCPConn) {})
}

// step has something happen to a stayer, and at times to all.
func (c *crossroads) step() {
	c.done.add(c.stayers[rand.IntN(len(c.stayers))].cross())
	if c.steps++; c.steps%5 == 0 {
		emit(c.t, c.server, "stays", "news", strconv.Itoa(c.emitted))
		c.emitted++
	}
}

func (d *deeds) add(what string) {
	if *d == nil {
		*d = make(deeds)
	}
	(*d)[what]++
}

// move has something happen to a mover.
func (c *crossroads) move() {
	i := rand.IntN(len(c.movers))
	p := c.movers[i]
	few, many := len(c.movers) < crossers/2-20, len(c.movers) > crossers/2+20
	switch what := rand.IntN(10); {
	case what < 2:
		c.done.add(p.cross())
		return
	case what == 2 && len(c.frozen) > 0:
		thawed := c.frozen[0]
		c.frozen = c.frozen[1:]
		thawed.Thaw()
		c.movers = append(c.movers, thawed)
		c.done.add("thaws")
		return
	case few || what < 6 && !many:
		c.movers = append(c.movers, c.arrive("moves"))
		c.done.add("comes")
		return
	}
	c.movers = slices.Delete(c.movers, i, i+1)
	c.left = time.Now()
	switch rand.IntN(5) {
	case 0:
		c.done.add("vanishes")
		c.lose(p.reader)
	case 1:
		c.done.add("freezes")
		p.Freeze()
		c.frozen = append(c.frozen, p)
	case 2:
		c.done.add("is cut off")
		p.Die(func(conn *net.TCPConn) { conn.SetLinger(0); conn.Close() })
	case 3:
		c.done.add("goes without a word")
		p.Stop()
	case 4:
		c.done.add("says goodbye")
		p.Stop()
		p.Post(c.t.Context(), "/leave")
		p.Transport.CloseIdleConnections()
	}
}

// truth is how many of the movers are there. A frozen one is, as far as anybody can know, if
// its stream needs no answer: the kernel acknowledges what is sent to it.
func (c *crossroads) truth() int {
	n := len(c.movers)
	for _, f := range c.frozen {
		if f.via.run == nil && !f.Poll {
			n++
		}
	}
	return n
}

// rest waits until the count is the truth, and looks whether it stays so and whether all
// know. It returns how long that took from when the last one had gone.
func (c *crossroads) rest() time.Duration {
	c.t.Helper()
	want := c.truth()
	rig.Wait(c.t, time.Until(c.left.Add(allGone)), fmt.Sprintf("count %d at rest, %d frozen", want, len(c.frozen)), func() bool {
		time.Sleep(gentle)
		c.step()
		return c.server.Count("moves") == want
	})
	took := time.Since(c.left)
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); time.Sleep(gentle) {
		c.step()
		if got := c.server.Count("moves"); got != want {
			c.t.Errorf("counted %d a moment after the count was %d, with nobody coming or going", got, want)
			break
		}
	}
	for _, p := range c.movers {
		p.Await(c.t, 2*time.Second+p.slow(), "user count", strconv.Itoa(want))
	}
	return took
}

// watch looks at the count of those that stay, and returns the longest time between two looks: a
// test that is itself not served for long can prove nothing.
func (c *crossroads) watch(stop chan struct{}) (longest time.Duration) {
	tick := time.NewTicker(gentle)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-stop:
			return longest
		case <-tick.C:
			got, since := c.server.Count("stays"), time.Since(last)
			last = last.Add(since)
			longest = max(longest, since)
			if got != len(c.stayers) {
				c.t.Errorf("at %s %d are counted of the %d that stay; it was looked %v before", last.Format(time.TimeOnly), got, len(c.stayers), since)
			}
		}
	}
}

// slow is how much later the client may hear: an answer without the news may just be on its way.
func (p *crosser) slow() time.Duration {
	if strings.HasPrefix(p.via.Name, slowBox) {
		return 2 * slowest
	}
	return 0
}

// judge says what those that stayed have heard: one count, and each event.
func (c *crossroads) judge() {
	c.t.Helper()
	want := strconv.Itoa(len(c.stayers))
	last := strconv.Itoa(c.emitted)
	emit(c.t, c.server, "stays", "news", last)
	var wrong []rig.Event // counts, by time
	for _, s := range c.stayers {
		s.Await(c.t, 5*time.Second+s.slow(), "news", last)
		for _, r := range append(s.past, s.reader) {
			for _, e := range r.Got("user count") {
				if e.Data != want {
					wrong = append(wrong, e)
				}
			}
			for _, e := range r.Got("news") {
				s.seen[e.Data]++
			}
		}
		for i := range c.emitted {
			if s.seen[strconv.Itoa(i)] == 0 {
				c.t.Errorf("%s missed event %d", s.ID, i)
			}
		}
	}
	slices.SortFunc(wrong, func(a, b rig.Event) int { return a.At.Compare(b.At) })
	var told time.Time
	for _, e := range wrong {
		if e.At.Sub(told) > time.Second { // of many that heard it, the first
			c.t.Errorf("at %s the count %s was heard, want %s all the time; who had asked for nothing just before: %v",
				e.At.Format(time.TimeOnly), e.Data, want, c.absent(e.At))
		}
		told = e.At
	}
}

// absent names those that stay which had neither a stream nor a poll under way in the second before that
// time: that they were not counted is their own fault, or that of the machine.
func (c *crossroads) absent(at time.Time) []string {
	who := []string{}
	for _, s := range c.stayers {
		open, last := false, ""
		for _, r := range append(s.past, s.reader) {
			for _, e := range r.Attempts() {
				if e.Began.Before(at) && (e.Ended.IsZero() || e.Ended.After(at.Add(-time.Second))) {
					open = true
				}
				if !e.Ended.IsZero() && e.Ended.Before(at) {
					last = fmt.Sprintf(" last behind %s, poll: %v, from %s to %s: %v", r.via.Name, r.Poll, e.Began.Format(time.TimeOnly), e.Ended.Format(time.TimeOnly), e.Err)
				}
			}
		}
		if !open {
			who = append(who, s.ID+last)
		}
	}
	return who
}
