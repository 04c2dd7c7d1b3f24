package union

import (
	"slices"
	"strings"
)

// users are the users in a room, by hash. All users that the same nodes hold are a group. So a user is one map entry of
// 16 bytes for any number of nodes, and what happens to a node changes groups and not users.
type users struct {
	group  map[uint64]*group // of each user that some node holds
	groups map[string]*group // by the names of their nodes
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

func newUsers(counts func(node string) bool) users {
	return users{group: make(map[uint64]*group), groups: make(map[string]*group), counts: counts}
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
	u.grow(from, -1)
	nodes := slices.DeleteFunc(slices.Clone(from.nodes), func(one string) bool { return one == node })
	if holds {
		nodes = append(nodes, node)
		slices.Sort(nodes)
	}
	if len(nodes) == 0 {
		delete(u.group, h)
		return true
	}
	key := strings.Join(nodes, " ")
	to := u.groups[key]
	if to == nil {
		to = &group{nodes: nodes, counts: slices.ContainsFunc(nodes, u.counts)}
		u.groups[key] = to
	}
	u.group[h] = to
	u.grow(to, 1)
	return true
}

// grow adds n users to a group.
func (u *users) grow(g *group, n int) {
	if g.users += n; g.counts {
		u.size += n
	}
	if g.users == 0 {
		delete(u.groups, strings.Join(g.nodes, " "))
	}
}

// recount updates the size after nodes have begun or ceased to count.
func (u *users) recount() {
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
