package cluster

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// names is what everything is called on NATS.
type names struct {
	prefix string

	// What each message that is heard begins with is worked out once.
	lives, entries string
}

func newNames(prefix string) names {
	return names{prefix: prefix, lives: prefix + ".live.", entries: "$KV." + prefix + "_counts."}
}

// The streams. Their settings are in streams.go.
func (n names) events() string { return n.prefix + "_events" }
func (n names) counts() string { return "KV_" + n.prefix + "_counts" }
func (n names) nodes() string  { return "KV_" + n.prefix + "_nodes" }

// Where a room's events are published to be stored, and where they come from when
// they are.
func (n names) emit(token string) string { return n.prefix + ".emit." + token }
func (n names) live(token string) string { return n.lives + token }

// The keys of the buckets.
func (n names) count(token, node string) string {
	return n.entries + token + "." + node
}
func (n names) beat(node string) string { return "$KV." + n.prefix + "_nodes." + node }
func (n names) allCounts() string       { return n.entries + ">" }
func (n names) allBeats() string        { return "$KV." + n.prefix + "_nodes.>" }

// direct is where one node hears what is for it alone.
func (n names) direct(tag string) string { return n.prefix + ".node." + tag }

// token returns the word that stands for a room in subjects: names of rooms may have
// any characters and lengths.
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

// entry is what a node says of its users in a room: a value of the counts bucket.
type entry struct {
	ID      string `json:"id"` // of this opening of the room by this node
	Room    string `json:"room"`
	Version uint64 `json:"version"` // grows with each entry that the node writes
	Users   int    `json:"users"`
	Closed  bool   `json:"closed,omitempty"` // the node has no room of that name any more

	// In is how many of the users were claimed from which other entry, and Out how
	// many went to which, since this one began.
	In  map[string]int `json:"in,omitempty"`
	Out map[string]int `json:"out,omitempty"`

	// Heir is the tag of the node that has taken the users over, those at least who are
	// not among Users any more: this node has stopped.
	Heir string `json:"heir,omitempty"`

	// Joined is the client ids that joined since the last entry without a claim.
	Joined []string `json:"joined,omitempty"`

	heard time.Time // when it came
}

// beat is what a node says of itself: a value of the nodes bucket.
type beat struct {
	Interval float64 `json:"interval"` // seconds until the next one
}

// shout is what a node says to all that have a room open, besides the room's events.
type shout struct {
	Node   string   `json:"node,omitempty"`   // who asks
	Stored uint64   `json:"stored,omitempty"` // the room's last event has this sequence at least
	Leave  []string `json:"leave,omitempty"`  // these have said goodbye
	Alive  []string `json:"alive,omitempty"`  // who has these: renew their leases, and say so
	Roll   []string `json:"roll,omitempty"`   // who counts these?
}

// ask is what a node says to another one.
type ask struct {
	To    string   `json:"to,omitempty"` // the node's name; of a claim
	Room  string   `json:"room,omitempty"`
	Claim string   `json:"claim,omitempty"` // this client id is now with
	By    string   `json:"by,omitempty"`    // this entry; of Has, this node
	Nonce string   `json:"nonce,omitempty"` // of the claim: it may be repeated
	Late  bool     `json:"late,omitempty"`  // it has left by now: was it given up?
	Has   []string `json:"has,omitempty"`   // which of these do you count?
	Dead  string   `json:"dead,omitempty"`  // this name of yours is taken for dead

	// Will is the users that you are to count from now on, and for how many seconds if
	// nothing is heard of them.
	Will map[string]float64 `json:"will,omitempty"`
}

// answer is what comes back to an ask or a shout.
type answer struct {
	Entry   string   `json:"entry,omitempty"`   // that the claimed user was in, "" if the others have not been told of it
	Had     bool     `json:"had,omitempty"`     // it was counted there
	Version uint64   `json:"version,omitempty"` // of the last entry that the others were told, if it was here
	Heir    string   `json:"heir,omitempty"`    // else: the tag of the node that may count it now
	Users   int      `json:"users,omitempty"`   // how many of the heritage were not counted there before
	Node    string   `json:"node,omitempty"`
	IDs     []string `json:"ids,omitempty"`
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("cluster: " + err.Error()) // structs of strings and numbers
	}
	return b
}

// lastWord returns what stands behind the last dot.
func lastWord(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// nodeOf returns the name of the node that an entry is of.
func nodeOf(entry string) string { return entry[:max(strings.LastIndexByte(entry, '-'), 0)] }

// tagOf returns the part of a node's name that stays when it takes a new one.
func tagOf(node string) string {
	tag, _, _ := strings.Cut(node, "-")
	return tag
}
