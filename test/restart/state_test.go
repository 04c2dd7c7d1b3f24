package restart

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"headcount/test/crowd"
	"headcount/test/rig"
)

// back reconnects like a client that the server has told to reconnect.
func back() rig.Again { return rig.Every(300 * time.Millisecond) }

// The server stops and starts again. 1,000 clients, half of them without an id, reconnect, miss nothing and see only
// one number.
func TestState(t *testing.T) {
	t.Parallel() // it mostly waits
	const n = 1000
	file := filepath.Join(t.TempDir(), "state")
	server := rig.Start(t, "-token", crowd.Token, "-state", file, "-drain", "2s")
	readers := make([]*rig.Subscriber, n)
	for i := range readers {
		readers[i] = &rig.Subscriber{URL: server.URL, Room: "lobby"}
		if i%2 == 0 {
			readers[i].ID = fmt.Sprintf("reader-%04d", i)
		}
		readers[i].Start(t, back())
	}
	rig.Wait(t, soon, "all to know how many they are", func() bool {
		return !slices.ContainsFunc(readers, func(s *rig.Subscriber) bool { return s.Count() != n })
	})
	for _, s := range readers {
		s.Forget()
	}
	emit(t, server, "lobby", "1", "")
	key := emit(t, server, "lobby", "2", "one key")
	server.Stop()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the state has mode %v, want 0600", info.Mode())
	}
	server.Restart()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the state is still there: %v", err)
	}
	if again := emit(t, server, "lobby", "2", "one key"); again != key {
		t.Errorf("the same idempotency key: got %s, want %s", again, key)
	}
	emit(t, server, "lobby", "3", "")
	for i, s := range readers {
		s.Await(t, soon, "n", "3")
		var got []string
		for _, e := range s.Got("n") {
			got = append(got, e.Data)
		}
		if !slices.Equal(got, []string{"1", "2", "3"}) || len(s.Got("io:gap")) > 0 {
			t.Fatalf("reader %d got %v and %d gaps, want 1 to 3 and none", i, got, len(s.Got("io:gap")))
		}
		if all := numbers(s); slices.ContainsFunc(all, func(text string) bool { return text != strconv.Itoa(n) }) {
			t.Fatalf("reader %d was told %v, want %d alone", i, all, n)
		}
	}
	if got := server.Count("lobby"); got != n {
		t.Errorf("got %d users, want %d", got, n)
	}
	server.Stop()
}

// Clients that do not reconnect after a restart leave the count.
func TestStateOfLostReaders(t *testing.T) {
	t.Parallel() // it mostly waits
	file := filepath.Join(t.TempDir(), "state")
	server := rig.Start(t, "-state", file, "-drain", "0", "-linger", "100ms")
	watch(t, server, "lobby", "")
	watch(t, server, "lobby", "reader-1").AwaitCount(t, soon, 2)
	server.Restart()
	if got := server.Count("lobby"); got != 2 {
		t.Errorf("just after the start: got %d users, want 2", got)
	}
	rig.Wait(t, soon, "nobody to be waited for", func() bool { return server.Count("lobby") == 0 })
	server.Stop()
}

// A file without a usable state is refused with one sentence, and the server starts empty.
func TestStateOfNoUse(t *testing.T) {
	t.Parallel() // it mostly waits
	file := filepath.Join(t.TempDir(), "state")
	server := rig.Start(t, "-token", crowd.Token, "-state", file)
	emit(t, server, "lobby", "1", "")
	server.Stop()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged, old, later := slices.Clone(good), slices.Clone(good), slices.Clone(good)
	damaged[len(damaged)-1] ^= 1
	later[len("headcount state 000")] = '9'
	for _, row := range []struct {
		name string
		data []byte
		says string
	}{
		{"damaged", damaged, "the state is damaged"},
		{"cut", old[:len(old)/2], "the state is damaged"},
		{"foreign", []byte("some text of somebody"), "no state of headcount"},
		{"of a later version", later, "this program reads version"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := os.WriteFile(file, row.data, 0o600); err != nil {
				t.Fatal(err)
			}
			server := rig.Start(t, "-state", file)
			if !strings.Contains(server.Log(), row.says) {
				t.Errorf("the log says nothing of it, want %q:\n%s", row.says, server.Log())
			}
			server.Stop()
			if data, err := os.ReadFile(file); row.name == "foreign" && !slices.Equal(data, row.data) {
				t.Errorf("the file of somebody else is now %q, %v; want it left alone", data, err)
			}
		})
	}
}

// A server that is killed leaves no state. Clients get an io:gap, and the count is right.
func TestKilled(t *testing.T) {
	t.Parallel() // it mostly waits
	file := filepath.Join(t.TempDir(), "state")
	server := rig.Start(t, "-token", crowd.Token, "-state", file)
	var readers []*rig.Subscriber
	for i := range 10 {
		s := &rig.Subscriber{URL: server.URL, Room: "lobby"}
		if i%2 == 0 {
			s.ID = fmt.Sprintf("reader-%04d", i)
		}
		s.Start(t, back())
		readers = append(readers, s)
	}
	for _, s := range readers {
		s.AwaitCount(t, soon, len(readers))
	}
	emit(t, server, "lobby", "1", "")
	for _, s := range readers {
		s.Await(t, soon, "n", "1")
	}
	server.Kill()
	server.Restart()
	for _, s := range readers {
		rig.Wait(t, soon, "the gap", func() bool { return len(s.Got("io:gap")) == 1 })
		s.AwaitCount(t, soon, len(readers))
	}
	server.Stop()
}
