package engine

import (
	"testing"
	"time"
)

func TestJoins(t *testing.T) {
	var j joins
	at := time.Unix(1000, 0)
	j.add("a", at)
	j.add("a", at.Add(500*time.Millisecond))
	j.add("b", at.Add(time.Second))
	j.add("a", at.Add(9*time.Second))
	for _, test := range []struct {
		room  string
		after time.Duration
		want  int
	}{
		{"a", 0, 3}, {"a", 9 * time.Second, 3}, {"b", 9 * time.Second, 1}, {"c", 9 * time.Second, 0},
		{"a", 10 * time.Second, 1}, {"b", 10 * time.Second, 1}, {"b", 11 * time.Second, 0}, {"a", 19 * time.Second, 0},
	} {
		if got := j.count(test.room, at.Add(test.after)); got != test.want {
			t.Errorf("room %s after %v: got %d, want %d", test.room, test.after, got, test.want)
		}
	}
	j.add("b", at.Add(20*time.Second)) // takes the place of the first second
	if a, b := j.count("a", at.Add(20*time.Second)), j.count("b", at.Add(20*time.Second)); a != 0 || b != 1 {
		t.Errorf("a second later got %d and %d, want 0 and 1", a, b)
	}
}
