package web

import "testing"

func TestChart(t *testing.T) {
	tests := []struct {
		name   string
		points []point
		want   chart
	}{
		{"nothing known", nil, chart{PeakX: 120, PeakY: 94, PeakAge: "just now"}},
		{"one user fills a quarter", []point{{1, 1}}, chart{
			Line: "M119 72H120", Area: "M119 72H120V100H119Z", PeakX: 119, PeakY: 72, Peak: 1, PeakAge: "just now",
		}},
		{"a peak within a step is drawn", []point{{0, 0}, {8, 4}, {4, 4}}, chart{
			Line: "M117 94H118V6V50H120", Area: "M117 94H118V6V50H120V100H117Z", PeakX: 118, PeakY: 6, Peak: 8, PeakAge: "just now",
		}},
		{"of equal peaks the latest is marked", append([]point{{4, 4}, {4, 4}}, make([]point, 24)...), chart{
			Line: "M94 6H96V94V94H120", Area: "M94 6H96V94V94H120V100H94Z", PeakX: 95, PeakY: 6, Peak: 4, PeakAge: "2 min ago",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := newChart(test.points); got != test.want {
				t.Errorf("got\n%+v, want\n%+v", got, test.want)
			}
		})
	}
}
