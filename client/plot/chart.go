package plot

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"

	"headcount/client/terminal"
)

// frame returns the text that redraws the whole window. It does not erase first, because that would flicker.
func (p *Plot) frame(columns, rows int, now time.Time) string {
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
		lines[i] = fit(lines[i], columns)
	}
	frame := "\x1b[H" + strings.Join(lines[:min(len(lines), rows)], "\r\n")
	if len(lines) < rows {
		frame += "\r\n\x1b[J"
	}
	return frame
}

// chart returns rows lines of the chart.
func (p *Plot) chart(columns, rows int, span time.Duration, peak float64, now time.Time) []string {
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
	// The label and a blank come before the first value, which is drawn on the axis.
	values := p.values(max(1, columns-labels-1), span, now)
	lines := strings.Split(asciigraph.Plot(values, options...), "\n")
	for len(lines) < rows {
		lines = append(lines, "")
	}
	return lines[:rows]
}

// roundStep returns the smallest of 1, 2, 5, 10, 20, 50 and so on that is at least least.
func roundStep(least float64) float64 {
	for power := 1.0; ; power *= 10 {
		for _, digit := range []float64{1, 2, 5} {
			if digit*power >= least {
				return digit * power
			}
		}
	}
}

// values returns n counts over the span until now. Each is the highest of its part, because users would miss a peak
// most.
func (p *Plot) values(n int, span time.Duration, now time.Time) []float64 {
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

// now returns the last count, NaN if it is unknown.
func (p *Plot) now() float64 {
	if len(p.samples) == 0 {
		return math.NaN()
	}
	return p.samples[len(p.samples)-1].users
}

// peak returns the highest count since a time, 0 if none is known.
func (p *Plot) peak(since time.Time) float64 {
	peak := 0.0
	for i, s := range p.samples {
		holds := i+1 == len(p.samples) || p.samples[i+1].at.After(since)
		if holds && s.users > peak {
			peak = s.users
		}
	}
	return peak
}

// fit shortens a line to a number of letters, or erases the rest of the line. Color codes do not count as letters. It
// erases nothing behind a line that is as wide as the window, because the code would erase the last letter.
func fit(line string, columns int) string {
	var b strings.Builder
	left, inCode := columns, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			inCode = true
		case inCode:
			inCode = r != 'm'
		case left == 0:
			continue
		default:
			left--
		}
		b.WriteRune(r)
	}
	if left > 0 {
		b.WriteString("\x1b[K")
	}
	return b.String()
}

func titleOfPlot(room, server string, users, peak float64) string {
	now := "unknown"
	if !math.IsNaN(users) {
		now = strconv.Itoa(int(users))
	}
	return fmt.Sprintf("user count %s · peak %.0f · room %s at %s", now, peak, terminal.OneLine(room), terminal.OneLine(server))
}

// footOfPlot returns the time axis.
func footOfPlot(columns int, span time.Duration) string {
	begin, end := fmt.Sprintf("%.0f min ago", span.Minutes()), "now"
	if span < 2*time.Minute {
		begin = fmt.Sprintf("%.0f s ago", span.Seconds())
	}
	return begin + strings.Repeat(" ", max(1, columns-len(begin)-len(end))) + end
}

func statusOfPlot(message string) string {
	if message == "" {
		return "ctrl-C ends"
	}
	return "ctrl-C ends · " + terminal.OneLine(message)
}
