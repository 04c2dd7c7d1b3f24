package proxies

import (
	"sync"
	"testing"

	"headcount/test/rig"
)

// doctors runs "client doctor" through every proxy that has one of the clients, a few at a time, and returns how to
// wait for what they say: streams work where they are live, only polling elsewhere, and POST passes everywhere.
func doctors(t *testing.T, lives []*life) (wait func()) {
	t.Helper()
	rig.Build(t, "client") // a failure here ends the test; elsewhere it could not
	seen := map[string]bool{}
	var all sync.WaitGroup
	places := make(chan struct{}, 3)
	for _, l := range lives {
		if seen[l.proxy.Name] {
			continue
		}
		seen[l.proxy.Name] = true
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			url, env := l.via.forGo()
			report, err := rig.Examine(t, url, "1s", env)
			if err != nil {
				t.Errorf("%s: %v", l.proxy.Name, err)
				return
			}
			want := 0
			if l.proxy.Streams != Live {
				want = 3
			}
			if report.Exit != want || !report.Polling {
				t.Errorf("%s: client doctor says streams %d (0: they work, 3: only polling), polling %v; want %d, true:\n%+v",
					l.proxy.Name, report.Exit, report.Polling, want, report.Findings)
			}
			for _, f := range report.Findings {
				if f.Name == "POST" && f.Verdict != "OK" {
					t.Errorf("%s: client doctor says of POST: %s, %s", l.proxy.Name, f.Verdict, f.Words)
				}
			}
		})
	}
	return all.Wait
}
