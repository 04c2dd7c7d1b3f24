package page

import (
	"strings"
	"testing"
)

func TestChart(t *testing.T) {
	tests := []struct {
		name   string
		points []Point
		want   Chart
	}{
		{"nothing known", nil, Chart{
			Line: "M0 94H1200", Area: "M0 94H1200V94H0Z", Top: 4, Half: 2, PeakX: 600, PeakY: 94, PeakAge: "just now", Span: "5 seconds",
		}},
		{"one user takes the whole width and a quarter of the height", []Point{{1, 1}}, Chart{
			Line: "M0 72H1200", Area: "M0 72H1200V94H0Z", Top: 4, Half: 2, PeakX: 600, PeakY: 72, Peak: 1, PeakAge: "just now", Span: "5 seconds",
		}},
		{"a peak within a step lasts as long as the step", []Point{{0, 0}, {8, 4}, {4, 4}}, Chart{
			Line: "M0 94H400V6H800V50H1200", Area: "M0 94H400V6H800V50H1200V94H0Z", Top: 8, Half: 4, PeakX: 600, PeakY: 6, Peak: 8,
			PeakAge: "5 s ago", Span: "15 seconds",
		}},
		{"the step that goes on shows its peak too", []Point{{4, 4}, {4, 2}}, Chart{
			Line: "M0 6H1200", Area: "M0 6H1200V94H0Z", Top: 4, Half: 2, PeakX: 900, PeakY: 6, Peak: 4, PeakAge: "just now", Span: "10 seconds",
		}},
		{"of equal peaks the latest is marked", append([]Point{{4, 4}, {4, 4}}, make([]Point, 28)...), Chart{
			Line: "M0 6H80V94H1200", Area: "M0 6H80V94H1200V94H0Z", Top: 4, Half: 2, PeakX: 60, PeakY: 6, Peak: 4,
			PeakAge: "2 min ago", Span: "2 minutes",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := NewChart(test.points); got != test.want {
				t.Errorf("got\n%+v, want\n%+v", got, test.want)
			}
		})
	}
}

func TestChartTop(t *testing.T) {
	for peak, want := range map[int]int{0: 4, 4: 4, 5: 6, 11: 12, 13: 16, 31: 40, 41: 60, 999: 1000, 1001: 1200, 2_500_000: 3_000_000} {
		if got := chartTop(peak); got != want {
			t.Errorf("peak %d: got %d, want %d", peak, got, want)
		}
	}
}

func TestChartSpan(t *testing.T) {
	for steps, want := range map[int]string{1: "5 seconds", 11: "55 seconds", 12: "minute", 23: "minute", 24: "2 minutes", 120: "10 minutes"} {
		if got := NewChart(make([]Point, steps)).Span; got != want {
			t.Errorf("%d steps: got %q, want %q", steps, got, want)
		}
	}
	if line := NewChart(make([]Point, 120)).Line; strings.Contains(line, "V6") {
		t.Errorf("nobody was there, and the line is %s", line)
	}
}
