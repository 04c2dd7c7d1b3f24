package cluster

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"headcount/internal/cluster/union"
)

// names are the names of all subjects, streams and buckets on NATS.
type names struct{ prefix string }

// events is the stream of events. shared is the bucket of values that all nodes share.
func (n names) events() string { return n.prefix + "_events" }
func (n names) shared() string { return "KV_" + n.prefix + "_shared" }

// emit is the subject under which a room's events are published. live is the subject under which they are republished.
func (n names) emit(token string) string { return n.prefix + ".emit." + token }
func (n names) live(token string) string { return n.prefix + ".live." + token }

// entry returns the subject of a value in the bucket.
func (n names) entry(key string) string { return "$KV." + n.prefix + "_shared." + key }

// sets returns the first words of the subjects for messages about users. The second word is the version of their
// format, so nodes with another version do not get them. The third word identifies the key of their hashes.
func (n names) sets(key []byte) string {
	sum := sha256.Sum256(key)
	return n.prefix + ".v4." + hex.EncodeToString(sum[:4])
}

// key is the subject under which a node asks the others for the key of their hashes.
func (n names) key() string { return n.prefix + ".v4.key" }

// subject returns the subject for messages about users to these nodes.
func subject(sets string, to union.To) string {
	switch {
	case to.Node != "":
		return sets + ".node." + to.Node
	case to.Room != "":
		return sets + ".room." + to.Room
	}
	return sets + ".all"
}

// token returns a word for a room in subjects, because room names may have any characters and lengths.
func token(room string) string {
	sum := sha256.Sum256([]byte(room))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// stored is the payload of an event.
type stored struct {
	Room  string          `json:"room"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

// confirmation tells all nodes that have a room open that its last event has at least this sequence.
type confirmation struct {
	Stored uint64 `json:"stored,omitempty"`
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("cluster: " + err.Error()) // structs of strings and numbers never fail
	}
	return b
}
