package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headcount/internal/cluster"
	"headcount/test/rig"
)

// The same tests run on a single node and on several nodes over NATS. On several nodes, events are emitted on the
// first one and read on the second.
func TestConformance(t *testing.T) {
	engines := []struct {
		name  string
		start func(t *testing.T, change ...func(*options, *cluster.Options)) (emits, reads string)
	}{
		{"memory", func(t *testing.T, change ...func(*options, *cluster.Options)) (string, string) {
			n := startNode(t, "", change...)
			return n.URL, n.URL
		}},
		{"nats", func(t *testing.T, change ...func(*options, *cluster.Options)) (string, string) {
			url := startNATS(t, 0, t.TempDir()).URL
			return startNode(t, url, change...).ready(t).URL, startNode(t, url, change...).ready(t).URL
		}},
		{"nats of Debian", func(t *testing.T, change ...func(*options, *cluster.Options)) (string, string) {
			url := startNATSOf(t, debianNATS(t), 0, t.TempDir()).URL
			return startNode(t, url, change...).ready(t).URL, startNode(t, url, change...).ready(t).URL
		}},
	}
	rows := []struct {
		name string
		test func(t *testing.T, emits, reads string)
	}{
		{"order", testOrder},
		{"once", testOnce},
		{"rooms are apart", testRooms},
		{"resume", testResume},
		{"newcomer gets no history", testNewcomer},
		{"cursors that lead nowhere", testBadCursors},
		{"id of an emit is a cursor", testEmitID},
		{"idempotency", testIdempotency},
		{"states", testStates},
		{"data", testData},
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			for _, row := range rows {
				t.Run(row.name, func(t *testing.T) {
					emits, reads := e.start(t)
					row.test(t, emits, reads)
				})
			}
			short := func(w *options, c *cluster.Options) { w.History, c.History = 10, 10 }
			t.Run("history is bounded", func(t *testing.T) {
				emits, reads := e.start(t, short)
				testBound(t, emits, reads)
			})
			t.Run("keys outlive the history", func(t *testing.T) {
				emits, reads := e.start(t, short)
				testOldKey(t, emits, reads)
			})
		})
	}
}

// debianNATS is the NATS server of Debian, 2.9 in Debian 12.
func debianNATS(t *testing.T) string {
	t.Helper()
	const bin = "/usr/sbin/nats-server" // which is not on everybody's PATH
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	return rig.Need(t, "nats-server", "apt-get install nats-server")
}

// awaitData waits for the data of all events so far.
func awaitData(t *testing.T, r *reader, want ...string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !slices.Equal(r.data(), want); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("events: got %v, want %v", r.data(), want)
		}
	}
}

func numbers(from, to int) []string {
	var list []string
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

func emitNumbers(t *testing.T, node string, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		mustEmit(t, node, "lobby", "n", fmt.Sprint(i))
	}
}

// When several clients emit at once, all readers get the events in one order, and those of each client in the order in
// which it emitted them.
func testOrder(t *testing.T, emits, reads string) {
	readers := []*reader{read(t, emits, "lobby", "client-0001"), read(t, reads, "lobby", ""), read(t, reads, "lobby", "client-0003")}
	const writers, each = 8, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			node := []string{emits, reads}[w%2]
			for i := range each {
				if code, a, err := emit(node, "lobby", "n", fmt.Sprint(w*1000+i), ""); err != nil || code != http.StatusOK {
					t.Errorf("emit: got %d %v %v, want 200", code, a, err)
				}
			}
		})
	}
	wg.Wait()
	for _, r := range readers {
		rig.Wait(t, 10*time.Second, "all events", func() bool { return len(r.data()) == writers*each })
	}
	want := readers[0].data()
	for _, r := range readers[1:] {
		if !slices.Equal(r.data(), want) {
			t.Errorf("two readers disagree about the order")
		}
	}
	next := make(map[int]int)
	for _, text := range want {
		var v int
		fmt.Sscan(text, &v)
		if v%1000 != next[v/1000] {
			t.Fatalf("writer %d: got its event %d, want %d", v/1000, v%1000, next[v/1000])
		}
		next[v/1000]++
	}
}

// A reader whose stream is cut again and again gets every event once.
func testOnce(t *testing.T, emits, reads string) {
	r := read(t, reads, "lobby", "client-0001")
	for i := range 200 {
		mustEmit(t, emits, "lobby", "n", fmt.Sprint(i))
		if i%10 == 5 {
			r.hop(reads)
		}
	}
	awaitData(t, r, numbers(0, 199)...)
}

func testRooms(t *testing.T, emits, reads string) {
	a, b := read(t, reads, "a", "client-0001"), read(t, reads, "b", "client-0002")
	mustEmit(t, emits, "a", "n", "1")
	mustEmit(t, emits, "b", "n", "2")
	mustEmit(t, emits, "c", "n", "3")
	mustEmit(t, emits, "a", "n", "4")
	awaitData(t, a, "1", "4")
	awaitData(t, b, "2")
}

func testResume(t *testing.T, emits, reads string) {
	r := read(t, reads, "lobby", "client-0001")
	emitNumbers(t, emits, 1, 3)
	awaitData(t, r, numbers(1, 3)...)
	r.stop()
	emitNumbers(t, emits, 4, 9)
	again := newReaderFrom(t, []string{reads}, "lobby", "client-0001", r.cursor())
	awaitData(t, again, numbers(4, 9)...)
	emitNumbers(t, emits, 10, 12)
	awaitData(t, again, numbers(4, 12)...)
}

func testNewcomer(t *testing.T, emits, reads string) {
	emitNumbers(t, emits, 1, 3)
	r := read(t, reads, "lobby", "client-0001")
	emitNumbers(t, emits, 4, 4)
	awaitData(t, r, "4")
}

// A bad cursor is never an error. The client gets an io:gap and everything that is kept.
func testBadCursors(t *testing.T, emits, reads string) {
	emitNumbers(t, emits, 1, 3)
	r := read(t, reads, "lobby", "client-0001")
	r.stop()
	part := strings.Split(r.cursor(), ".")
	for name, cursor := range map[string]string{
		"malformed":  "no cursor",
		"empty part": "....",
		"epoch":      "otherone." + strings.Join(part[1:], "."),
		"future":     part[0] + ".99999999." + part[2] + "." + part[3],
		"too large":  part[0] + ".99999999999999999999999999." + part[2] + "." + part[3],
	} {
		t.Run(name, func(t *testing.T) {
			awaitData(t, newReaderFrom(t, []string{reads}, "lobby", "client-0002", cursor), "io:gap", "1", "2", "3")
		})
	}
}

func testEmitID(t *testing.T, emits, reads string) {
	first := mustEmit(t, emits, "lobby", "n", "1")
	emitNumbers(t, emits, 2, 3)
	awaitData(t, newReaderFrom(t, []string{reads}, "lobby", "client-0001", first.ID), "2", "3")
}

func testIdempotency(t *testing.T, emits, reads string) {
	r := read(t, reads, "lobby", "client-0001")
	code, first, err := emit(emits, "lobby", "n", "1", "key-1")
	if err != nil || code != http.StatusOK {
		t.Fatalf("emit: got %d %v, want 200", code, err)
	}
	for _, node := range []string{emits, reads, emits} {
		code, again, err := emit(node, "lobby", "n", "1", "key-1")
		if err != nil || code != http.StatusOK || again != first {
			t.Errorf("same key: got %d %v %v, want 200 %v", code, again, err, first)
		}
	}
	// Whatever else it says: it is the same one.
	if code, again, err := emit(reads, "other", "m", "2", "key-1"); err != nil || code != http.StatusOK || again != first {
		t.Errorf("same key, other event: got %d %v %v, want 200 %v", code, again, err, first)
	}
	// All at once.
	var wg sync.WaitGroup
	ids := make([]string, 10)
	for i := range ids {
		wg.Go(func() {
			_, a, _ := emit([]string{emits, reads}[i%2], "lobby", "n", "2", "key-2")
			ids[i] = a.ID
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] == "" || ids[0] != ids[9] {
		t.Errorf("ids of one key at once: got %v, want one", ids)
	}
	emit(reads, "lobby", "n", "3", "key-3")
	awaitData(t, r, "1", "2", "3")
}

// The first count of a new client includes it. Nobody keeps an old count, and no count is sent twice.
func testStates(t *testing.T, emits, reads string) {
	first := read(t, emits, "lobby", "client-0000")
	for i := 1; i < 10; i++ {
		r := read(t, []string{emits, reads}[i%2], "lobby", fmt.Sprintf("client-%04d", i))
		if got := r.seen()[0]; got != i+1 {
			t.Errorf("first count of reader %d: got %d, want %d", i, got, i+1)
		}
		first.await(t, i+1)
		rig.Wait(t, 5*time.Second, "the same count on both", func() bool { return count(emits, "lobby") == i+1 && count(reads, "lobby") == i+1 })
	}
	seen := first.seen()
	if !slices.Equal(seen, slices.Compact(slices.Clone(seen))) {
		t.Errorf("counts: got %v, want none twice in a row", seen)
	}
}

func testData(t *testing.T, emits, reads string) {
	r := read(t, reads, "Räume & mehr/1.*>", "client-0001")
	for _, data := range []string{`"a\nb"`, `{"b":1,"a":[null,true]}`, `"<&>"`, `null`, `1e3`} {
		mustEmit(t, emits, "Räume & mehr/1.*>", "ev ent.*>", data)
	}
	rig.Wait(t, 5*time.Second, "five events", func() bool { return len(r.data()) == 5 })
	for i, want := range []string{`"a\nb"`, `{"b":1,"a":[null,true]}`, `"<&>"`, `null`, `1e3`} {
		got := r.data()[i]
		var a, b any
		if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("data: got %s, want %s", got, want)
		}
	}
}

// If there are more events than the history holds, the last ones are kept. A client that missed one gets an io:gap.
func testBound(t *testing.T, emits, reads string) {
	r, other := read(t, reads, "lobby", "client-0001"), read(t, reads, "lobby", "client-0003")
	emitNumbers(t, emits, 1, 2)
	awaitData(t, r, "1", "2")
	r.stop()
	emitNumbers(t, emits, 3, 30)
	rig.Wait(t, 5*time.Second, "event 30 on the other node", func() bool {
		all := other.data()
		return all[len(all)-1] == "30"
	})
	again := newReaderFrom(t, []string{reads}, "lobby", "client-0001", r.cursor())
	awaitData(t, again, append([]string{"io:gap"}, numbers(21, 30)...)...)
	fresh := newReaderFrom(t, []string{emits}, "lobby", "client-0002", r.cursor())
	awaitData(t, fresh, append([]string{"io:gap"}, numbers(21, 30)...)...)
}

// An idempotency key is remembered even after its event has left the history.
func testOldKey(t *testing.T, emits, reads string) {
	code, first, err := emit(emits, "lobby", "n", "1", "key-1")
	if err != nil || code != http.StatusOK {
		t.Fatalf("emit: got %d %v, want 200", code, err)
	}
	emitNumbers(t, emits, 2, 30)
	for _, node := range []string{emits, reads} {
		if code, again, err := emit(node, "lobby", "n", "1", "key-1"); err != nil || code != http.StatusOK || again != first {
			t.Errorf("same key: got %d %v %v, want 200 %v", code, again, err, first)
		}
	}
}
