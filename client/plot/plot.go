// Package plot draws the user count of a room on a terminal, as a line chart that follows the window's size.
//
// Take, Lost and Write may be called by any goroutine while Draw runs in one.
package plot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"headcount/client/terminal"
	"headcount/internal/sse"
)

// A chart shows the time since it began, from a minute on up to ten.
const (
	minSpan = time.Minute
	maxSpan = 10 * time.Minute
)

const (
	lookEvery = 100 * time.Millisecond // for news and for another size of the window
	drawEvery = time.Second            // time goes on without news
)

// What takes a terminal over and gives it back: the second screen, no cursor, and no line that goes on in the next row.
const (
	takeTerminal = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	giveTerminal = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

var ErrNoTerminal = errors.New("-plot draws on a terminal, and standard output is none; leave -plot out")

// sample is a count from a time on; NaN while nobody knows.
type sample struct {
	at    time.Time
	users float64
}

// Plot is a chart of a room's user count that fills a terminal.
type Plot struct {
	out      *os.File
	messages io.Writer // gets messages too, nil if it is the same terminal
	color    bool
	room     string
	server   string
	begin    time.Time

	mu      sync.Mutex
	samples []sample // the oldest first
	message string   // the last one of the console, until a count comes
	news    bool     // since the last drawing
}

// New returns a chart that is drawn on out once Draw is called. Messages gets what Write is given, unless it is the same
// terminal.
func New(out, messages io.Writer, room, server string) (*Plot, error) {
	f, ok := out.(*os.File)
	if !ok || !terminal.Is(out) {
		return nil, ErrNoTerminal
	}
	p := &Plot{out: f, messages: messages, color: terminal.HasColor(out), room: room, server: server, begin: time.Now()}
	if terminal.Is(messages) {
		p.messages = nil
	}
	return p, nil
}

// Take notes a user count.
func (p *Plot) Take(e *sse.Event) error {
	var users int
	if string(e.Event) == sse.UserCount && json.Unmarshal(e.Data, &users) == nil {
		p.add(sample{time.Now(), float64(users)})
	}
	return nil
}

// Lost notes that the count is not known from now on.
func (p *Plot) Lost() { p.add(sample{time.Now(), math.NaN()}) }

func (p *Plot) add(s sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.news = true
	if !math.IsNaN(s.users) {
		p.message = "" // of trouble that is over
	}
	p.samples = append(p.samples, s)
	// The last one that is too old says how the chart begins.
	old := 0
	for old+1 < len(p.samples) && s.at.Sub(p.samples[old+1].at) > maxSpan {
		old++
	}
	p.samples = slices.Delete(p.samples, 0, old)
}

// Write takes a message, which stands below the chart, which covers the terminal.
func (p *Plot) Write(message []byte) (int, error) {
	p.mu.Lock()
	p.message = strings.TrimPrefix(string(bytes.TrimSpace(message)), "client: ")
	p.news = true
	p.mu.Unlock()
	if p.messages != nil {
		return p.messages.Write(message)
	}
	return len(message), nil
}

// Draw draws until done is closed, and gives the terminal back.
func (p *Plot) Draw(done <-chan struct{}) (err error) {
	defer func() {
		if _, giveErr := io.WriteString(p.out, giveTerminal); err == nil && giveErr != nil {
			err = fmt.Errorf("write output: %w", giveErr)
		}
	}()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var drawn time.Time
	var width, height int
	begin := takeTerminal
	for {
		columns, rows := terminal.Size(p.out)
		if now := time.Now(); p.fresh() || columns != width || rows != height || now.Sub(drawn) >= drawEvery {
			width, height, drawn = columns, rows, now
			if _, err := io.WriteString(p.out, begin+p.frame(columns, rows, now)); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			begin = ""
		}
		select {
		case <-done:
			return nil
		case <-tick.C:
		}
	}
}

// fresh reports whether there is news since it was asked last.
func (p *Plot) fresh() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := p.news
	p.news = false
	return news
}
