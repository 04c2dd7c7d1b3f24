package union_test

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"headcount/internal/cluster/union"
)

// samples returns a message of each kind without empty fields.
func samples() []union.Message {
	s := union.State{Instance: 1 << 60, Seq: 2, Size: 3, Xor: 1<<64 - 1, Anonymous: 4}
	return []union.Message{
		union.Heartbeat{Node: "a", Incarnation: 1 << 63, Rooms: 2, Users: 3},
		union.Delta{Node: "a", Room: "r", Instance: 1, Seq: 2, Anonymous: 3, Left: []uint64{4}, Joined: []uint64{5, 6}},
		union.Digest{Node: "a", Sets: []union.RoomState{{Room: "r", State: s}, {Room: "q", State: s}}},
		union.Sync{Node: "a", Sets: []union.RoomState{{Room: "r", State: s}}},
		union.Set{Node: "a", Room: "r", State: s, Part: 1, Parts: 2, Users: []uint64{1, 2}},
		union.Closed{Node: "a", Room: "r", Instance: 7},
		union.Goodbye{Room: "r", Grace: time.Second, Users: []uint64{9}},
		union.Kept{Node: "a", Room: "r", Repeat: true, Back: []uint64{2}, Users: []uint64{1, 2}, Millis: []uint32{3, 255}},
		union.Stopped{Node: "a", Incarnation: 9},
		union.Renew{Room: "r", Users: []uint64{1}},
	}
}

// A payload of several messages decodes to the same messages.
func TestCodec(t *testing.T) {
	var b []byte
	for _, m := range samples() {
		b = union.Append(b, m)
	}
	for _, want := range samples() {
		var got union.Message
		var err error
		if got, b, err = union.Decode(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v %v, want %+v", got, err, want)
		}
	}
	if len(b) != 0 {
		t.Errorf("got %d bytes more", len(b))
	}
}

// The state of a room takes less space than 8 users of a Kept message, so as many states as an eighth of the users fit into a
// message.
func TestSizeOfState(t *testing.T) {
	s := union.RoomState{Room: "of the length of tokens", State: union.State{
		Instance: math.MaxUint64, Seq: math.MaxUint64, Size: math.MaxInt, Xor: math.MaxUint64, Anonymous: math.MaxUint32,
	}}
	one, two := union.Digest{Sets: []union.RoomState{s}}, union.Digest{Sets: []union.RoomState{s, s}}
	if got := len(union.Append(nil, two)) - len(union.Append(nil, one)); got > 8*21 {
		t.Errorf("the state of a room is %d bytes", got)
	}
}

// malformed are payloads that begin with no message. 257 (d9 01 01) is the tag of a Delta.
var malformed = []string{
	"\xd9", "\xd9\x01\x01", "\xa0", "\x01", "\xd9\x02\x00\xa0", "\xd9\x01\x01\x01", "\xd9\x01\x01\xa1\x64Node\x01",
	"\xd9\x01\x01\xa1\x66Joined\x43123", "\xd9\x01\x01\xa1\x66Joined\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
}

func TestMalformed(t *testing.T) {
	for _, payload := range malformed {
		if msg, _, err := union.Decode([]byte(payload)); err == nil {
			t.Errorf("%q: got %+v, want an error", payload, msg)
		}
	}
	// A later version may have more fields.
	want := union.Delta{Node: "a"}
	if got, _, err := union.Decode([]byte("\xd9\x01\x01\xa2\x64Node\x61a\x65Other\x01")); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
}

// A user takes 8 bytes of a whole set.
func TestSizeOfSet(t *testing.T) {
	users := make([]uint64, 1000)
	if got := len(union.Append(nil, union.Set{Node: "abcdefgh", Room: "lobby", Users: users})); got > 8*len(users)+100 {
		t.Errorf("a set of %d users is %d bytes", len(users), got)
	}
}

// FuzzMessages checks that a machine survives any message. It counts at least its own users, and no user twice.
func FuzzMessages(f *testing.F) {
	for _, m := range samples() {
		f.Add(union.Append(nil, m))
		f.Add(union.Append(union.Append(nil, m), m))
	}
	for _, payload := range malformed {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		now := time.Unix(1e9, 0)
		m := union.New(union.Options{Node: "self", Incarnation: 1, HasStream: func(_, _ string) bool { return true }})
		m.Connect(now, true)
		m.Open(now, "r", []string{"client-0"}, 2)
		for rest := payload; len(rest) > 0; {
			msg, more, err := union.Decode(rest)
			if err != nil {
				return
			}
			encoded := union.Append(nil, msg)
			if again, _, err := union.Decode(encoded); err != nil || !bytes.Equal(union.Append(nil, again), encoded) {
				t.Fatalf("got %+v %v, want %+v", again, err, msg)
			}
			m.Apply(now, msg)
			rest = more
		}
		for range 20 {
			now = now.Add(time.Second)
			m.Tick(now)
		}
		if got, open := m.Count("r"); !open || got < 3 {
			t.Errorf("got %d users, want 3 at least", got)
		}
	})
}
