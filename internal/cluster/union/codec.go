package union

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// A payload is a sequence of messages in CBOR (RFC 8742). Each is a map of its fields, with a tag for its kind.

// firstTag is the tag of the first kind.
const firstTag = 256

var encoder, decoder = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	tags := cbor.NewTagSet()
	required := cbor.TagOptions{EncTag: cbor.EncTagRequired, DecTag: cbor.DecTagRequired}
	kinds := []Message{Heartbeat{}, Delta{}, Digest{}, Sync{}, Set{}, Closed{}, Goodbye{}, Kept{}, Stopped{}, Renew{}}
	for i, kind := range kinds {
		must(0, tags.Add(required, reflect.TypeOf(kind), firstTag+uint64(i)))
	}
	return must(cbor.EncOptions{}.EncModeWithTags(tags)), must(cbor.DecOptions{}.DecModeWithTags(tags))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("union: " + err.Error()) // a kind of message that cannot be encoded
	}
	return v
}

// Append appends a message to a payload.
func Append(payload []byte, msg Message) []byte {
	return append(payload, must(encoder.Marshal(msg))...)
}

// Decode decodes the first message of a payload and returns the rest.
func Decode(payload []byte) (msg Message, rest []byte, err error) {
	var v any
	if rest, err = decoder.UnmarshalFirst(payload, &v); err != nil {
		return nil, nil, err
	}
	msg, ok := v.(Message)
	if !ok {
		return nil, nil, fmt.Errorf("%T is no message", v)
	}
	return msg, rest, nil
}

// Hashes are hashes of users. In a message they are a byte string with 8 bytes for each.
type Hashes []uint64

// MarshalBinary implements [encoding.BinaryMarshaler].
func (h Hashes) MarshalBinary() ([]byte, error) {
	return binary.Append(nil, binary.BigEndian, []uint64(h))
}

// UnmarshalBinary implements [encoding.BinaryUnmarshaler].
func (h *Hashes) UnmarshalBinary(b []byte) error {
	if len(b)%8 > 0 {
		return fmt.Errorf("hashes take 8 bytes each, and not %d in all", len(b))
	}
	*h = make(Hashes, len(b)/8)
	_, err := binary.Decode(b, binary.BigEndian, []uint64(*h))
	return err
}
