package union

import (
	"maps"
	"slices"
	"strings"
)

// users are the users in a room, by hash. All users that the same nodes hold are a group. So a user is one map entry of
// 16 bytes for any number of nodes, and what happens to a node changes groups and not users.
type users struct {
	group  map[uint64]*group // of each user that some node holds
	groups map[string]*group // by the names of their nodes
	next   map[step]*group   // where steps lead that were taken before
	nobody group             // of each other user
	size   int               // users of the groups that count
	counts func(node string) bool
}

// group is the users that these nodes hold, and no other node.
type group struct {
	nodes  []string // sorted
	users  int
	counts bool
}

// step leads a user from a group to the one with or without a node.
type step struct {
	from  *group
	node  string
	holds bool
}

func newUsers(counts func(node string) bool) users {
	return users{
		group: make(map[uint64]*group), groups: make(map[string]*group), next: make(map[step]*group), counts: counts,
	}
}

func (u *users) of(h uint64) *group {
	if g := u.group[h]; g != nil {
		return g
	}
	return &u.nobody
}

func (g *group) has(node string) bool { return slices.Contains(g.nodes, node) }

// hold records whether a node holds a user, and reports whether that is a change.
func (u *users) hold(h uint64, node string, holds bool) bool {
	from := u.of(h)
	if from.has(node) == holds {
		return false
	}
	one := step{from, node, holds}
	to := u.next[one]
	if to == nil {
		to = u.find(one)
		u.next[one] = to
	}
	if to == &u.nobody {
		delete(u.group, h)
	} else {
		u.group[h] = to
	}
	u.grow(from, -1)
	u.grow(to, 1)
	return true
}

// find returns the group to which a step leads, and makes it if there is none.
func (u *users) find(one step) *group {
	nodes := slices.DeleteFunc(slices.Clone(one.from.nodes), func(node string) bool { return node == one.node })
	if one.holds {
		nodes = append(nodes, one.node)
		slices.Sort(nodes)
	}
	if len(nodes) == 0 {
		return &u.nobody
	}
	key := strings.Join(nodes, " ")
	if u.groups[key] == nil {
		u.groups[key] = &group{nodes: nodes, counts: slices.ContainsFunc(nodes, u.counts)}
	}
	return u.groups[key]
}

// grow adds n users to a group.
func (u *users) grow(g *group, n int) {
	if g.users += n; g.counts {
		u.size += n
	}
}

// recount updates the size after nodes have begun or ceased to count. It forgets the groups without users.
func (u *users) recount() {
	clear(u.next)
	maps.DeleteFunc(u.groups, func(_ string, g *group) bool { return g.users == 0 })
	u.size = 0
	for _, g := range u.groups {
		if g.counts = slices.ContainsFunc(g.nodes, u.counts); g.counts {
			u.size += g.users
		}
	}
}

// remove removes a node from all groups, and with it the users that no other node holds.
func (u *users) remove(node string) {
	for h := range u.group {
		u.hold(h, node, false)
	}
}
