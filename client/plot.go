package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/guptarohit/asciigraph"
	"golang.org/x/term"

	"headcount/internal/sse"
)

// A chart shows the time since it began, from a minute on up to ten.
const (
	minSpan = time.Minute
	maxSpan = 10 * time.Minute
)

// plainHeight goes with plainWidth.
const plainHeight = 24

const (
	lookEvery = 100 * time.Millisecond // for news and for another size of the window
	drawEvery = time.Second            // time goes on without news
)

// What takes a terminal over and gives it back: the second screen, no cursor, and no line that goes on in the next row.
const (
	takeTerminal = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	giveTerminal = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

var errNoTerminal = errors.New("-plot draws on a terminal, and standard output is none; leave -plot out")

// sample is a count from a time on; NaN while nobody knows.
type sample struct {
	at    time.Time
	users float64
}

// plot is a chart of a room's user count that fills a terminal.
type plot struct {
	out    *os.File
	err    io.Writer // gets messages too, nil if it is the same terminal
	color  bool
	room   string
	server string
	begin  time.Time

	mu      sync.Mutex
	samples []sample // the oldest first
	message string   // the last one of the console, until a count comes
	news    bool     // since the last drawing
}

// newPlot returns a plot, which begins when draw is called.
func newPlot(room, server string, std streams, now time.Time) (*plot, error) {
	out, ok := std.out.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) {
		return nil, usageError{errNoTerminal}
	}
	p := &plot{out: out, err: std.err, color: os.Getenv("NO_COLOR") == "", room: room, server: server, begin: now}
	if f, ok := std.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.err = nil
	}
	return p, nil
}

// take notes a user count.
func (p *plot) take(e *sse.Event) error {
	var users int
	if string(e.Event) == sse.UserCount && json.Unmarshal(e.Data, &users) == nil {
		p.add(sample{time.Now(), float64(users)})
	}
	return nil
}

// broken notes that the count is not known from now on.
func (p *plot) broken() { p.add(sample{time.Now(), math.NaN()}) }

func (p *plot) add(s sample) {
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

// Write takes a message of the console: it stands below the chart, which covers the terminal.
func (p *plot) Write(message []byte) (int, error) {
	p.mu.Lock()
	p.message = strings.TrimPrefix(string(bytes.TrimSpace(message)), "client: ")
	p.news = true
	p.mu.Unlock()
	if p.err != nil {
		return p.err.Write(message)
	}
	return len(message), nil
}

// draw draws until done is closed, and gives the terminal back.
func (p *plot) draw(done <-chan struct{}) (err error) {
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
		columns, rows, err := term.GetSize(int(p.out.Fd()))
		if err != nil {
			return fmt.Errorf("get size of terminal: %w", err)
		}
		if columns == 0 || rows == 0 {
			columns, rows = plainWidth, plainHeight // a terminal that does not know its size
		}
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

// fresh says whether there is news since it was asked last.
func (p *plot) fresh() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := p.news
	p.news = false
	return news
}

// frame is what to write to draw the whole window anew: no erasing first, which would flicker.
func (p *plot) frame(columns, rows int, now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	span := min(max(now.Sub(p.begin), minSpan), maxSpan)
	peak := p.peak(now.Add(-span))
	lines := []string{titleOfPlot(p.room, p.server, p.now(), peak)}
	if rows >= 6 && columns >= 24 {
		lines = append(lines, "")
		lines = append(lines, p.chart(columns, rows-4, span, peak, now)...)
		lines = append(lines, footOfPlot(columns, span))
	}
	if rows > 1 {
		lines = append(lines, statusOfPlot(p.message))
	}
	for i := range lines {
		lines[i] = cut(lines[i], columns) + "\x1b[K"
	}
	return "\x1b[H" + strings.Join(lines[:min(len(lines), rows)], "\r\n") + "\x1b[J"
}

// chart draws rows lines.
func (p *plot) chart(columns, rows int, span time.Duration, peak float64, now time.Time) []string {
	peak = max(peak, 1)
	step := roundStep(peak * 4 / float64(rows))
	each := max(1, (rows-1)/int(math.Ceil(peak/step)))
	steps := (rows - 1) / each
	height, top := steps*each, float64(steps)*step
	labels := len(strconv.Itoa(int(top)))
	options := []asciigraph.Option{
		asciigraph.Height(height), asciigraph.LowerBound(0), asciigraph.UpperBound(top), asciigraph.Offset(2),
		asciigraph.YAxisValueFormatter(func(v float64) string {
			if n := math.Round(v / step); math.Abs(v/step-n) < 1e-6 {
				return strconv.Itoa(int(n * step))
			}
			return ""
		}),
	}
	if p.color {
		options = append(options, asciigraph.SeriesColors(asciigraph.Green))
	}
	// Before the first value, which is drawn on the axis, come a blank and the label.
	values := p.values(max(1, columns-labels-1), span, now)
	lines := strings.Split(asciigraph.Plot(values, options...), "\n")
	for len(lines) < rows {
		lines = append(lines, "")
	}
	return lines[:rows]
}

// roundStep is the least of 1, 2, 5, 10, 20, 50 and so on that is not below least.
func roundStep(least float64) float64 {
	for power := 1.0; ; power *= 10 {
		for _, digit := range []float64{1, 2, 5} {
			if digit*power >= least {
				return digit * power
			}
		}
	}
}

// values are n counts over the span until now: of each part the highest, since that would be missed most.
func (p *plot) values(n int, span time.Duration, now time.Time) []float64 {
	values := make([]float64, n)
	next, current := 0, math.NaN()
	for ; next < len(p.samples) && !p.samples[next].at.After(now.Add(-span)); next++ {
		current = p.samples[next].users
	}
	for i := range values {
		end := now.Add(-span + span*time.Duration(i+1)/time.Duration(n))
		most := current
		for ; next < len(p.samples) && !p.samples[next].at.After(end); next++ {
			current = p.samples[next].users
			if math.IsNaN(most) || current > most {
				most = current
			}
		}
		values[i] = most
	}
	return values
}

// now is the last count, NaN if it is not known.
func (p *plot) now() float64 {
	if len(p.samples) == 0 {
		return math.NaN()
	}
	return p.samples[len(p.samples)-1].users
}

// peak is the highest count since a time, 0 if none is known.
func (p *plot) peak(since time.Time) float64 {
	peak := 0.0
	for i, s := range p.samples {
		holds := i+1 == len(p.samples) || p.samples[i+1].at.After(since)
		if holds && s.users > peak {
			peak = s.users
		}
	}
	return peak
}

// cut shortens a line to a number of letters. Codes of color count as none.
func cut(line string, columns int) string {
	var b strings.Builder
	inCode := false
	for _, r := range line {
		switch {
		case r == '\x1b':
			inCode = true
		case inCode:
			inCode = r != 'm'
		case columns == 0:
			continue
		default:
			columns--
		}
		b.WriteRune(r)
	}
	return b.String()
}
