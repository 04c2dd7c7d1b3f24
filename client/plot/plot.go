// Package plot draws the user count of a room on a terminal. The line chart follows the size of the window.
//
// Draw runs in one goroutine. Take, Lost and Write may be called from any other goroutine meanwhile.
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

// A chart shows the time since its start, at least one minute and at most ten.
const (
	minSpan = time.Minute
	maxSpan = 10 * time.Minute
)

const (
	lookEvery = 100 * time.Millisecond // for changes and for another size of the window
	drawEvery = time.Second            // the chart moves on without changes
)

// Control codes that acquire the terminal and release it. They select the second screen, hide the cursor, and turn off
// automatic line breaks.
const (
	takeTerminal = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	giveTerminal = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

var ErrNoTerminal = errors.New("-plot draws on a terminal, and standard output is none; leave -plot out")

// sample is a count from a time on. NaN means that the count is unknown.
type sample struct {
	at    time.Time
	users float64
}

// Plot is a chart of a room's user count that fills a terminal.
type Plot struct {
	out      *os.File
	messages io.Writer // also gets the messages, nil if it is the same terminal
	color    bool
	room     string
	server   string
	begin    time.Time

	mu      sync.Mutex
	samples []sample // the oldest first
	message string   // the last message of the console, until a count comes
	news    bool     // something has changed since the last drawing
}

// New returns a chart that Draw draws on out. messages gets the messages of Write too, unless it is the same terminal.
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

// Take adds a user count.
func (p *Plot) Take(e *sse.Event) error {
	var users int
	if string(e.Event) == sse.UserCount && json.Unmarshal(e.Data, &users) == nil {
		p.add(sample{time.Now(), float64(users)})
	}
	return nil
}

// Lost records that the count is unknown from now on.
func (p *Plot) Lost() { p.add(sample{time.Now(), math.NaN()}) }

func (p *Plot) add(s sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.news = true
	if !math.IsNaN(s.users) {
		p.message = "" // about a problem that is over
	}
	p.samples = append(p.samples, s)
	// The last sample that is too old gives the value at the start of the chart.
	old := 0
	for old+1 < len(p.samples) && s.at.Sub(p.samples[old+1].at) > maxSpan {
		old++
	}
	p.samples = slices.Delete(p.samples, 0, old)
}

// Write shows a message below the chart, because the chart covers the terminal.
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

// Draw draws until done is closed, and then releases the terminal.
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

// fresh reports whether something has changed since its last call.
func (p *Plot) fresh() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := p.news
	p.news = false
	return news
}
