package union_test

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"headcount/internal/cluster/union"
)

// BenchmarkMillion lets a node receive a million users of 49 other nodes, lose all these nodes, and receive them again.
func BenchmarkMillion(b *testing.B) {
	const nodes, each = 49, 20_000
	random := rand.New(rand.NewPCG(1, 2))
	var sets []union.Set
	var payloads [][]byte
	for i := range nodes {
		s := union.Set{Node: string(rune('A' + i)), Room: "r", State: union.State{Instance: 1, Seq: 1}, Parts: 1}
		for range each {
			h := random.Uint64()
			s.Users = append(s.Users, h)
			s.Size++
			s.Xor ^= h
		}
		sets, payloads = append(sets, s), append(payloads, union.Append(nil, s))
	}
	for b.Loop() {
		now := time.Unix(1e9, 0)
		m := union.New(union.Options{Node: "self", Incarnation: 1})
		m.Connect(now, true)
		m.Open(now, "r", nil, 0)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		begin := time.Now()
		for _, payload := range payloads {
			s, _, _ := union.Decode(payload)
			m.Apply(now, s)
		}
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "ms-to-hear")
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(nodes*each), "B/user")
		m.Tick(now)
		for range 20 {
			now = now.Add(time.Second)
			m.Tick(now)
		}
		if got, _ := m.Count("r"); got != 0 {
			b.Fatalf("got %d users of silent nodes", got)
		}
		begin = time.Now()
		for _, s := range sets {
			m.Apply(now, union.Digest{Node: s.Node, Sets: []union.RoomState{{Room: "r", State: s.State}}})
		}
		m.Tick(now.Add(20 * time.Millisecond))
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "ms-to-see-again")
		if got, _ := m.Count("r"); got != nodes*each {
			b.Fatalf("got %d users, want %d", got, nodes*each)
		}
	}
}

// BenchmarkRooms opens 10,000 rooms, and is asked for all of them, while it keeps 20,000 users of a stopped node.
func BenchmarkRooms(b *testing.B) {
	const rooms, users = 10_000, 20_000
	now := time.Unix(1e9, 0)
	kept := union.Kept{Room: "r", Users: make([]uint64, users), Millis: make([]uint32, users)}
	for i := range users {
		kept.Users[i], kept.Millis[i] = uint64(i), 60_000
	}
	for b.Loop() {
		m := union.New(union.Options{Node: "self", Incarnation: 1})
		m.Connect(now, true)
		m.Apply(now, kept)
		for i := range rooms {
			key := strconv.Itoa(i)
			m.Open(now, key, nil, 0)
			m.Apply(now, union.Sync{Node: "other", Sets: []union.RoomState{{Room: key}}})
		}
	}
}
