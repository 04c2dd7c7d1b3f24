package plot

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"headcount/client/terminal/terminaltest"
)

// newTestPlot returns a plot that began a minute before now. counts are pairs of a second since then and a count.
func newTestPlot(counts ...float64) (p *Plot, now time.Time) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p = &Plot{room: "lobby", server: "http://localhost:8080", begin: begin}
	for i := 0; i < len(counts); i += 2 {
		p.add(sample{begin.Add(time.Duration(counts[i]) * time.Second), counts[i+1]})
	}
	return p, begin.Add(time.Minute)
}

func TestPlotValues(t *testing.T) {
	tests := []struct {
		name   string
		counts []float64
		want   string
		peak   float64
	}{
		{"nothing", nil, "? ? ? ? ? ?", 0},
		{"holds until the next", []float64{0, 1, 25, 3}, "1 1 3 3 3 3", 3},
		{"begins later", []float64{35, 2}, "? ? ? 2 2 2", 2},
		{"the highest of each part", []float64{0, 1, 21, 5, 22, 1}, "1 1 5 1 1 1", 5},
		{"unknown while there is no connection", []float64{0, 4, 12, math.NaN(), 45, 2}, "4 4 ? ? 2 2", 4},
		{"what was before counts", []float64{-30, 9, -20, 2}, "2 2 2 2 2 2", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, now := newTestPlot(tt.counts...)
			var got []string
			for _, v := range p.values(6, time.Minute, now) {
				if math.IsNaN(v) {
					got = append(got, "?")
				} else {
					got = append(got, strconv.Itoa(int(v)))
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
			if peak := p.peak(now.Add(-time.Minute)); peak != tt.peak {
				t.Errorf("got peak %v, want %v", peak, tt.peak)
			}
		})
	}
}

// The picture fits any window and any counts. From a certain size on it fills the window.
func TestPlotFits(t *testing.T) {
	charts := map[string][]float64{
		"no count": nil, "nobody": {0, 0}, "one": {0, 1}, "few": {0, 1, 20, 3, 40, 2}, "many": {0, 1, 20, 12345, 40, 2},
		"unknown": {0, 3, 1, math.NaN()},
	}
	for name, counts := range charts {
		for _, color := range []bool{false, true} {
			for _, size := range [][2]int{{0, 0}, {1, 1}, {5, 2}, {20, 6}, {24, 6}, {40, 9}, {80, 24}, {200, 60}} {
				p, now := newTestPlot(counts...)
				p.color = color
				p.Write([]byte("client: " + strings.Repeat("a long message ", 20) + "\n"))
				columns, rows := size[0], size[1]
				screen := terminaltest.New(columns, rows)
				screen.Write([]byte(strings.Repeat(strings.Repeat("x", columns)+"\r\n", rows))) // earlier text
				screen.Write([]byte(p.frame(columns, rows, now)))
				lines := screen.Lines()
				if strings.Contains(strings.Join(lines, ""), "xx") {
					t.Errorf("%s in %v: what stood there before is still there:\n%s", name, size, strings.Join(lines, "\n"))
				}
				if columns < 24 || rows < 6 {
					continue
				}
				// The time axis and the last count end in the last column.
				axis := lines[rows-2]
				if utf8.RuneCountInString(axis) != columns || !strings.HasSuffix(axis, " now") {
					t.Errorf("%s in %v: got the axis %q, want one that ends with now in the last column", name, size, axis)
				}
				isWide := func(l string) bool { return strings.ContainsAny(l, "╰┼") && utf8.RuneCountInString(l) == columns }
				if name == "many" && !slices.ContainsFunc(lines, isWide) {
					t.Errorf("%s in %v: got no line of the chart that is as wide as the window:\n%s", name, size, strings.Join(lines, "\n"))
				}
			}
		}
	}
}

// The axis has round numbers, and a row for the highest count.
func TestPlotAxis(t *testing.T) {
	tests := []struct {
		peak   float64
		rows   int
		labels string
	}{
		{0, 5, "1 0"},
		{1, 20, "1 0"},
		{3, 20, "3 2 1 0"},
		{4, 8, "4 2 0"},
		{30, 20, "30 20 10 0"},
		{12345, 20, "15000 10000 5000 0"},
	}
	for _, tt := range tests {
		t.Run(strconv.Itoa(int(tt.peak)), func(t *testing.T) {
			p, now := newTestPlot(0, tt.peak)
			var labels []string
			drawn := false
			for _, line := range p.chart(60, tt.rows, time.Minute, tt.peak, now) {
				label, rest, _ := strings.Cut(strings.Replace(line, "┼", "┤", 1), "┤")
				if label = strings.TrimSpace(label); label != "" {
					labels = append(labels, label)
				}
				drawn = drawn || strings.Contains(rest, "───")
			}
			if got := strings.Join(labels, " "); got != tt.labels || !drawn {
				t.Errorf("got labels %s, drawn %v; want %s", got, drawn, tt.labels)
			}
		})
	}
}

// A chart that runs for days keeps ten minutes, and the count at their start.
func TestPlotForgets(t *testing.T) {
	p, now := newTestPlot()
	for i := range 10_000 {
		p.add(sample{now.Add(time.Duration(i) * time.Second), float64(i)})
	}
	if n, want := len(p.samples), int(maxSpan/time.Second)+2; n != want {
		t.Errorf("got %d samples, want %d", n, want)
	}
}

// Without a connection the picture shows no count. The message of the console stays until a count comes.
func TestPlotSaysWhatIsWrong(t *testing.T) {
	p, now := newTestPlot(0, 7)
	p.Lost()
	p.Write([]byte("client: no connection\n"))
	if got := p.frame(80, 24, now); !strings.Contains(got, "user count unknown · peak 7") || !strings.Contains(got, "ctrl-C ends · no connection") {
		t.Errorf("got %q; want an unknown count and the message", got)
	}
	p.add(sample{now, 8})
	if got := p.frame(80, 24, now); !strings.Contains(got, "user count 8") || strings.Contains(got, "no connection") {
		t.Errorf("got %q; want the count and no message", got)
	}
}
