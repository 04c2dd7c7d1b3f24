package doctor

import (
	"errors"
	"io"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"

	"headcount/client/remote"
	"headcount/client/terminal"
)

// arrivals returns a probe from pairs of sent and at in milliseconds.
func arrivals(pairs ...int) *probe {
	p := &probe{complete: true}
	for i := 0; i < len(pairs); i += 2 {
		p.arrivals = append(p.arrivals, arrival{sent: time.Duration(pairs[i]) * time.Millisecond, at: time.Duration(pairs[i+1]) * time.Millisecond})
	}
	return p
}

func TestManner(t *testing.T) {
	tests := []struct {
		name         string
		probe        *probe
		roundTrip    int
		want         manner
		median, most int
	}{
		{"live", arrivals(0, 21, 500, 522, 800, 825), 20, live, 2, 5},
		{"far away, but live", arrivals(0, 405, 500, 900, 800, 1200), 400, live, 0, 5},
		{"one hiccup is no lateness", arrivals(0, 20, 500, 900, 800, 820, 1600, 1620), 20, live, 0, 380},
		{"a long stop is", arrivals(0, 20, 500, 1820, 800, 1820, 1600, 1820), 20, late, 1000, 1300},
		{"late by the same", arrivals(0, 220, 500, 721, 800, 1020), 20, late, 200, 201},
		{"with the next", arrivals(0, 520, 500, 823, 800, 1620, 1600, 1620), 20, behind, 500, 800},
		{"all at the end", arrivals(0, 1625, 500, 1625, 800, 1625, 1600, 1625), 20, held, 1105, 1605},
		{"one event alone is live", arrivals(0, 25), 20, live, 5, 5},
		{"earlier than a round trip", arrivals(0, 10, 500, 510), 20, live, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, median, most := tt.probe.manner(time.Duration(tt.roundTrip) * time.Millisecond)
			if got != tt.want || median.Milliseconds() != int64(tt.median) || most.Milliseconds() != int64(tt.most) {
				t.Errorf("got %v, median %v, most %v; want %v, %d ms, %d ms", got, median, most, tt.want, tt.median, tt.most)
			}
		})
	}
}

// Values that no server sends cause no panic and no wrong finding.
func TestDiagnosisOfLittle(t *testing.T) {
	tests := []struct {
		name  string
		facts facts
		line  func(*facts) finding
		want  verdict
	}{
		{"no stream at all", facts{stream: streamFacts{err: errNoEvent}, browser: &probe{err: remote.ErrEnded}}, diagnoseLive, isFailed},
		{"a probe without header", facts{browser: &probe{err: remote.ErrEnded}}, diagnoseUnchanged, isUnknown},
		{"a probe without events", facts{browser: &probe{err: remote.ErrEnded}}, diagnoseCursor, isUnknown},
		{"silence refused", facts{silent: &probe{err: &remote.Refusal{Why: "it answers 503"}}, beating: &probe{}}, diagnoseSilence, isUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.line(&tt.facts); got.Verdict != tt.want || got.Words == "" {
				t.Errorf("got %+v, want %s", got, tt.want)
			}
		})
	}
}

func newServer(t *testing.T) *remote.Server {
	base, err := url.Parse("http://localhost:8080")
	if err != nil {
		t.Fatal(err)
	}
	return remote.New(base, "")
}

// Colors appear only on a terminal whose user has not disabled them. Lines fit the terminal.
func TestReport(t *testing.T) {
	tests := []struct {
		name     string
		terminal bool
		env      string
		color    bool
	}{
		{"terminal", true, "", true},
		{"NO_COLOR", true, "NO_COLOR=1", false},
		{"dumb", true, "TERM=dumb", false},
		{"pipe", false, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TERM", "xterm")
			t.Setenv("NO_COLOR", "")
			if name, value, ok := strings.Cut(tt.env, "="); ok {
				t.Setenv(name, value)
			}
			reader, writer, err := os.Pipe()
			if tt.terminal {
				reader, writer, err = pty.Open()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			defer writer.Close()
			width := terminal.Columns
			if tt.terminal {
				width = 60
				if err := pty.Setsize(writer, &pty.Winsize{Rows: 24, Cols: uint16(width)}); err != nil {
					t.Fatal(err)
				}
			}
			r := newReport(Options{Server: newServer(t), Out: writer}, newProgress(nil))
			r.add(finding{"live", isHeld, strings.Repeat("no event came before the end ", 3) + "\x1b[2J", strings.Repeat("have it changed ", 10)})
			if err := r.end(OnlyPolling); err != nil {
				t.Fatal(err)
			}
			_ = writer.Close()
			// The output can still be read. A terminal ends with EIO instead of EOF.
			all, err := io.ReadAll(reader)
			if err != nil && !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(all), "\r\n", "\n")
			if got := strings.Contains(text, "\x1b[31mHELD"); got != tt.color || strings.Contains(text, "\x1b[2J") {
				t.Errorf("got %q, want color %v", text, tt.color)
			}
			for _, color := range []string{"\x1b[31m", "\x1b[1m", noColor} {
				text = strings.ReplaceAll(text, color, "")
			}
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width || strings.Contains(line, "\x1b") {
					t.Errorf("got a line of %d letters, %q; want %d at most and no other codes", n, line, width)
				}
			}
		})
	}
}

// A terminal shows the progress in a line that is erased afterwards. Other output shows no progress.
func TestProgress(t *testing.T) {
	reader, writer, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	if err := pty.Setsize(writer, &pty.Winsize{Rows: 24, Cols: 60}); err != nil {
		t.Fatal(err)
	}
	p := newProgress(writer)
	p.start("testing idle timeout", 35*time.Second)
	p.start("contacting the server", 0)
	p.stop()
	_ = writer.Close()
	all, err := io.ReadAll(reader)
	if err != nil && !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	const want = "\r0 s of at most 35 s  testing idle timeout\x1b[K\r\x1b[K\r0 s  contacting the server\x1b[K\r\x1b[K"
	if string(all) != want {
		t.Errorf("got %q, want %q", all, want)
	}

	var pipe strings.Builder
	p = newProgress(&pipe)
	p.start("contacting the server", 0)
	p.stop()
	if pipe.Len() > 0 {
		t.Errorf("got %q on what is no terminal, want nothing", pipe.String())
	}
}
