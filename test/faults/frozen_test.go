package faults

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"headcount/test/rig"
)

// A node was frozen and resumes. It drops no user whose time ran out meanwhile, because their renewals are still
// waiting to be read. A stream through a proxy has 12 s for its first answer.
func TestFrozenNodeKeepsItsUsers(t *testing.T) {
	const users = 25
	s := rig.Start(t)
	watcher := rig.Subscribe(t, s.URL, "lobby")
	followers := make([]*rig.Subscriber, users)
	for i := range followers {
		followers[i] = &rig.Subscriber{URL: s.URL, Room: "lobby", ID: fmt.Sprintf("frozen-user-%d", i), Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}
		followers[i].Start(t, rig.Once)
	}
	rig.Wait(t, 10*time.Second, "everybody is counted", func() bool { return watcher.Count() == users+1 })
	before := len(watcher.Events())

	pid := s.Pid()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// The kernel takes their answers, and nobody reads them until the node wakes.
	var asking sync.WaitGroup
	for _, f := range followers {
		asking.Go(func() {
			if err := f.Post(ctx, "/alive"); err != nil {
				t.Error(err)
			}
		})
	}
	time.AfterFunc(14*time.Second, func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	asking.Wait()
	rig.Wait(t, 10*time.Second, "the node answers", func() bool { return s.Count("lobby") == users+1 })
	for _, e := range watcher.Events()[before:] {
		if e.Name == "user count" && e.Data != fmt.Sprint(users+1) {
			t.Errorf("the count was %s after a while without the process, want %d", e.Data, users+1)
		}
	}
}
