package page

import (
	"fmt"
	"strings"
)

// Chart is the drawing of a trend on the page. The script of the page continues it and draws in the same way, see draw
// in assets/chart.js.
type Chart struct {
	Line, Area string // SVG path data in a box of chartWidth × chartHeight; the right edge is now
	Top, Half  int    // values at the upper and the middle grid line
	PeakX      int
	PeakY      int
	Peak       int
	PeakAge    string
	Span       string // the time that the whole width shows
}

const (
	chartWidth  = 1200
	chartHeight = 100
	chartMargin = 6 // above the upper grid line and below zero, so that no line is clipped
)

// NewChart draws the points of a trend.
func NewChart(points []Point) Chart {
	if len(points) == 0 {
		points = []Point{{}}
	}
	c := Chart{Span: inWords(len(points))}
	for i, p := range points {
		if p.Peak >= c.Peak { // the latest of equal peaks
			c.Peak, c.PeakAge = p.Peak, ago(len(points)-1-i)
			c.PeakX = (chartX(i, len(points)) + chartX(i+1, len(points))) / 2
		}
	}
	c.Top = chartTop(c.Peak)
	c.Half = c.Top / 2
	y := func(users int) int {
		return chartHeight - chartMargin - (users*(chartHeight-2*chartMargin)+c.Top/2)/c.Top
	}
	c.PeakY = y(c.Peak)
	at := y(points[0].Peak)
	var b strings.Builder
	fmt.Fprintf(&b, "M0 %d", at)
	for i, p := range points[1:] {
		if y(p.Peak) != at {
			at = y(p.Peak)
			fmt.Fprintf(&b, "H%dV%d", chartX(i+1, len(points)), at)
		}
	}
	fmt.Fprintf(&b, "H%d", chartWidth)
	c.Line = b.String()
	c.Area = fmt.Sprintf("%sV%dH0Z", c.Line, y(0))
	return c
}

// chartX returns where step i of n begins. The steps always fill the whole width.
func chartX(i, n int) int { return chartWidth * i / n }

// chartTop returns the value of the upper grid line. It is an even round number of at least 4, so that one user looks
// like few.
func chartTop(peak int) int {
	for scale := 1; ; scale *= 10 {
		for _, top := range []int{4, 6, 8, 10, 12, 16, 20, 24, 30} {
			if top*scale >= peak {
				return top * scale
			}
		}
	}
}

// inWords returns a number of steps in words.
func inWords(steps int) string {
	seconds := steps * int(TrendStep.Seconds())
	switch {
	case seconds < 60:
		return fmt.Sprintf("%d seconds", seconds)
	case seconds < 120:
		return "minute"
	}
	return fmt.Sprintf("%d minutes", seconds/60)
}

// ago returns an age in steps in words.
func ago(steps int) string {
	switch seconds := steps * int(TrendStep.Seconds()); {
	case seconds == 0:
		return "just now"
	case seconds < 60:
		return fmt.Sprintf("%d s ago", seconds)
	default:
		return fmt.Sprintf("%d min ago", seconds/60)
	}
}
