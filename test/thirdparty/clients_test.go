package thirdparty

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	launchdarkly "github.com/launchdarkly/eventsource"
	r3labs "github.com/r3labs/sse/v2"
	gosse "github.com/tmaxmax/go-sse"

	"headcount/test/rig"
)

// client is one of the clients that already exist, used as its own documentation has it. It writes a line "NAME DATA"
// for each event until ctx ends or the client gives up.
type client struct {
	name      string
	afterEnd  bool // comes back by itself after a stream that ended, as when the server is stopped
	afterKill bool // and after one that broke, as when the server is killed
	run       func(ctx context.Context, t *testing.T, server string, out io.Writer) error
}

func clients() []client {
	return []client{
		{name: "curl", run: curl},
		{name: "npm eventsource", run: node("eventsource.mjs"), afterEnd: true, afterKill: true},
		{name: "npm eventsource-client", run: node("eventsource-client.mjs"), afterEnd: true, afterKill: true},
		{name: "npm fetch-event-source", run: node("fetch-event-source.mjs"), afterEnd: true, afterKill: true},
		{name: "npm event-source-polyfill", run: node("event-source-polyfill.mjs"), afterEnd: true, afterKill: true},
		{name: "tmaxmax go-sse", run: tmaxmax, afterEnd: true, afterKill: true},
		{name: "launchdarkly eventsource", run: launchDarkly, afterEnd: true, afterKill: true},
		// Its client takes the end of a stream for the end of its task.
		{name: "r3labs sse", run: r3labsSSE, afterKill: true},
	}
}

func curl(ctx context.Context, t *testing.T, server string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, rig.Need(t, "curl", "apt-get install curl"), "-sN", server+"/events")
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	printed := &rig.Subscriber{Take: func(_ context.Context, e *rig.Event) bool {
		fmt.Fprintln(out, e.Name, e.Data)
		return false
	}}
	printed.Consume(ctx, lines)
	return cmd.Wait()
}

func node(script string) func(context.Context, *testing.T, string, io.Writer) error {
	return func(ctx context.Context, t *testing.T, server string, out io.Writer) error {
		cmd := exec.CommandContext(ctx, rig.Need(t, "node", "apt-get install nodejs npm"), script, server+"/events")
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		return cmd.Run()
	}
}

func tmaxmax(ctx context.Context, _ *testing.T, server string, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/events", nil)
	if err != nil {
		return err
	}
	conn := gosse.NewConnection(req)
	conn.SubscribeToAll(func(e gosse.Event) { fmt.Fprintln(out, e.Type, e.Data) })
	return conn.Connect()
}

func launchDarkly(ctx context.Context, _ *testing.T, server string, out io.Writer) error {
	stream, err := launchdarkly.SubscribeWithURL(server+"/events",
		launchdarkly.StreamOptionErrorHandler(func(error) launchdarkly.StreamErrorHandlerResult {
			return launchdarkly.StreamErrorHandlerResult{} // go on
		}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-stream.Events:
			if !ok {
				return io.EOF
			}
			fmt.Fprintln(out, e.Event(), e.Data())
		}
	}
}

func r3labsSSE(ctx context.Context, _ *testing.T, server string, out io.Writer) error {
	return r3labs.NewClient(server+"/events").SubscribeWithContext(ctx, "lobby", func(e *r3labs.Event) {
		fmt.Fprintf(out, "%s %s\n", e.Event, e.Data)
	})
}

// TestMain installs the npm packages when they are not there as package-lock.json has them.
func TestMain(m *testing.M) {
	if err := rig.InstallNPM("."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Every client sees the number, sees it change, and reconnects if it can.
func TestClients(t *testing.T) {
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := rig.Start(t, "-drain", "1s", "-heartbeat", "100ms")
			// A client that waits for its first event until the second one comes would pass with a busy room: nobody
			// else is here.
			it := start(t, c, server.URL)
			it.wait(10*time.Second, "user count 1")

			other := rig.Subscribe(t, server.URL, "lobby")
			it.wait(2*time.Second, "user count 2")
			other.Stop()
			it.wait(2*time.Second, "user count 1")

			// Some clients take what is no event, such as a heartbeat, for an empty one.
			awaitHeartbeats(t, server.URL, 5)
			if lines := it.out.String(); strings.Contains(lines, "error") || slices.Contains(strings.Split(lines, "\n"), " ") {
				t.Errorf("the client has trouble, or got an event without a name:\n%s", lines)
			}

			restart(t, server, it, "ends", c.afterEnd, server.Stop)
			if !c.afterEnd && c.afterKill {
				it = start(t, c, server.URL)
				it.wait(10*time.Second, "user count 1")
			}
			if c.afterKill {
				restart(t, server, it, "breaks", true, server.Kill)
			}
		})
	}
}

// awaitHeartbeats returns when a stream of a room without events has had n of them.
func awaitHeartbeats(t *testing.T, server string, n int) {
	t.Helper()
	resp, err := http.Get(server + "/events?room=silent")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); n > 0; {
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		if lines.Text() == ":" {
			n--
		}
	}
}

// restart ends the server in the given way, starts it again, and expects the client to be back, or to have ended.
func restart(t *testing.T, server *rig.Server, it *run, what string, back bool, end func() time.Duration) {
	t.Helper()
	before := len(it.counts())
	end()
	server.Restart()
	if !back {
		select {
		case <-it.ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s still runs after a stream that %s; expected it to give up", it.name, what)
		}
		return
	}
	rig.Wait(t, 45*time.Second, it.name+" back after a stream that "+what, func() bool { return len(it.counts()) > before })
	it.wait(2*time.Second, "user count 1")
	if got := server.Count("lobby"); got != 1 {
		t.Errorf("server counts %d, want 1", got)
	}
}

// run is a client at work.
type run struct {
	t     *testing.T
	name  string
	out   *rig.Buffer
	ended chan struct{}
}

func start(t *testing.T, c client, server string) *run {
	ctx, cancel := context.WithCancel(t.Context())
	it := &run{t: t, name: c.name, out: &rig.Buffer{}, ended: make(chan struct{})}
	go func() {
		defer close(it.ended)
		if err := c.run(ctx, t, server, it.out); ctx.Err() == nil {
			t.Logf("%s ended: %v", c.name, err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-it.ended
		if t.Failed() {
			t.Logf("%s printed:\n%s", it.name, it.out.String())
		}
	})
	return it
}

// counts are the lines of user counts so far. There are others, such as io:gap after a restart.
func (r *run) counts() []string {
	return slices.DeleteFunc(strings.Split(r.out.String(), "\n"), func(line string) bool {
		return !strings.HasPrefix(line, "user count ")
	})
}

// wait waits until the last count is want.
func (r *run) wait(deadline time.Duration, want string) {
	r.t.Helper()
	rig.Wait(r.t, deadline, fmt.Sprintf("%s to print %q last", r.name, want), func() bool {
		counts := r.counts()
		return len(counts) > 0 && counts[len(counts)-1] == want
	})
}

// Letters beyond ASCII arrive in Python, though the content type has no charset. "requests" has to be told, see
// docs/decisions/0033.
func TestLettersInPython(t *testing.T) {
	server := rig.Start(t, "-token", "secret")
	for _, library := range []string{"requests", "httpx", "aiohttp", "urllib"} {
		t.Run(library, func(t *testing.T) {
			// Debian's Python, which has Debian's libraries.
			python := rig.Need(t, "/usr/bin/python3", "apt-get install python3-requests python3-httpx python3-aiohttp")
			it := start(t, client{name: library, run: func(ctx context.Context, _ *testing.T, url string, out io.Writer) error {
				cmd := exec.CommandContext(ctx, python, "lines.py", library, url+"/events?room=hostile")
				cmd.Stdout, cmd.Stderr = out, os.Stderr
				return cmd.Run()
			}}, server.URL)
			rig.Wait(t, 10*time.Second, "the stream", func() bool { return len(it.counts()) > 0 })
			emit(t, server.URL, "news", `"é 你 👋"`, false)
			rig.Wait(t, 5*time.Second, "the letters", func() bool { return strings.Contains(it.out.String(), `news "é 你 👋"`) })
		})
	}
}
