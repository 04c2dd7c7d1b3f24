package snapshot_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
	"time"

	"headcount/internal/snapshot"
)

type room struct {
	Name   string
	Seq    uint64
	Events [][]byte
	Left   time.Duration
}

var (
	written = time.Unix(1_700_000_000, 123)
	rooms   = []room{{"lobby", 7, [][]byte{[]byte("id: a\n\n"), []byte("x")}, -time.Second}, {Name: "b"}}
)

// headerSize is the offset of the state.
const headerSize = len("headcount state 0001\n") + 20

func seal(t testing.TB, state any) []byte {
	t.Helper()
	data, err := snapshot.Encode(written, state)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	var got []room
	at, err := snapshot.Decode(seal(t, rooms), &got)
	if err != nil || !reflect.DeepEqual(got, rooms) || !at.Equal(written) {
		t.Errorf("got %v of %v, %v, want %v of %v", got, at, err, rooms, written)
	}
}

// Another program may know more fields, or fewer. All other fields stay the same.
func TestOtherFields(t *testing.T) {
	type later struct {
		Name  string
		Shape string
		Seq   uint64
	}
	var got []later
	if _, err := snapshot.Decode(seal(t, rooms), &got); err != nil || got[0] != (later{Name: "lobby", Seq: 7}) {
		t.Errorf("with other fields: got %v, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	good := seal(t, rooms)
	changed := func(at int, b byte) []byte {
		bad := bytes.Clone(good)
		bad[at] = b
		return bad
	}
	for _, row := range []struct {
		name string
		data []byte
		want error
		says string
	}{
		{"nothing", nil, snapshot.ErrForeign, "no state of headcount"},
		{"another file", []byte(strings.Repeat("#!/bin/sh\n", 20)), snapshot.ErrForeign, "no state of headcount"},
		{"no version", changed(len("headcount state "), 'x'), snapshot.ErrForeign, "no state of headcount"},
		{"a later version", changed(len("headcount state 000"), '2'), snapshot.VersionError{Version: 2}, "version 2 of the format; this program reads version 1"},
		{"cut in the header", good[:30], snapshot.ErrForeign, "no state of headcount"},
		{"cut", good[:len(good)-1], snapshot.ErrDamaged, "bytes behind its header"},
		{"longer", append(bytes.Clone(good), 0), snapshot.ErrDamaged, "bytes behind its header"},
		{"another time", changed(headerSize-20, 1), snapshot.ErrDamaged, "checksum"},
		{"one bit of the state", changed(len(good)-1, good[len(good)-1]^1), snapshot.ErrDamaged, "checksum"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []room
			_, err := snapshot.Decode(row.data, &got)
			if !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want %q", err, row.says)
			}
		})
	}
}

// FuzzDecode checks that any bytes after a valid header give an error or a state, and no panic.
func FuzzDecode(f *testing.F) {
	good := seal(f, rooms)
	f.Add(good[headerSize:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, state []byte) {
		data := append(bytes.Clone(good[:headerSize]), state...)
		binary.BigEndian.PutUint64(data[headerSize-12:], uint64(len(state)))
		table := crc32.MakeTable(crc32.Castagnoli)
		sum := crc32.Update(crc32.Checksum(data[:headerSize-4], table), table, state)
		binary.BigEndian.PutUint32(data[headerSize-4:], sum)
		var got []room
		if _, err := snapshot.Decode(data, &got); err != nil && !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
	})
}
