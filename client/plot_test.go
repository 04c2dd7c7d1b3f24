package main

import (
	"math"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
)

// screen is what a program has written to a terminal.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// frame is the last whole picture, as lines.
func (s *screen) frame() []string {
	frames := strings.Split(s.all(), "\x1b[H")
	for _, frame := range slices.Backward(frames) {
		if text, _, whole := strings.Cut(frame, "\x1b[J"); whole {
			text = strings.ReplaceAll(text, "\r\r\n", "\r\n") // a terminal turns LF into CR LF
			return strings.Split(strings.ReplaceAll(text, "\x1b[K", ""), "\r\n")
		}
	}
	return nil
}

// The chart follows the count and the size of the window, and ctrl-C gives the terminal back.
func TestPlot(t *testing.T) {
	server := startServer(t)
	cmd := exec.Command(buildCommand(t, "client"), "-plot", server)
	cmd.Env = append(cmd.Environ(), "NO_COLOR=1", "TERM=xterm")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 16, Cols: 70})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var out screen
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := terminal.Read(buf)
			out.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill()
	see := func(what string, ok func(lines []string) bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(out.frame()); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited in vain for %s; the last picture is\n%s", what, strings.Join(out.frame(), "\n"))
			}
		}
	}
	title := func(want string) func([]string) bool {
		return func(lines []string) bool { return len(lines) > 0 && strings.HasPrefix(lines[0], want) }
	}

	see("the first count", title("user count 1 · peak 1 · room lobby at "+server))
	resp, err := http.Get(server + "/events")
	if err != nil {
		t.Fatal(err)
	}
	see("another user", func(lines []string) bool {
		return title("user count 2 · peak 2")(lines) && len(lines) == 16 && strings.Contains(strings.Join(lines, ""), "──")
	})
	resp.Body.Close()
	see("its end", func(lines []string) bool {
		return title("user count 1 · peak 2")(lines) && strings.Contains(strings.Join(lines, ""), "╮")
	})
	if err := pty.Setsize(terminal, &pty.Winsize{Rows: 9, Cols: 40}); err != nil {
		t.Fatal(err)
	}
	see("a smaller picture", func(lines []string) bool {
		return len(lines) == 9 && !slices.ContainsFunc(lines, func(l string) bool { return utf8.RuneCountInString(l) > 40 })
	})

	if _, err := terminal.WriteString("\x03"); err != nil { // ctrl-C
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("got %v, want exit status 0", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("ctrl-C did not end it")
	}
	<-read
	text := out.all()
	if !strings.HasPrefix(text, takeTerminal) || !strings.HasSuffix(text, giveTerminal) || strings.Count(text, takeTerminal) != 1 {
		t.Errorf("got a beginning %q and an end %q; want the terminal taken once and given back", text[:30], text[len(text)-30:])
	}
}

// newTestPlot is a plot that began a minute before now, with counts at seconds since then.
func newTestPlot(counts ...float64) (p *plot, now time.Time) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p = &plot{room: "lobby", server: defaultURL, begin: begin}
	for i := 0; i < len(counts); i += 2 {
		p.add(sample{begin.Add(seconds(counts[i])), counts[i+1]})
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

// Whatever the window and the counts, the picture fits; from a certain size on it fills the window.
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
				frame := p.frame(columns, rows, now)
				lines := strings.Split(frame, "\r\n")
				if len(lines) > max(1, rows) || columns >= 24 && rows >= 6 && len(lines) != rows {
					t.Errorf("%s in %v: got %d lines", name, size, len(lines))
				}
				for _, line := range lines {
					for _, code := range []string{"\x1b[H", "\x1b[J", "\x1b[K", "\x1b[32m", "\x1b[0m"} {
						line = strings.ReplaceAll(line, code, "")
					}
					if n := utf8.RuneCountInString(line); n > columns || strings.Contains(line, "\x1b") {
						t.Errorf("%s in %v: got line %q of %d letters", name, size, line, n)
					}
				}
				// The last count is in the last column.
				if columns >= 24 && rows >= 6 && name == "many" {
					if n := slices.ContainsFunc(lines, func(l string) bool { return strings.ContainsAny(l, "╰┼") && fullWidth(l, columns) }); !n {
						t.Errorf("%s in %v: got no line of the chart that is as wide as the window:\n%s", name, size, frame)
					}
				}
			}
		}
	}
}

func fullWidth(line string, columns int) bool {
	for _, code := range []string{"\x1b[H", "\x1b[J", "\x1b[K", "\x1b[32m", "\x1b[0m"} {
		line = strings.ReplaceAll(line, code, "")
	}
	return utf8.RuneCountInString(line) == columns
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

// A chart that runs for days holds ten minutes, and how they began.
func TestPlotForgets(t *testing.T) {
	p, now := newTestPlot()
	for i := range 10_000 {
		p.add(sample{now.Add(time.Duration(i) * time.Second), float64(i)})
	}
	if n, want := len(p.samples), int(maxSpan/time.Second)+2; n != want {
		t.Errorf("got %d samples, want %d", n, want)
	}
}

// Without a connection the picture does not pretend to know; what the console says of it stands there until a count comes.
func TestPlotSaysWhatIsWrong(t *testing.T) {
	p, now := newTestPlot(0, 7)
	p.broken()
	p.Write([]byte("client: no connection\n"))
	if got := p.frame(80, 24, now); !strings.Contains(got, "user count unknown · peak 7") || !strings.Contains(got, "ctrl-C ends · no connection") {
		t.Errorf("got %q; want an unknown count and the message", got)
	}
	p.add(sample{now, 8})
	if got := p.frame(80, 24, now); !strings.Contains(got, "user count 8") || strings.Contains(got, "no connection") {
		t.Errorf("got %q; want the count and no message", got)
	}
}
