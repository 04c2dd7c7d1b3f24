// Command feed emits the load of this machine once a second. Pages show the events as they happen.
//
//	HEADCOUNT_TOKEN=secret go run ./examples/feed http://localhost:8080
//
// Copy this program to start your own. It needs only the standard library. No event is lost or sent twice if the server
// is away for a while or a response does not arrive.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	room := flag.String("room", "machine", "the room to emit to")
	every := flag.Duration("every", time.Second, "time between two events")
	flag.Parse()
	server := "http://localhost:8080"
	if flag.NArg() > 0 {
		server = strings.TrimSuffix(flag.Arg(0), "/")
	}
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	to := target{server: server, token: os.Getenv("HEADCOUNT_TOKEN"), room: *room, log: os.Stderr}
	if err := feed(ctx, to, *every); err != nil {
		fmt.Fprintln(os.Stderr, "feed:", err)
		stop()
		os.Exit(1)
	}
}

// feed emits until ctx ends.
func feed(ctx context.Context, to target, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		now, err := readLoad("/proc/loadavg")
		if err != nil {
			return err
		}
		if err := to.emit(ctx, "load", now); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// load is the load of a machine.
type load struct {
	Minute   float64 `json:"minute"` // mean number of runnable tasks in the last minute
	Runnable int     `json:"runnable"`
	Tasks    int     `json:"tasks"`
}

// readLoad reads a file like /proc/loadavg of Linux, such as "0.42 0.31 0.30 2/345 6789".
func readLoad(path string) (load, error) {
	var l load
	text, err := os.ReadFile(path)
	if err != nil {
		return l, fmt.Errorf("read load: %w; this example is for Linux", err)
	}
	var five, fifteen float64
	if _, err := fmt.Sscanf(string(text), "%f %f %f %d/%d", &l.Minute, &five, &fifteen, &l.Runnable, &l.Tasks); err != nil {
		return l, fmt.Errorf("read load from %s: %w", path, err)
	}
	return l, nil
}

// target is where events go.
type target struct {
	server, token, room string
	log                 io.Writer
}

// refusal is a response that a retry would not change.
type refusal struct{ why string }

func (r *refusal) Error() string { return "the server refuses: " + r.why }

// emit sends an event until the server has accepted or refused it, or ctx ends. It waits up to 1 s after the first
// attempt, and up to 30 s later. The wait is capped first and jittered afterwards. Otherwise many senders would retry
// at the same moment.
func (t target) emit(ctx context.Context, event string, data any) error {
	body, err := json.Marshal(map[string]any{"event": event, "data": data, "room": t.room})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	// Every attempt has the same key. If only the response was lost, the server does not send the event again.
	key := rand.Text()
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := t.post(ctx, body, key)
		var refused *refusal
		if err == nil || errors.As(err, &refused) {
			return err
		}
		pause := wait/2 + mathrand.N(wait/2)
		fmt.Fprintf(t.log, "feed: %v; trying again in %.1f s\n", err, pause.Seconds())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (t target) post(ctx context.Context, body []byte, key string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.server+"/emit", bytes.NewReader(body))
	if err != nil {
		return &refusal{err.Error()}
	}
	req.Header.Set("Authorization", "Bearer "+t.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	// A redirect would turn the POST into a GET, whose response shows nothing about the event.
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("emit: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	switch why := resp.Status + " " + string(bytes.TrimSpace(answer)); {
	case resp.StatusCode == http.StatusOK:
		return nil
	case resp.StatusCode/100 == 3:
		return &refusal{resp.Status + "; use the address " + resp.Header.Get("Location")}
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("emit: %s", why)
	default:
		return &refusal{why}
	}
}
