// Package restart replaces the running server, and checks whether anybody notices.
package restart

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headcount/test/crowd"
	"headcount/test/rig"
)

// soon is how long a test waits for what must happen.
const soon = 30 * time.Second

// watch reads a room and keeps every count.
func watch(t *testing.T, server *rig.Server, room, id string) *rig.Subscriber {
	t.Helper()
	s := &rig.Subscriber{URL: server.URL, Room: room, ID: id}
	s.Start(t, rig.Once)
	return s
}

// numbers returns the counts that the subscriber got.
func numbers(s *rig.Subscriber) (all []string) {
	for _, e := range s.Got("user count") {
		all = append(all, e.Data)
	}
	return all
}

// visitors joins and leaves a room with perSecond users each second, until stop is closed.
func visitors(server *rig.Server, room string, perSecond int, stop chan struct{}) (done *sync.WaitGroup) {
	done = new(sync.WaitGroup)
	done.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			done.Go(func() {
				req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/events?room=%s&id=visitor-%06d", server.URL, room, n), nil)
				if err != nil {
					panic(err)
				}
				way := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
				resp, err := (&http.Client{Transport: way}).Do(req)
				if err != nil {
					return // it came when the old process had just gone
				}
				io.ReadFull(resp.Body, make([]byte, 64))
				resp.Body.Close()
			})
		}
	})
	return done
}

// In two upgrades under load everybody keeps the connection, gets each event once and in order, and sees only one
// number.
func TestUpgrade(t *testing.T) {
	server := rig.Start(t, "-token", crowd.Token)
	c := crowd.Open(t, server, "lobby", 200)
	c.Join(t, crowd.Proxied, 20)
	c.Join(t, crowd.Polling, 10)
	anonymous, named := watch(t, server, "lobby", ""), watch(t, server, "lobby", "watching-1")
	c.AwaitCount(t, soon, c.Size()+2)
	rig.Wait(t, soon, "the watchers to know", func() bool { return anonymous.Count() == c.Size()+2 && named.Count() == c.Size()+2 })
	anonymous.Forget()
	named.Forget()
	stop := make(chan struct{})
	visiting := visitors(server, "busy", 50, stop)
	c.Emit(10)
	key := emit(t, server, "side", "1", "one key")
	var pid int
	for range 2 {
		before := c.Accepted()
		rig.Wait(t, soon, "events before the upgrade", func() bool { return c.Accepted() > before+10 })
		pid = server.Pid()
		t.Logf("nothing was written for %v", server.Upgrade())
		if server.Pid() == pid {
			t.Errorf("it is still process %d", pid)
		}
		if again := emit(t, server, "side", "1", "one key"); again != key {
			t.Errorf("the same idempotency key: got %s, want %s", again, key)
		}
	}
	before := c.Accepted()
	rig.Wait(t, soon, "events after the upgrades", func() bool { return c.Accepted() > before+10 })
	close(stop)
	visiting.Wait()
	c.AwaitEvents(t, soon)
	c.AwaitCount(t, soon, c.Size()+2)
	for _, s := range []*rig.Subscriber{anonymous, named} {
		want := fmt.Sprint(c.Size() + 2)
		if all := numbers(s); slices.ContainsFunc(all, func(n string) bool { return n != want }) {
			t.Errorf("the reader %q was told %v, want %s alone", s.ID, all, want)
		}
		if all := s.Attempts(); len(all) != 1 || !all[0].Ended.IsZero() {
			t.Errorf("the reader %q has made %d connections, want one that is still open", s.ID, len(all))
		}
	}
	rig.Wait(t, soon, "the visitors to have left", func() bool { return server.Count("busy") == 0 })
}

// emit sends an event and returns the answer.
func emit(t *testing.T, server *rig.Server, room, data, key string) string {
	t.Helper()
	answer, err := tryEmit(server, room, data, key)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func tryEmit(server *rig.Server, room, data, key string) (string, error) {
	req, err := http.NewRequest(http.MethodPost, server.URL+"/emit", strings.NewReader(fmt.Sprintf(`{"room":%q,"event":"n","data":%s}`, room, data)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+crowd.Token)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("emit: got %s %s, %w", resp.Status, answer, err)
	}
	return string(answer), nil
}

// Scripts that place turns into something that is no program.
const (
	folder = "a folder"
	locked = "a program that may not be executed"
)

// place writes a program to the path from which the server was started.
func place(t *testing.T, path, target, script string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var err error
	switch {
	case target != "":
		err = os.Symlink(target, path)
	case script == folder:
		err = os.Mkdir(path, 0o755)
	case script == locked:
		err = os.WriteFile(path, []byte("#!/bin/sh\n"), 0o644)
	case script != "":
		err = os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// If the file at the path is not a server that can take over, the old server keeps running and logs why. Then a good
// one takes over.
func TestFailedUpgrades(t *testing.T) {
	t.Parallel() // it mostly waits
	real := rig.Build(t, "server")
	path := filepath.Join(t.TempDir(), "headcount")
	place(t, path, real, "")
	server := rig.StartProgram(t, path, "-token", crowd.Token)
	c := crowd.Open(t, server, "lobby", 100)
	c.Emit(10)
	for _, row := range []struct{ name, script, says string }{
		{"no program", "", "no such file or directory"},
		{"a folder", folder, "permission denied"},
		{"it may not be executed", locked, "permission denied"},
		{"it crashes", "kill -SEGV $$", "ended before it said hello: signal: segmentation fault"},
		{"bad flags", "exec " + real + " -nonsense", "ended before it said hello: exit status 2"},
		{"a version that takes over nothing", "unset HEADCOUNT_PREDECESSOR; exec " + real + ` "$@"`, "ended before it said hello: exit status 1"},
		{"too few descriptors", "ulimit -n 60; exec " + real + ` "$@"`, "may not open as many files"},
		{"it hangs", "exec sleep 60", "has not said hello within 10s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			place(t, path, "", row.script)
			before := len(server.Log())
			server.Signal(syscall.SIGUSR2)
			rig.Wait(t, soon, "the log to say why", func() bool {
				log := server.Log()[before:]
				return strings.Contains(log, "not upgraded") && strings.Contains(log, row.says)
			})
			emitted := c.Accepted()
			rig.Wait(t, soon, "more events", func() bool { return c.Accepted() > emitted+5 })
			c.AwaitEvents(t, soon)
			c.AwaitCount(t, soon, c.Size())
		})
	}
	place(t, path, real, "")
	server.Upgrade()
	c.AwaitEvents(t, soon)
	c.AwaitCount(t, soon, c.Size())
}

// Ten upgrades in a row leave nothing behind.
func TestTenUpgrades(t *testing.T) {
	server := rig.StartPlain(t, "-token", crowd.Token)
	c := crowd.Open(t, server, "lobby", 200)
	c.Emit(10)
	var first, last crowd.Vitals
	var longest time.Duration
	for i := range 10 {
		longest = max(longest, server.Upgrade())
		c.AwaitEvents(t, soon)
		last = crowd.Look(t, server)
		t.Logf("%d: %s", i+1, last)
		if i == 0 {
			first = last
		}
	}
	t.Logf("the longest time without a write: %v", longest)
	c.AwaitCount(t, soon, c.Size())
	if last.Files > first.Files+5 || last.Goroutines > first.Goroutines+5 || last.Memory > first.Memory+first.Memory/4+4<<20 {
		t.Errorf("after one upgrade it had %s, after ten %s", first, last)
	}
}

// Streams over HTTP/2 cannot be handed over. They end cleanly, and their clients reconnect and see the same number.
func TestUpgradeWithHTTP2(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t, "-token", crowd.Token, "-h2c")
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	direct := watch(t, server, "lobby", "")
	var readers []*rig.Subscriber
	for i := range 20 {
		s := &rig.Subscriber{URL: server.URL, Room: "lobby", Transport: &http.Transport{Protocols: &protocols}}
		if i%2 == 0 {
			s.ID = fmt.Sprintf("reader-%04d", i)
		}
		s.Start(t, rig.Every(200*time.Millisecond))
		readers = append(readers, s)
	}
	direct.AwaitCount(t, soon, 21)
	direct.Forget()
	emit(t, server, "lobby", "1", "")
	for _, s := range readers {
		s.Await(t, soon, "n", "1")
	}
	server.Upgrade()
	emit(t, server, "lobby", "2", "")
	for _, s := range readers {
		s.Await(t, soon, "n", "2")
		if got := len(s.Got("n")); got != 2 || len(s.Got("io:gap")) > 0 {
			t.Errorf("the reader %q got %d events and %d gaps, want 2 and none", s.ID, got, len(s.Got("io:gap")))
		}
		all := s.Attempts()
		if first := all[0]; len(all) != 2 || first.Err != io.EOF {
			t.Errorf("the reader %q made %d attempts, the first ended with %v, want 2 and the end of the stream", s.ID, len(all), first.Err)
		}
	}
	if all := numbers(direct); slices.ContainsFunc(all, func(n string) bool { return n != "21" }) {
		t.Errorf("a reader whose stream stayed was told %v, want 21 alone", all)
	}
	server.Stop()
}

// A connection between two requests is handed over too. A client that sends another request does not notice.
func TestUpgradeKeepsConnections(t *testing.T) {
	t.Parallel() // it mostly waits
	server := rig.Start(t)
	conn, err := net.Dial("tcp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i := range 3 {
		if i > 0 {
			server.Upgrade()
		}
		conn.SetDeadline(time.Now().Add(soon))
		fmt.Fprintf(conn, "GET /count HTTP/1.1\r\nHost: headcount.test\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("after %d upgrades: %v", i, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if got := strings.TrimSpace(string(body)); got != `{"room":"lobby","users":0}` {
			t.Errorf("after %d upgrades: got %s", i, got)
		}
	}
	server.Stop()
}
