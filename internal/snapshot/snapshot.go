// Package snapshot seals the state that one server process leaves to the next. A snapshot is a header with the version
// of the format, the time of writing and a checksum, followed by the state itself. The package does not interpret the
// state. Other packages describe it as plain structs, encoded with encoding/gob, which ignores fields that one side
// does not know.
package snapshot

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"time"
)

// Version is the version of the format. Increase it when a process could no longer understand what another one wrote. A
// new field with a zero value that means "as before" needs no new version.
const Version = 1

// A snapshot begins with the line "headcount state VERSION". Then come the time of writing and the length of what
// follows the header, 8 bytes each, and the CRC-32C of everything but itself.
const (
	magic  = "headcount state "
	digits = 4 // of the version
	header = len(magic) + digits + 1 + 8 + 8 + 4
)

// Errors of [Decode]. Each is a sentence for the log.
var (
	ErrForeign = errors.New("this is no state of headcount")
	ErrDamaged = errors.New("the state is damaged")
)

// VersionError reports a state in a version of the format that this program does not know.
type VersionError struct{ Version int }

func (e VersionError) Error() string {
	return fmt.Sprintf("the state is in version %d of the format; this program reads version %d", e.Version, Version)
}

// Encode returns state, sealed. [Decode] returns written as the time of writing.
func Encode(written time.Time, state any) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%0*d\n", magic, digits, Version)
	b.Write(make([]byte, 8+8+4))
	if err := gob.NewEncoder(&b).Encode(state); err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	data := b.Bytes()
	at := data[header-20 : header : header]
	binary.BigEndian.PutUint64(at, uint64(written.UnixNano()))
	binary.BigEndian.PutUint64(at[8:], uint64(len(data)-header))
	binary.BigEndian.PutUint32(at[16:], checksum(data))
	return data, nil
}

// Decode fills state, a pointer, with what [Encode] sealed, and returns the time of writing. After an error state may
// be half filled.
func Decode(data []byte, state any) (written time.Time, err error) {
	if len(data) < header || string(data[:len(magic)]) != magic || data[header-21] != '\n' {
		return time.Time{}, ErrForeign
	}
	version, err := strconv.Atoi(string(data[len(magic) : len(magic)+digits]))
	if err != nil {
		return time.Time{}, ErrForeign
	}
	if version != Version {
		return time.Time{}, VersionError{version}
	}
	at := data[header-20 : header]
	switch {
	case binary.BigEndian.Uint64(at[8:]) != uint64(len(data)-header):
		return time.Time{}, fmt.Errorf("%w: it should have %d bytes behind its header and has %d",
			ErrDamaged, binary.BigEndian.Uint64(at[8:]), len(data)-header)
	case binary.BigEndian.Uint32(at[16:]) != checksum(data):
		return time.Time{}, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	in := bytes.NewReader(data[header:])
	if err := gob.NewDecoder(in).Decode(state); err != nil && !errors.Is(err, io.EOF) {
		return time.Time{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	} else if err != nil || in.Len() > 0 {
		return time.Time{}, fmt.Errorf("%w: it ends in the wrong place", ErrDamaged)
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(at))), nil
}

// checksum covers everything but the checksum.
func checksum(data []byte) uint32 {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, castagnoli, data[:header-4])
	return crc32.Update(sum, castagnoli, data[header:])
}
