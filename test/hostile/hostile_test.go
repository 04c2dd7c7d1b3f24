// Package hostile contains malicious clients. A hundred healthy readers must not notice them. Each event arrives once,
// in order and not much later, and at rest only the healthy readers are counted.
package hostile

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"headcount/test/crowd"
	"headcount/test/rig"
)

const healthy = 100 // readers

// Bytes that the server may have more than before, whatever is done to it.
const (
	// Of Go's heap when the garbage is out, by any one abuse.
	liveGrowth = 8 << 20
	// By 10,000 rooms, which are remembered for a minute, with a user in each who lingers.
	roomsGrowth = 32 << 20
	// Of the process, while it is done. Most of it is the garbage of four connections that each cancel HTTP/2 streams
	// as fast as they go: net/http begins 250 of a connection and lets 1000 wait, 6 KiB each, and the heap may double
	// before it is collected. Go gives such memory back to the system over minutes.
	growth = 96 << 20
)

// abuse is something that a malicious client does. It returns an error if the server answers in another way than it
// should.
type abuse struct {
	name string
	do   func(*field) error
}

func abuses() []abuse {
	return []abuse{
		{"never reads", neverRead},
		{"reads a byte a second", slowRead},
		{"half-closes", halfClose},
		{"storm of resets", resetStorm},
		{"10,000 rooms", manyRooms},
		{"pipelines behind a stream", pipelineBehindStream},
		{"giant headers", giantHeaders},
		{"bad chunks and lengths", badFraming},
		{"one id in 100 streams and two rooms", sameID},
		{"goodbyes and signs of life for others", speakForOthers},
		{"bodies of alive and leave", badBodies},
		{"names that cannot be", badNames},
		{"absurd cursors", absurdCursors},
		{"guesses the token", guessToken},
		{"emits what may not be emitted", badEmits},
		{"compressed bombs", bombs},
		{"old HTTP, TLS and noise", noise},
		{"hosts, origins and addresses", lies},
		{"paths out of the assets", traversal},
		{"strange methods", methods},
		{"polls that nobody waits for", abandonedPolls},
		{"many probes of the doctor", manyProbes},
		{"HTTP/2: rapid reset", rapidReset},
		{"HTTP/2: 250 streams on a connection", manyStreams},
		{"HTTP/2: no window", noWindow},
		{"HTTP/2: headers without end", endlessContinuation},
		{"HTTP/2: pings whose answers nobody reads", pings},
		{"HTTP/2: small header, large when unpacked", headerBomb},
		{"HTTP/2: settings whose answers nobody reads", settings},
	}
}

// slowAbuses take ten seconds or more each, during which the others go on.
func slowAbuses() []abuse {
	return []abuse{
		{"connects and says nothing", silence},
		{"begins like HTTP/2 and stops", halfPreface},
		{"header without end", endlessHeader},
		{"body of a byte a second", slowBody},
		{"HTTP/2: bodies that do not come", missingBodies},
		{"HTTP/2: streams that may not be written to", windowless},
	}
}

func TestAbuses(t *testing.T) {
	server := rig.StartPlain(t, "-token", crowd.Token, "-h2c")
	f := newField(t, server)

	var slow sync.WaitGroup
	results := make([]error, len(slowAbuses()))
	for i, a := range slowAbuses() {
		slow.Go(func() { results[i] = a.do(f) })
	}
	for _, a := range abuses() {
		t.Run(a.name, func(t *testing.T) {
			f.crowd.Lateness(1)
			// Long enough for the healthy ones to get some events meanwhile.
			for begin := time.Now(); time.Since(begin) < 400*time.Millisecond && !t.Failed(); {
				if err := a.do(f); err != nil {
					t.Error(err)
				}
			}
			allowed := int64(liveGrowth)
			if a.name == "10,000 rooms" {
				allowed = roomsGrowth
			}
			f.unharmed(t, allowed)
		})
	}
	slow.Wait()
	for i, a := range slowAbuses() {
		t.Run(a.name, func(t *testing.T) {
			if results[i] != nil {
				t.Error(results[i])
			}
		})
	}
	f.unharmed(t, liveGrowth)
	f.nothingLeft(t)
}

// field is the server, its healthy readers and what they measured.
type field struct {
	server *rig.Server
	crowd  *crowd.Crowd
	before crowd.Vitals
	live   int64         // bytes of heap, when last looked at
	normal time.Duration // the 99th percentile of how late events are without any abuse
}

// newField starts the healthy readers and looks at how they fare undisturbed.
func newField(t *testing.T, server *rig.Server) *field {
	t.Helper()
	f := &field{server: server, crowd: crowd.Open(t, server, "lobby", healthy)}
	f.crowd.Emit(20)
	time.Sleep(2 * time.Second) // what is measured here
	f.before, f.live = crowd.Look(t, server), crowd.Live(t, server)
	var n int
	n, f.normal = f.crowd.Lateness(0.99)
	t.Logf("undisturbed: p99 %v of %d deliveries; %v", f.normal.Round(time.Millisecond), n, f.before)
	return f
}

// unharmed fails the test if the healthy readers have noticed anything, or if the server needs more additional memory
// than allowed.
func (f *field) unharmed(t *testing.T, allowed int64) {
	t.Helper()
	f.crowd.AwaitEvents(t, 15*time.Second)
	f.crowd.AwaitCount(t, 15*time.Second, healthy)
	n, p99 := f.crowd.Lateness(0.99)
	now := crowd.Look(t, f.server)
	live := crowd.Live(t, f.server)
	t.Logf("p99 %v of %d deliveries; %v; live %.1f MiB", p99.Round(time.Millisecond), n, now, float64(live)/(1<<20))
	// The floor is for the machine: abusers, readers and server share its processors with whatever else runs there.
	if limit := 5*f.normal + 1500*time.Millisecond; p99 > limit {
		t.Errorf("the 99th percentile of how late events came is %v, want at most %v (undisturbed: %v)", p99, limit, f.normal)
	}
	if now.Memory > f.before.Memory+growth {
		t.Errorf("the process has %d bytes, before it had %d", now.Memory, f.before.Memory)
	}
	if live > f.live+allowed {
		t.Errorf("the server needs %d bytes of heap, before it needed %d", live, f.live)
	}
	f.live = live
}

// nothingLeft waits until the server has nothing that it did not have before, except idle connections and rooms that
// it keeps for a while.
func (f *field) nothingLeft(t *testing.T) {
	t.Helper()
	var now crowd.Vitals
	defer func() { t.Logf("at rest: %v", now) }()
	rig.Wait(t, 30*time.Second, fmt.Sprintf("users, streams, descriptors and goroutines as before (%v)", f.before), func() bool {
		now = crowd.Look(t, f.server)
		return now.Users == f.before.Users && now.Streams == f.before.Streams &&
			now.Files <= f.before.Files+5 && now.Goroutines <= f.before.Goroutines+5
	})
}
