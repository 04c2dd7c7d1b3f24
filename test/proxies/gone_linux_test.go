package proxies

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"headcount/test/rig"
)

// inNamespace is set in the process that has a network of its own.
const inNamespace = "HEADCOUNT_TEST_NAMESPACE"

// Clients that end in every way, and some that stay, behind every proxy at once: who
// has gone is out of the count in time, who stays is in it all the time.
func TestGone(t *testing.T) { apart(t, gone) }

// apart runs a test in a network namespace, so that dropped packets are nobody else's: the
// test starts itself there.
func apart(t *testing.T, test func(*testing.T)) {
	if os.Getenv(inNamespace) != "" {
		run(t, "ip", "link", "set", "lo", "up")
		test(t)
		return
	}
	need(t, "nft")
	need(t, "ip")
	ready, told, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=25m", "-page="+strconv.FormatBool(*writePage))
	child.Env = append(os.Environ(), inNamespace+"=1")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.ExtraFiles = []*os.File{told} // see tellStarted
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	if err := child.Start(); err != nil {
		t.Fatalf("start test in a network namespace (this takes root): %v", err)
	}
	told.Close()
	// Starting many proxies takes all there is of the machine; what follows is mostly
	// waiting, and the other tests may run.
	_, _ = ready.Read(make([]byte, 1))
	t.Parallel()
	if err := child.Wait(); err != nil {
		t.Errorf("test in a network namespace: %v", err)
	}
}

// tellStarted tells the process that waits for this one that all is started.
func tellStarted(t *testing.T) {
	t.Helper()
	if _, err := os.NewFile(3, "told").Write([]byte{1}); err != nil {
		t.Errorf("tell of the start: %v", err)
	}
}

// The ways to end.
var ends = []struct {
	name string
	end  func(*net.TCPConn)
}{
	{"FIN", func(c *net.TCPConn) { c.Close() }},
	{"RST", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
	{"vanished", nil}, // see cutOff
}

const (
	lingerTime = 2 * time.Second
	heartbeat  = 10 * time.Second
	slack      = 2 * time.Second // of a busy machine, and of looking once in a while
	settled    = 7 * time.Second // when nobody is on probation any more
	stays      = 70 * time.Second
)

// within is the time in which a client that ended has to be out of the count.
func (p Proxy) within(end string) time.Duration {
	switch {
	case end == "vanished" && p.run == nil:
		return 30*time.Second + slack
	case end == "vanished" || p.Hears == Never && p.Streams == Live:
		return 60*time.Second + slack
	case p.Hears == AtOnce:
		return lingerTime + slack
	case p.Hears == Second:
		return 3*heartbeat + lingerTime + slack // the first write may be on its way
	}
	// A poll that nobody reads ends by itself, and its client might have come back.
	return 20*time.Second + 10*time.Second + lingerTime + slack
}

// life is one client and what the server counts of it.
type life struct {
	*reader
	proxy Proxy
	room  string
	end   string        // "" = stays
	took  time.Duration // from its end until it was out of the count; 0 before
}

func gone(t *testing.T) {
	run(t, "nft", "add table inet test; add chain inet test in { type filter hook input priority 0; }")
	server := rig.Start(t, "-token", token, "-drain", "1s", "-h2c")
	lives := populate(t, server)
	for _, l := range lives {
		rig.Wait(t, 15*time.Second, l.room+" counted", func() bool { return server.Count(l.room) == 1 })
	}
	watch(t, server, lives, settled, false)
	for _, l := range lives {
		if polled := l.proxy.Streams != Live; !polled && !l.proxy.Disguised && l.proxy.run != nil && !l.wantsAnswers() {
			t.Errorf("%s: the server does not see that the stream came through a proxy", l.proxy.Name)
		}
	}
	tries := make(map[*life]int)
	for _, l := range lives {
		tries[l] = len(l.Attempts())
	}

	diagnosed := doctors(t, lives)
	began := time.Now()
	cutOff(t, lives)
	for _, how := range ends {
		for _, l := range lives {
			if l.end == how.name && how.end != nil {
				l.Die(how.end)
			}
		}
	}
	watch(t, server, lives, stays-time.Since(began), true)
	diagnosed()
	report(t, lives)
	for _, l := range lives {
		if l.end != "" {
			continue
		}
		if n := len(l.Attempts()) - tries[l]; l.proxy.Streams == Live && n > 0 {
			t.Errorf("%s: a stream that answers was opened %d times again", l.room, n)
		}
		emit(t, server, l.room, "news", "7")
		l.Await(t, time.Second, "news", "7")
	}

	// The server dies: readers that a proxy leaves in silence come back by themselves.
	server.Kill()
	server.Restart()
	for _, l := range lives {
		if l.end == "" {
			rig.Wait(t, silence+10*time.Second, l.room+" counted by the next server", func() bool { return server.Count(l.room) == 1 })
			if got := l.Got("news"); len(got) != 1 {
				t.Errorf("%s: got the news %d times, want once", l.room, len(got))
			}
		}
	}
}

// populate starts the clients: at each proxy, and at the server, one for each end and
// one that stays; each in a room of its own, by the way that works there.
func populate(t *testing.T, server *rig.Server) []*life {
	t.Helper()
	ways := []*Running{{Proxy: Proxy{Name: "none", Streams: Live, Hears: AtOnce}, URL: server.URL}}
	for _, p := range All() {
		ways = append(ways, p.Start(t, server.Addr))
	}
	var lives []*life
	for _, way := range ways {
		for i := range len(ends) + 1 {
			l := &life{proxy: way.Proxy, room: way.Name + ": stays"}
			if i < len(ends) {
				l.end = ends[i].name
				l.room = way.Name + ": " + l.end
			}
			l.reader = read(t, way, l.room, "client-"+strconv.Itoa(i), way.Streams != Live)
			lives = append(lives, l)
		}
	}
	tellStarted(t)
	return lives
}

// watch looks at the counts for a while: who is there has to be counted each time, who
// has gone must be out of the count in time.
func watch(t *testing.T, server *rig.Server, lives []*life, span time.Duration, ended bool) {
	t.Helper()
	began := time.Now()
	for time.Since(began) < span {
		time.Sleep(200 * time.Millisecond)
		for _, l := range lives {
			if l.took != 0 {
				continue
			}
			since := time.Since(began)
			count := server.Count(l.room)
			switch {
			case ended && l.end != "":
				if count == 0 {
					l.took = since
				}
			case count != 1:
				t.Errorf("%s: counted %d after %v, want 1 all the time", l.room, count, since)
				l.took = since // said once
			}
		}
	}
}

// report says how long each took, and fails the test where that was too long.
func report(t *testing.T, lives []*life) {
	t.Helper()
	var table strings.Builder
	table.WriteString("| proxy | FIN | RST | vanished |\n|---|---|---|---|\n")
	for row := range slices.Chunk(lives, len(ends)+1) {
		cells := []string{row[0].proxy.Name}
		for _, l := range row[:len(ends)] {
			cell := fmt.Sprintf("%.0f s", l.took.Seconds())
			if limit := l.proxy.within(l.end); l.took == 0 || l.took > limit {
				t.Errorf("%s: out of the count after %v, want %v at most (0s: never)", l.room, l.took, limit)
			}
			cells = append(cells, cell)
		}
		fmt.Fprintf(&table, "| %s |\n", strings.Join(cells, " | "))
	}
	publish(t, "gone", table.String())
}

// cutOff drops every packet from and to the clients that vanish.
func cutOff(t *testing.T, lives []*life) {
	t.Helper()
	var rules strings.Builder
	for _, l := range lives {
		if l.end != "vanished" {
			continue
		}
		l.Die(func(c *net.TCPConn) {
			// Both ports: others may have connections from one of them.
			ours, theirs := port(c.LocalAddr().String()), port(c.RemoteAddr().String())
			const drop = "add rule inet test in tcp sport %s tcp dport %s drop\n"
			fmt.Fprintf(&rules, drop+drop, ours, theirs, theirs, ours)
		})
	}
	run(t, "nft", rules.String())
}

func run(t *testing.T, command string, args ...string) {
	t.Helper()
	if out, err := exec.Command(need(t, command), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
}
