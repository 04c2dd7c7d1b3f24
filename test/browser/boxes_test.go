package browser

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"headcount/test/rig"
)

// Through middleboxes that change what passes, a page has the right count within 4 s and each event within a second
// and once. Its connection stays up.
func TestBoxes(t *testing.T) {
	for name, test := range map[string]struct {
		how manner
		way string
	}{
		"one event late":      {lags, "stream"},
		"4 KiB at a time":     {blocks, "poll"},
		"polls cut after 2 s": {hurries, "poll"},
		"nothing but GET":     {censors, "poll"},
		"\\r\\n for \\n":      {retypes, "stream"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := rig.Start(t, "-token", token)
			box := newBox(t, server, test.how)
			t.Cleanup(func() { emit(t, server, "lobby", "end", "0") }) // of the poll under way
			tb := newChrome(t).open(box.URL + "/test/client.html")
			eval[bool](tb, follow)
			tb.expect(4*time.Second, "user count 1")
			begin := time.Now()
			var want []string
			for i := 0; time.Since(begin) < 8*time.Second; i++ {
				line := fmt.Sprintf("news %d", i)
				want = append(want, line)
				emit(t, server, "lobby", "news", fmt.Sprint(i))
				tb.logs(time.Second, line)
				sent := time.Now()
				rig.Wait(t, slow, "a while to pass", func() bool {
					if got := server.Count("lobby"); got != 1 {
						t.Fatalf("/count says %d after %v, want 1", got, time.Since(begin))
					}
					return time.Since(sent) > 2500*time.Millisecond
				})
			}
			if got := tb.only("news"); !slices.Equal(got, want) {
				t.Errorf("heard %q, want %q", got, want)
			}
			if got := eval[string](tb, `socket.transport`); got != test.way {
				t.Errorf("the transport is %s, want %s", got, test.way)
			}
			if got := tb.only("disconnect"); len(got) > 0 {
				t.Errorf("heard %q", got)
			}
			tb.faultless("502 (Bad Gateway)", "403 (Forbidden)")
		})
	}
}
