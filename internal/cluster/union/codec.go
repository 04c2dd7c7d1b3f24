package union

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Append appends a message to a payload. Each message is a line with the name of its type and its fields in JSON.
func Append(b []byte, msg Message) []byte {
	fields, err := json.Marshal(msg)
	if err != nil {
		panic("union: " + err.Error()) // structs of strings and numbers never fail
	}
	return fmt.Appendf(b, "%s %s\n", reflect.TypeOf(msg).Name(), fields)
}

// Decode decodes the first message of a payload and returns the rest.
func Decode(b []byte) (msg Message, rest []byte, err error) {
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	name, fields, _ := bytes.Cut(line, []byte(" "))
	for _, kind := range kinds() {
		if t := reflect.TypeOf(kind); t.Name() == string(name) {
			v := reflect.New(t)
			err := json.Unmarshal(fields, v.Interface())
			return v.Elem().Interface().(Message), rest, err
		}
	}
	return nil, nil, fmt.Errorf("%.20q is no kind of message", name)
}

// Hashes are hashes of users. In JSON they are a string in base64, which has 11 bytes for each.
type Hashes []uint64

// MarshalText implements [encoding.TextMarshaler].
func (h Hashes) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 8*len(h))
	for _, one := range h {
		b = binary.BigEndian.AppendUint64(b, one)
	}
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hashes) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err == nil && len(b)%8 != 0 {
		err = errors.New("part of a hash is missing")
	}
	*h = slices.Grow(Hashes(nil), len(b)/8)
	for ; len(b) >= 8; b = b[8:] {
		*h = append(*h, binary.BigEndian.Uint64(b))
	}
	return err
}
