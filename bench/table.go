package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// A row is one server at one number of streams, over all runs.
type row struct {
	peer    string
	streams int
	cells   map[string]cell
	remark  string
}

// A cell is one figure over all runs.
type cell struct {
	median, lowest, highest float64
	ratio                   float64 // to headcount's, 0: none
}

// rows gathers what the runs brought for a scenario, in the order in which it was measured.
func (r *report) rows(sc scenario) []row {
	type place struct {
		peer    string
		streams int
	}
	var order []place
	found := map[place][]result{}
	for _, x := range r.Results {
		if x.Scenario != sc.letter {
			continue
		}
		at := place{x.Peer, x.Streams}
		if found[at] == nil {
			order = append(order, at)
		}
		found[at] = append(found[at], x)
	}
	slices.SortStableFunc(order, func(a, b place) int { return a.streams - b.streams })
	var rows []row
	for _, at := range order {
		one := row{peer: at.peer, streams: at.streams, cells: map[string]cell{}}
		base := found[place{"headcount", at.streams}]
		for _, c := range sc.columns {
			if made, ok := gather(c, found[at], base); ok {
				one.cells[c.key] = made
			}
		}
		for _, x := range found[at] {
			if x.Remark != "" && !strings.Contains(one.remark, x.Remark) {
				one.remark = strings.TrimPrefix(one.remark+"; "+x.Remark, "; ")
			}
		}
		rows = append(rows, one)
	}
	return rows
}

func gather(c column, results, base []result) (cell, bool) {
	var values, ratios []float64
	for _, x := range results {
		v, ok := x.Figures[c.key]
		if !ok {
			continue
		}
		values = append(values, v)
		for _, b := range base {
			if against, ok := b.Figures[c.key]; ok && b.Run == x.Run && against > 0 && c.ratio {
				ratios = append(ratios, v/against)
			}
		}
	}
	if len(values) == 0 {
		return cell{}, false
	}
	made := cell{median: median(values), lowest: slices.Min(values), highest: slices.Max(values)}
	if len(ratios) > 0 {
		made.ratio = median(ratios)
	}
	return made, true
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// format writes a figure with three digits and its unit.
func (c column) format(v float64) string {
	text := digits(v)
	if c.unit == "" {
		return text
	}
	return text + " " + c.unit
}

func digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		return thousands(int64(math.Round(v)))
	case a >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func thousands(n int64) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return thousands(n/1000) + fmt.Sprintf(",%03d", n%1000)
}

func (c column) text(one cell) string {
	text := c.format(one.median)
	if one.lowest != one.highest {
		text += " (" + digits(one.lowest) + " to " + digits(one.highest) + ")"
	}
	if one.ratio > 0 {
		text += " ×" + fmt.Sprintf("%.2f", one.ratio)
	}
	return text
}

// grid is the table as words: a line of titles and one for each row.
func grid(sc scenario, rows []row) [][]string {
	titles := []string{"server", "streams"}
	for _, c := range sc.columns {
		titles = append(titles, c.title)
	}
	remarks := slices.ContainsFunc(rows, func(one row) bool { return one.remark != "" })
	if remarks {
		titles = append(titles, "remark")
	}
	lines := [][]string{titles}
	for _, one := range rows {
		line := []string{one.peer, thousands(int64(one.streams))}
		for _, c := range sc.columns {
			text := ""
			if made, ok := one.cells[c.key]; ok {
				text = c.text(made)
			}
			line = append(line, text)
		}
		if remarks {
			line = append(line, one.remark)
		}
		lines = append(lines, line)
	}
	return lines
}

func markdownTable(sc scenario, rows []row) string {
	var b strings.Builder
	for i, line := range grid(sc, rows) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|---|%s\n", strings.Repeat("---:|", len(line)-1))
		}
	}
	return b.String()
}

func plainTable(sc scenario, rows []row) string {
	lines := grid(sc, rows)
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		var padded []string
		for i, text := range line {
			padded = append(padded, text+strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)))
		}
		fmt.Fprintln(&b, strings.TrimRight(strings.Join(padded, "  "), " "))
	}
	return b.String()
}
