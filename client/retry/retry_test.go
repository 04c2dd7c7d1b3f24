package retry_test

import (
	"net/http"
	"testing"
	"time"

	"headcount/client/retry"
	"headcount/client/subscribe/transporttest"
)

// The delays match the table that is also used to test io.js.
func TestDelay(t *testing.T) {
	for _, tt := range transporttest.Read(t, "../../docs/transport.json").Delays {
		t.Run(tt.Name, func(t *testing.T) {
			got := retry.Delay(ms(tt.Base), tt.Failures, ms(tt.RetryAfter), tt.Random)
			if want := ms(tt.MS); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestParseAfter(t *testing.T) {
	table := transporttest.Read(t, "../../docs/transport.json").RetryAfter
	for _, tt := range table.Cases {
		t.Run(tt.Name, func(t *testing.T) {
			if got, want := retry.ParseAfter(http.Header{"Retry-After": tt.Headers}, table.Now), ms(tt.MS); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestParseField(t *testing.T) {
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
			got, ok := retry.ParseField([]byte(tt.in))
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("got %v %v, want %v %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
