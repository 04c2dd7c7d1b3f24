package web

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestTrend(t *testing.T) {
	start := time.Unix(1_000_000_000, 0) // the beginning of a step
	type change struct {
		after time.Duration
		users int
	}
	tests := []struct {
		name    string
		changes []change
		asked   time.Duration
		want    []point
	}{
		{"nothing yet", nil, 0, []point{{0, 0}}},
		{"time passes", nil, 12 * time.Second, []point{{0, 0}, {0, 0}, {0, 0}}},
		{"one comes", []change{{1 * time.Second, 1}}, 6 * time.Second, []point{{1, 1}, {1, 1}}},
		{"a peak within a step", []change{{6 * time.Second, 9}, {7 * time.Second, 2}}, 11 * time.Second, []point{{0, 0}, {9, 2}, {2, 2}}},
		{"a step begins with who is there", []change{{0, 5}, {6 * time.Second, 3}}, 6 * time.Second, []point{{5, 5}, {5, 3}}},
		{"the clock is set back", []change{{10 * time.Second, 4}, {2 * time.Second, 7}}, 3 * time.Second, []point{{0, 0}, {0, 0}, {7, 7}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := newTrend("lobby", start)
			for _, c := range test.changes {
				tr.counted("lobby", c.users, start.Add(c.after))
			}
			if got := tr.points("lobby", start.Add(test.asked)); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestTrendForgetsAfterTenMinutes(t *testing.T) {
	start := time.Unix(1_000_000_000, 0)
	tr := newTrend("lobby", start)
	tr.counted("lobby", 50, start)
	tr.counted("lobby", 1, start.Add(time.Second))
	for _, test := range []struct {
		after      time.Duration
		peak, size int
	}{
		{10*time.Minute - time.Second, 50, 120},
		{10 * time.Minute, 1, 120},
		{24 * time.Hour, 1, 120},
		{10000 * time.Hour, 1, 120},
	} {
		points := tr.points("lobby", start.Add(test.after))
		peak := 0
		for _, p := range points {
			peak = max(peak, p.Peak)
		}
		if peak != test.peak || len(points) != test.size {
			t.Errorf("after %v: peak %d in %d points, want %d in %d", test.after, peak, len(points), test.peak, test.size)
		}
	}
}

// Strangers name rooms: they can neither fill the memory nor push out the lobby or, by empty rooms, those in use.
func TestTrendKeepsFewRooms(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	tr := newTrend("lobby", now)
	tr.counted("in use", 3, now)
	for i := range 10 * trendRooms {
		now = now.Add(trendStep)
		room := fmt.Sprint("passing ", i)
		tr.counted(room, 1, now)
		tr.counted(room, 0, now)
	}
	if got := len(tr.rooms); got != trendRooms {
		t.Errorf("kept %d rooms, want %d", got, trendRooms)
	}
	for _, room := range []string{"lobby", "in use", fmt.Sprint("passing ", 10*trendRooms-1)} {
		if tr.points(room, now) == nil {
			t.Errorf("dropped %q", room)
		}
	}
	for i := range 10 * trendRooms {
		now = now.Add(trendStep)
		tr.counted(fmt.Sprint("busy ", i), 1, now)
	}
	if got := len(tr.rooms); got != trendRooms {
		t.Errorf("kept %d rooms, want %d", got, trendRooms)
	}
	if tr.points("lobby", now) == nil {
		t.Error("dropped the lobby")
	}
	if tr.points("in use", now) != nil {
		t.Error("kept the room that changed least recently")
	}
	tr.counted("never anybody", 0, now)
	if tr.points("never anybody", now) != nil {
		t.Error("keeps a room in which there was nobody")
	}
}
