package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// A Command is one line to a generator.
type Command struct {
	Do string // configure, open, close, reset, await, know, stall, resume, fates, churn, settle

	Config        Config        // configure
	N             int64         // open, close: streams; reset, fates: number of the next measured event; await: deliveries
	Window        int           // open: how many may be on their way at a time
	ReceiveBuffer int           // open: SO_RCVBUF, 0: the system's
	Want          int64         // open, close: the user count that all should then hear; -1: none
	PerSecond     int           // churn: streams that are replaced
	For           time.Duration // how long the command may last; churn, settle: how long it lasts
}

// A Reply is the line that answers a command: the state after it.
type Reply struct {
	Error string // why the command could not be carried out

	Done    bool // all that was asked for has happened in time
	Took    time.Duration
	Open    int
	Failed  int
	Dropped int
	Fault   string // the first reason for Failed or Dropped

	Events    int64 // since the last reset
	Delivered int64 // measured events among them
	Bytes     int64
	P50       time.Duration
	P99       time.Duration
	Max       time.Duration
	Knowing   int

	At           int64 // when the command was done, like all below CLOCK_MONOTONIC
	KnewAt       int64 // the last stream heard the count that all should know
	OpenAt       int64 // the last stream was opened
	LastDelivery int64

	Fates    Fates
	Errors   []int64 // churn: how far counts heard were from the streams open, those on their way given or taken
	Replaced int64
}

// Fates says what became of streams, of the stalled ones when there are any.
type Fates struct {
	Streams    int
	Whole      int // got all measured events, once and in order
	Told       int // missed some and were told so before the next event
	Closed     int // were closed by the server, so they know that they must come again
	Silent     int // missed some and were not told
	Lost       int64
	Duplicates int
	Wrong      int // were told a wrong number
}

// Serve carries out commands until the pipe ends.
func Serve(commands int, in io.Reader, out io.Writer) error {
	g, err := New(commands)
	if err != nil {
		return err
	}
	lines := bufio.NewReader(in)
	answers := json.NewEncoder(out)
	for {
		for g.hasCommand = lines.Buffered() > 0; !g.hasCommand; {
			if err := g.poll(time.Second); err != nil {
				return err
			}
		}
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read command: %w", err)
		}
		var c Command
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("read command: %w", err)
		}
		began := g.clock.now()
		r := g.carryOut(c)
		r.Took = time.Duration(g.clock.now() - began)
		if err := answers.Encode(r); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
	}
}

func (g *Generator) carryOut(c Command) Reply {
	var r Reply
	var err error
	switch c.Do {
	case "configure":
		g.config, r.Done = c.Config, true
	case "open":
		r.Done, err = g.openMany(c)
	case "close":
		g.expect(c.Want)
		for range min(c.N, int64(len(g.open))) {
			g.end(g.open[len(g.open)-1], nil)
		}
		r.Done = true
	case "reset":
		g.reset(c.N)
		r.Done = true
	case "await":
		r.Done, err = g.loop(c.For, func() bool { return g.delivered >= c.N })
	case "know":
		r.Done, err = g.loop(c.For, func() bool { return g.pending == 0 && g.knowing == len(g.open) })
	case "stall":
		err = g.stall()
		r.Done = err == nil
	case "resume":
		err = g.resume()
		r.Done = err == nil
	case "fates":
		r.Fates, r.Done = g.fates(c.N), true
	case "churn":
		r.Errors, err = g.churn(c)
		r.Done = err == nil
	case "settle":
		_, err = g.loop(c.For, func() bool { return false })
		r.Done = true
	default:
		err = fmt.Errorf("carry out command: unknown command %q", c.Do)
	}
	if err != nil {
		r.Error = err.Error()
	}
	g.report(&r)
	return r
}

func (g *Generator) report(r *Reply) {
	r.Open, r.Failed, r.Dropped, r.Knowing = len(g.open), g.failed, g.dropped, g.knowing
	if g.fault != nil {
		r.Fault = g.fault.Error()
	}
	r.Events, r.Delivered, r.Bytes = g.events, g.delivered, g.bytes
	r.P50 = time.Duration(g.latency.quantile(0.5))
	r.P99 = time.Duration(g.latency.quantile(0.99))
	r.Max = time.Duration(g.latency.highest)
	r.KnewAt, r.OpenAt, r.LastDelivery = g.knewAt, g.openAt, g.lastDelivery
	r.At, r.Replaced = g.clock.now(), g.replaced
}

func (g *Generator) openMany(c Command) (bool, error) {
	g.expect(c.Want)
	before := g.failed
	deadline := g.clock.now() + int64(c.For)
	if g.config.TLS {
		c.Window = min(c.Window, handshakes)
	}
	for started := int64(0); started < c.N; {
		for started < c.N && g.pending < c.Window && len(g.open)+g.pending < MaxOpen {
			if err := g.start(c.ReceiveBuffer); err != nil {
				return false, err
			}
			started++
		}
		left := deadline - g.clock.now()
		if left <= 0 {
			return false, nil
		}
		if started < c.N {
			if err := g.poll(min(time.Duration(left), 100*time.Millisecond)); err != nil {
				return false, err
			}
		}
	}
	done, err := g.loop(time.Duration(deadline-g.clock.now()), func() bool { return g.pending == 0 })
	return done && g.failed == before, err
}

// stall stops reading the streams that were opened with a small receive buffer.
func (g *Generator) stall() error {
	for _, s := range g.open {
		if !s.small {
			continue
		}
		s.stalled = true
		if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_DEL, s.fd, nil); err != nil {
			return fmt.Errorf("stall stream: %w", err)
		}
		g.stalled = append(g.stalled, s)
	}
	return nil
}

// resume reads the stalled streams again, with a larger buffer so that it does not take minutes.
func (g *Generator) resume() error {
	for _, s := range g.stalled {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
		if err := g.watch(s); err != nil {
			return fmt.Errorf("resume stream: %w", err)
		}
	}
	return nil
}

// fates judges when the next measured event would bear the number next.
func (g *Generator) fates(next int64) Fates {
	streams := g.stalled
	if streams == nil {
		streams = g.open
	}
	f := Fates{Streams: len(streams)}
	for _, s := range streams {
		if s.next >= 0 && !s.fate.closed && !s.fate.announced {
			s.fate.silent += max(0, next-s.next) // the last ones have not come
		}
		switch {
		case s.fate.silent > 0:
			f.Silent++
		case s.fate.closed:
			f.Closed++
		case s.fate.told > 0 || s.fate.announced:
			f.Told++
		default:
			f.Whole++
		}
		f.Lost += s.fate.silent
		f.Duplicates += s.fate.duplicates
		f.Wrong += s.fate.wrong
	}
	return f
}

// beyond is how far n lies outside of the range.
func beyond(n, lowest, highest int64) int64 { return min(n-lowest, 0) + max(n-highest, 0) }

// churn replaces streams, chosen at random, evenly over the time, and asks some of the others now and then what they
// think how many there are.
func (g *Generator) churn(c Command) ([]int64, error) {
	g.expect(-1)
	var errs []int64
	began := g.clock.now()
	replaced, asked := int64(0), int64(0)
	for {
		passed := g.clock.now() - began
		if passed >= int64(c.For) {
			break
		}
		for due := passed * int64(c.PerSecond) / int64(time.Second); replaced < due && g.pending < c.Window && (!g.config.TLS || g.pending < handshakes); replaced++ {
			if len(g.open) == 0 {
				return errs, errors.New("replace streams: none is left")
			}
			g.end(g.open[rand.IntN(len(g.open))], nil)
			if err := g.start(0); err != nil {
				return errs, err
			}
		}
		if due := passed / int64(100*time.Millisecond); asked < due && len(g.open) > 0 {
			asked = due
			for range 20 {
				s := g.open[rand.IntN(len(g.open))]
				if g.clock.now()-s.openedAt > int64(time.Second) && s.count >= 0 {
					errs = append(errs, beyond(s.count, int64(len(g.open)), int64(len(g.open)+g.pending)))
				}
			}
		}
		if err := g.poll(time.Millisecond); err != nil {
			return errs, err
		}
	}
	g.replaced = replaced
	g.expect(c.Want)
	_, err := g.loop(10*time.Second, func() bool { return g.pending == 0 })
	return errs, err
}
