package page

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestTrend(t *testing.T) {
	start := time.Unix(1_000_000_000, 0) // the start of a step
	type change struct {
		after time.Duration
		users int
	}
	tests := []struct {
		name    string
		changes []change
		asked   time.Duration
		want    []Point
	}{
		{"nothing yet", nil, 0, []Point{{Peak: 0, Last: 0}}},
		{"time passes", nil, 12 * time.Second, []Point{{Peak: 0, Last: 0}, {Peak: 0, Last: 0}, {Peak: 0, Last: 0}}},
		{"one comes", []change{{1 * time.Second, 1}}, 6 * time.Second, []Point{{Peak: 1, Last: 1}, {Peak: 1, Last: 1}}},
		{"a peak within a step", []change{{6 * time.Second, 9}, {7 * time.Second, 2}}, 11 * time.Second, []Point{{Peak: 0, Last: 0}, {Peak: 9, Last: 2}, {Peak: 2, Last: 2}}},
		{"a step begins with who is there", []change{{0, 5}, {6 * time.Second, 3}}, 6 * time.Second, []Point{{Peak: 5, Last: 5}, {Peak: 5, Last: 3}}},
		{"the clock is set back", []change{{10 * time.Second, 4}, {2 * time.Second, 7}}, 3 * time.Second, []Point{{Peak: 0, Last: 0}, {Peak: 0, Last: 0}, {Peak: 7, Last: 7}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := NewTrend("lobby", start)
			for _, c := range test.changes {
				tr.Counted("lobby", c.users, start.Add(c.after))
			}
			if got := tr.Points("lobby", start.Add(test.asked)); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestTrendForgetsAfterTenMinutes(t *testing.T) {
	start := time.Unix(1_000_000_000, 0)
	tr := NewTrend("lobby", start)
	tr.Counted("lobby", 50, start)
	tr.Counted("lobby", 1, start.Add(time.Second))
	for _, test := range []struct {
		after      time.Duration
		peak, size int
	}{
		{10*time.Minute - time.Second, 50, 120},
		{10 * time.Minute, 1, 120},
		{24 * time.Hour, 1, 120},
		{10000 * time.Hour, 1, 120},
	} {
		points := tr.Points("lobby", start.Add(test.after))
		peak := 0
		for _, p := range points {
			peak = max(peak, p.Peak)
		}
		if peak != test.peak || len(points) != test.size {
			t.Errorf("after %v: peak %d in %d points, want %d in %d", test.after, peak, len(points), test.peak, test.size)
		}
	}
}

// Strangers choose the names of rooms. They cannot fill the memory, and cannot displace the lobby. Empty rooms do not
// displace rooms in use.
func TestTrendKeepsFewRooms(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	tr := NewTrend("lobby", now)
	tr.Counted("in use", 3, now)
	for i := range 10 * trendRooms {
		now = now.Add(TrendStep)
		room := fmt.Sprint("passing ", i)
		tr.Counted(room, 1, now)
		tr.Counted(room, 0, now)
	}
	if got := len(tr.rooms); got != trendRooms {
		t.Errorf("kept %d rooms, want %d", got, trendRooms)
	}
	for _, room := range []string{"lobby", "in use", fmt.Sprint("passing ", 10*trendRooms-1)} {
		if tr.Points(room, now) == nil {
			t.Errorf("dropped %q", room)
		}
	}
	for i := range 10 * trendRooms {
		now = now.Add(TrendStep)
		tr.Counted(fmt.Sprint("busy ", i), 1, now)
	}
	if got := len(tr.rooms); got != trendRooms {
		t.Errorf("kept %d rooms, want %d", got, trendRooms)
	}
	if tr.Points("lobby", now) == nil {
		t.Error("dropped the lobby")
	}
	if tr.Points("in use", now) != nil {
		t.Error("kept the room that changed least recently")
	}
	tr.Counted("never anybody", 0, now)
	if tr.Points("never anybody", now) != nil {
		t.Error("keeps a room in which there was nobody")
	}
}
