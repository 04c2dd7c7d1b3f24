package cluster

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"headcount/internal/cluster/union"
)

// names is what everything is called on NATS.
type names struct {
	prefix string
	lives  string // what the subject of each event that is heard begins with
}

func newNames(prefix string) names { return names{prefix, prefix + ".live."} }

// The stream of events, and the bucket of what all nodes share.
func (n names) events() string { return n.prefix + "_events" }
func (n names) shared() string { return "KV_" + n.prefix + "_shared" }

// Where a room's events are published to be stored, and where they come from when they are.
func (n names) emit(token string) string { return n.prefix + ".emit." + token }
func (n names) live(token string) string { return n.lives + token }

// entry is where the bucket has a value.
func (n names) entry(key string) string { return "$KV." + n.prefix + "_shared." + key }

// sets is where messages about users go. The second word is the version of their format: nodes that speak another one
// do not hear them. The third says which key their hashes are of.
func (n names) sets(key []byte, to union.To) string {
	sum := sha256.Sum256(key)
	base := n.prefix + ".v2." + hex.EncodeToString(sum[:4])
	switch {
	case to.Node != "":
		return base + ".node." + to.Node
	case to.Room != "":
		return base + ".room." + to.Room
	}
	return base + ".all"
}

// token returns the word that stands for a room in subjects: names of rooms may have any characters and lengths.
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

// confirmation says to all that have a room open that its last event has this sequence at least.
type confirmation struct {
	Stored uint64 `json:"stored,omitempty"`
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("cluster: " + err.Error()) // structs of strings and numbers
	}
	return b
}
