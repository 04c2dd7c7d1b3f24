package main

import (
	"testing"
	"time"
)

func TestDelay(t *testing.T) {
	const almostOne = 0.999999
	tests := []struct {
		name     string
		base     time.Duration
		failures int
		min, max time.Duration
	}{
		{"first try is jittered too", 2 * time.Second, 0, time.Second, 2 * time.Second},
		{"doubles", 2 * time.Second, 3, 8 * time.Second, 16 * time.Second},
		{"capped before the jitter", 2 * time.Second, 9, maxDelay / 2, maxDelay},
		{"no overflow", 2 * time.Second, 1 << 30, maxDelay / 2, maxDelay},
		{"no overflow with the longest base", 1 << 60, 19, maxDelay / 2, maxDelay},
		{"retry: 0 does not spin", 0, 0, minBase / 2, minBase},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := delay(tt.base, tt.failures, 0); got != tt.min {
				t.Errorf("shortest: got %v, want %v", got, tt.min)
			}
			if got := delay(tt.base, tt.failures, almostOne); got > tt.max || got < tt.max-tt.max/1000 {
				t.Errorf("longest: got %v, want almost %v", got, tt.max)
			}
		})
	}
}

func TestDelayAfter(t *testing.T) {
	tests := []struct {
		name        string
		after, base time.Duration
		random      float64
		want        time.Duration
	}{
		{"never earlier", 7 * time.Second, 2 * time.Second, 0, 7 * time.Second},
		{"jittered", 7 * time.Second, 2 * time.Second, 0.5, 8 * time.Second},
		{"not for ever", 48 * time.Hour, 2 * time.Second, 0, maxRetryAfter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := delayAfter(tt.after, tt.base, tt.random); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestParseRetry(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"2140", 2140 * time.Millisecond, true},
		{"0", 0, true},
		{"", 0, false},
		{"-5", 0, false},
		{"+5", 0, false},
		{"1.5", 0, false},
		{"99999999999999999999", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, ok := parseRetry([]byte(tt.in))
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("got %v %v, want %v %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name, in string
		want     time.Duration
	}{
		{"seconds", "17", 17 * time.Second},
		{"date", "Fri, 02 Jan 2026 03:04:25 GMT", 20 * time.Second},
		{"date that has passed", "Fri, 02 Jan 2026 03:00:00 GMT", 0},
		{"none", "", 0},
		{"rubbish", "soon", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseRetryAfter(tt.in, now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
