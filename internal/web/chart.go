package web

import (
	"fmt"
	"strconv"
	"strings"
)

// A chart is what the page draws of a trend. The page's script goes on with it, and does the same: draw in assets/chart.js.
type chart struct {
	Line, Area string // SVG path data in a box of trendSteps × chartHeight, now at its right edge
	PeakX      int
	PeakY      int
	Peak       int
	PeakAge    string
}

const (
	chartHeight = 100
	chartMargin = 6 // above the peak and below zero, so that no line is cut in half
	chartLeast  = 4 // the least value that fills the height: one user should look like few
)

func newChart(points []point) chart {
	c := chart{PeakAge: "just now", PeakX: trendSteps, PeakY: chartHeight - chartMargin}
	if len(points) == 0 {
		return c
	}
	start := trendSteps - len(points)
	for i, p := range points {
		if p.Peak >= c.Peak { // the latest of equal peaks
			c.Peak, c.PeakX, c.PeakAge = p.Peak, start+i, ago(len(points)-1-i)
		}
	}
	y := func(users int) int {
		top := max(c.Peak, chartLeast)
		return chartHeight - chartMargin - (users*(chartHeight-2*chartMargin)+top/2)/top
	}
	c.PeakY = y(c.Peak)
	var b strings.Builder
	fmt.Fprintf(&b, "M%d %d", start, y(points[0].Last))
	at := y(points[0].Last)
	for i, p := range points {
		if y(p.Peak) == at && y(p.Last) == at {
			continue
		}
		fmt.Fprintf(&b, "H%dV%dV%d", start+i, y(p.Peak), y(p.Last))
		at = y(p.Last)
	}
	fmt.Fprintf(&b, "H%d", trendSteps)
	c.Line = b.String()
	c.Area = fmt.Sprintf("%sV%dH%dZ", c.Line, chartHeight, start)
	return c
}

// ago puts an age in steps into words.
func ago(steps int) string {
	minutes := steps * int(trendStep.Seconds()) / 60
	if minutes == 0 {
		return "just now"
	}
	return strconv.Itoa(minutes) + " min ago"
}
