package union

import "slices"

// users are the users in a room, by hash. All users that the same nodes hold are a group. So a user is one map entry of
// 16 bytes for any number of nodes, without a pointer that the garbage collector would follow, and what happens to a
// node changes groups and not users.
type users struct {
	group  map[uint64]int32 // the number of each user's group; 0 for those that nobody holds
	groups []group          // by number
	next   map[step]int32   // steps that were taken before
	size   int              // users of the groups that count
	counts func(node string) bool
}

// group is the users that these nodes hold, and no other node.
type group struct {
	nodes  []string // sorted
	users  int
	counts bool
}

// step leads from a group to the one with or without a node.
type step struct {
	from  int32
	node  string
	holds bool
}

func newUsers(counts func(node string) bool) users {
	return users{make(map[uint64]int32), make([]group, 1), make(map[step]int32), 0, counts}
}

// nodes returns the nodes that hold a user.
func (u *users) nodes(h uint64) []string { return u.groups[u.group[h]].nodes }

func (u *users) has(h uint64, node string) bool { return slices.Contains(u.nodes(h), node) }

// hold records whether a node holds a user, and reports whether that is a change.
func (u *users) hold(h uint64, node string, holds bool) bool {
	from := u.group[h]
	one := step{from, node, holds}
	to, known := u.next[one]
	if !known {
		nodes := without(u.nodes(h), node)
		if holds {
			nodes = append(nodes, node)
		}
		to = u.find(nodes)
		u.next[one] = to
	}
	if to == from {
		return false
	}
	u.grow(from, -1)
	u.grow(to, 1)
	u.assign(h, to)
	return true
}

func without(nodes []string, node string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(one string) bool { return one == node })
}

// find returns the number of the group with these nodes, and makes it if there is none.
func (u *users) find(nodes []string) int32 {
	slices.Sort(nodes)
	i := slices.IndexFunc(u.groups, func(g group) bool { return slices.Equal(g.nodes, nodes) })
	if i < 0 {
		i = len(u.groups)
		u.groups = append(u.groups, group{nodes: nodes, counts: slices.ContainsFunc(nodes, u.counts)})
	}
	return int32(i)
}

func (u *users) assign(h uint64, number int32) {
	if number == 0 {
		delete(u.group, h)
	} else {
		u.group[h] = number
	}
}

// grow adds n users to a group.
func (u *users) grow(number int32, n int) {
	g := &u.groups[number]
	if g.users += n; g.counts {
		u.size += n
	}
}

// recount updates the size after a node has begun or ceased to count.
func (u *users) recount(node string) {
	for i, g := range u.groups {
		if slices.Contains(g.nodes, node) {
			u.grow(int32(i), -g.users)
			u.groups[i].counts = slices.ContainsFunc(g.nodes, u.counts)
			u.grow(int32(i), g.users)
		}
	}
}

// remove removes a node from all groups, and with it the users that no other node holds.
func (u *users) remove(node string) {
	rest := newUsers(u.counts)
	to := make([]int32, len(u.groups))
	for i, g := range u.groups {
		if g.users > 0 {
			to[i] = rest.find(without(g.nodes, node))
			rest.grow(to[i], g.users)
		}
	}
	for h, from := range u.group {
		u.assign(h, to[from])
	}
	rest.group = u.group
	*u = rest
}
