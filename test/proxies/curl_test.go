package proxies

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/test/rig"
)

// printed is a running program that reads events, and when it printed each line.
type printed struct {
	ended chan struct{} // closed when it has ended
	kill  func()        // also if it has ended

	mu    sync.Mutex
	rest  []byte
	lines []line
}

type line struct {
	text string
	at   time.Time
}

// startCurl starts curl on a path of the server, through the proxy. It is killed when
// the test ends.
func startCurl(t testing.TB, via *Running, path string) *printed {
	t.Helper()
	// --compressed: what every browser says it can read.
	cmd := exec.Command(need(t, "curl"), "-sN", "--compressed", "--insecure", via.URL+path)
	if via.Via != nil {
		cmd.Args = append(cmd.Args, "--proxy", via.Via.String(), "--noproxy", "")
	}
	return startReader(t, cmd)
}

func startReader(t testing.TB, cmd *exec.Cmd) *printed {
	t.Helper()
	c := &printed{ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = c, c
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is seen in what it printed
		close(c.ended)
	}()
	c.kill = func() {
		_ = cmd.Process.Kill()
		<-c.ended
	}
	t.Cleanup(c.kill)
	return c
}

// Write takes what the program prints.
func (c *printed) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, p...)
	for {
		end := bytes.IndexByte(c.rest, '\n')
		if end < 0 {
			return len(p), nil
		}
		c.lines = append(c.lines, line{string(c.rest[:end]), time.Now()})
		c.rest = c.rest[end+1:]
	}
}

// when returns when the program printed a line, the zero time if it has not.
func (c *printed) when(text string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lines {
		if l.text == text {
			return l.at
		}
	}
	return time.Time{}
}

func (c *printed) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all strings.Builder
	for _, l := range c.lines {
		all.WriteString(l.text + "\n")
	}
	return all.String()
}

// wait waits for a line and returns when it came; the zero time if it did not.
func (c *printed) wait(deadline time.Duration, text string) time.Time {
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if at := c.when(text); !at.IsZero() {
			return at
		}
	}
	return time.Time{}
}

// The times of judge.
const (
	startOf = 3 * time.Second        // a stream that has brought nothing by then is held back
	step    = 500 * time.Millisecond // between two events, so that it is seen which one pushed which out
)

// judge says what the proxy does to a stream of curl -N, and how much later than
// emitted an event comes: the median.
func judge(t *testing.T, server *rig.Server, via *Running) (Verdict, time.Duration) {
	t.Helper()
	c := startCurl(t, via, "/events?room=curl")
	if c.wait(startOf, "data: 1").IsZero() {
		if text := c.text(); text != "" {
			t.Errorf("a stream without any event printed:\n%s", text)
		}
		return Whole, 0
	}
	names := []string{"one", "two", "three"}
	emitted := make([]time.Time, len(names)+1)
	for i, name := range names {
		emitted[i] = time.Now()
		emit(t, server, "curl", name, name)
		c.wait(step, `data: "`+name+`"`)
		rig.Wait(t, 2*step, "the next event's turn", func() bool { return time.Since(emitted[i]) >= step })
	}
	emitted[len(names)] = time.Now()
	verdict := Live
	var delays []time.Duration
	for i, name := range names {
		at := c.when(`data: "` + name + `"`)
		if at.IsZero() || at.After(emitted[i+1]) {
			verdict = Late
			continue
		}
		delays = append(delays, at.Sub(emitted[i]))
	}
	if verdict != Live {
		return verdict, 0
	}
	slices.Sort(delays)
	return verdict, delays[len(delays)/2]
}
