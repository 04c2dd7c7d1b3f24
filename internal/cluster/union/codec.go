package union

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// A payload is a sequence of messages. Each message is its tag, which is one byte, and its fields in order. A number is
// a varint, and a hash is 8 bytes. A value of variable length begins with its length.

var errMalformed = errors.New("message is not well formed")

// Append appends a message to a payload.
func Append(b []byte, msg Message) []byte {
	v := reflect.ValueOf(msg)
	for tag, k := range kinds() {
		if reflect.TypeOf(k) == v.Type() {
			return appendValue(append(b, byte(tag)), v)
		}
	}
	panic(fmt.Sprintf("union: %T is no message", msg))
}

func appendValue(b []byte, v reflect.Value) []byte {
	switch x := v.Interface().(type) {
	case bool:
		if x {
			return append(b, 1)
		}
		return append(b, 0)
	case string:
		return append(binary.AppendUvarint(b, uint64(len(x))), x...)
	case []uint32:
		b = binary.AppendUvarint(b, uint64(len(x)))
		for _, n := range x {
			b = binary.AppendUvarint(b, uint64(n))
		}
		return b
	case []uint64:
		b = binary.AppendUvarint(b, uint64(len(x)))
		for _, h := range x {
			b = binary.BigEndian.AppendUint64(b, h)
		}
		return b
	}
	switch {
	case v.CanUint():
		return binary.AppendUvarint(b, v.Uint())
	case v.CanInt():
		return binary.AppendUvarint(b, uint64(v.Int()))
	}
	for i := range v.NumField() {
		b = appendValue(b, v.Field(i))
	}
	return b
}

// Decode decodes the first message of a payload and returns the rest.
func Decode(b []byte) (msg Message, rest []byte, err error) {
	all := kinds()
	if len(b) == 0 || int(b[0]) >= len(all) {
		return nil, nil, errMalformed
	}
	v := reflect.New(reflect.TypeOf(all[b[0]])).Elem()
	r := reader{b: b[1:]}
	r.value(v)
	if r.failed {
		return nil, nil, errMalformed
	}
	return v.Interface().(Message), r.b, nil
}

// reader reads values from a payload. After the first missing value all values are zero.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) value(v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *bool:
		b := r.bytes(1)
		*p = len(b) == 1 && b[0] == 1
	case *string:
		*p = string(r.bytes(r.number()))
	case *[]uint32:
		n := r.length(1)
		*p = slices.Grow(*p, n)
		for range n {
			*p = append(*p, uint32(r.number()))
		}
	case *[]uint64:
		n := r.length(8)
		*p = slices.Grow(*p, n)
		for b := r.bytes(8 * uint64(n)); len(b) > 0; b = b[8:] {
			*p = append(*p, binary.BigEndian.Uint64(b))
		}
	default:
		switch {
		case v.CanUint():
			v.SetUint(r.number())
		case v.CanInt():
			v.SetInt(int64(r.number() & (1<<40 - 1))) // no count is larger
		default:
			for i := range v.NumField() {
				r.value(v.Field(i))
			}
		}
	}
}

// length reads the length of a list whose elements have at least that many bytes each.
func (r *reader) length(each int) int {
	n := r.number()
	if n > uint64(len(r.b)/each) {
		r.failed, n = true, 0
	}
	return int(n)
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}
