package cluster

import (
	"maps"
	"slices"
	"testing"
	"time"

	"headcount/test/rig"
)

// Another node claims users: each is given up once, however often its claim is repeated, and none to a claim that has waited
// for too long. The user's streams end.
func TestGivenUpOnce(t *testing.T) {
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	other := play(t, url, "actoraaa")
	read(t, n.URL, "lobby", "client-watch")
	read(t, n.URL, "lobby", "client-moves").strand()
	mine := other.awaitSaid(n, "two users", func(e entry) bool { return e.Users == 2 })
	theirs := other.says("1", entry{})
	claim := ask{To: n.cluster.Name(), Claim: "client-moves", By: theirs.ID, Nonce: "nonce-1"}
	want := answer{Entry: mine.ID, Had: true}
	if got, _ := other.ask(n, claim); !same(got, want) {
		t.Errorf("first claim: got %+v, want %+v", got, want)
	}
	rig.Wait(t, 5*time.Second, "the stream ends", func() bool { return n.engine.Streams() == 1 })
	other.awaitSaid(n, "one user who has gone to the other node", func(e entry) bool { return e.Users == 1 && e.Out[theirs.ID] == 1 })

	post(t, n.URL+"/alive", "lobby", "client-moves") // it is back
	here := func() int { return n.engine.Users().Count("lobby") }
	if got, _ := other.ask(n, claim); !same(got, want) || here() != 2 {
		t.Errorf("the claim again, when the user is back: got %+v and %d users, want %+v and 2", got, here(), want)
	}
	late := claim
	late.Nonce, late.Late = "nonce-2", true
	if got, _ := other.ask(n, late); got.Had || here() != 2 {
		t.Errorf("claim of one who has left again: got %+v and %d users, want no entry and 2", got, here())
	}
	// It has waited while its node was frozen, and taken for dead under the name that it had then.
	old := claim
	old.To, old.Nonce, old.Room = n.cluster.Tag()+"-7", "nonce-3", "lobby"
	other.nc.Publish("headcount.node."+n.cluster.Tag(), encode(old))
	if _, ok := other.ask(n, late); !ok || here() != 2 { // which is looked at behind it
		t.Errorf("claim of another name: got %d users, want 2", here())
	}
	claim.Nonce = "nonce-4"
	if got, _ := other.ask(n, claim); !got.Had || here() != 1 {
		t.Errorf("another claim: got %+v and %d users, want one", got, here())
	}
}

func same(a, b answer) bool {
	return a.Entry == b.Entry && a.Had == b.Had && a.Heir == b.Heir && a.Users == b.Users && slices.Equal(a.IDs, b.IDs)
}

// A node does not answer the claim of its user. The user is counted at once, as one of those that the node said it has; and
// when the node answers, as it says.
func TestUnansweredClaim(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		said    *entry // before
		granted bool   // the user is taken for one of them
		answer  answer
		had     bool // the user was one of them
	}{
		{"had it", &entry{Users: 2}, true, answer{Had: true}, true},
		{"had given it up", &entry{Users: 2}, true, answer{}, false},
		{"had not said so yet", nil, false, answer{Had: true}, true},
		{"had nobody", &entry{}, false, answer{}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			url := startNATS(t, 0, t.TempDir()).URL
			n := startNode(t, url).ready(t)
			other := play(t, url, "actoraaa")
			read(t, n.URL, "lobby", "client-watch")
			id := other.name + "-1"
			if row.said != nil {
				other.says("1", *row.said)
				rig.Wait(t, 5*time.Second, "the count of both", func() bool { return count(n.URL, "lobby") == 1+row.said.Users })
			}
			in := func(counted bool) map[string]int {
				if counted {
					return map[string]int{id: 1}
				}
				return nil
			}
			cursor := other.cursor(mustEmit(t, n.URL, "lobby", "n", "1").ID)
			newReaderFrom(t, []string{n.URL}, "lobby", "client-moves", cursor)
			got := other.awaitSaid(n, "two users", func(e entry) bool { return e.Users == 2 })
			if want := in(row.granted); !maps.Equal(got.In, want) {
				t.Errorf("without an answer: got users from %v, want %v", got.In, want)
			}
			if row.answer.Had {
				row.answer.Entry = id
			}
			other.reply(func(ask) *answer { return &row.answer })
			other.awaitSaid(n, "users from the entry that had them", func(e entry) bool { return maps.Equal(e.In, in(row.had)) })
			asks := other.asksFor("client-moves")
			for _, q := range asks {
				if q.Nonce != asks[0].Nonce || q.To != other.name || q.Late {
					t.Errorf("got claims %+v, want one that is repeated", asks)
					break
				}
			}
		})
	}
}

// A claim that is repeated says so when the user has left meanwhile: it must not be taken from where it may be by now.
func TestLateClaim(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 0, t.TempDir()).URL
	n := startNode(t, url).ready(t)
	other := play(t, url, "actoraaa")
	other.says("1", entry{Users: 1})
	cursor := other.cursor(mustEmit(t, n.URL, "lobby", "n", "1").ID)
	r := newReaderFrom(t, []string{n.URL}, "lobby", "client-moves", cursor)
	rig.Wait(t, 5*time.Second, "first count", func() bool { return r.count() > 0 })
	r.strand()
	post(t, n.URL+"/leave", "lobby", "client-moves")
	rig.Wait(t, 5*time.Second, "a claim that is late", func() bool {
		asks := other.asksFor("client-moves")
		return len(asks) > 0 && asks[len(asks)-1].Late
	})
}
