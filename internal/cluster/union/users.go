package union

import "math/bits"

// slots is a set of the slots that a room assigns to nodes.
type slots []uint64

func (s slots) has(i int) bool { return i/64 < len(s) && s[i/64]>>(i%64)&1 == 1 }

func (s *slots) add(i int) {
	for len(*s) <= i/64 {
		*s = append(*s, 0)
	}
	(*s)[i/64] |= 1 << (i % 64)
}

func (s slots) remove(i int) {
	if i/64 < len(s) {
		s[i/64] &^= 1 << (i % 64)
	}
}

func (s slots) each(f func(slot int)) {
	for word, b := range s {
		for ; b != 0; b &= b - 1 {
			f(word*64 + bits.TrailingZeros64(b))
		}
	}
}

// users are the users in a room. It maps the hash of each user to the slots of the nodes that hold it. A user is one
// map entry of 16 bytes for any number of nodes, and the size of the union is always known. 64 slots share a map.
type users struct {
	held    []map[uint64]uint64 // by slot/64 and hash; the slots that hold the user
	counted slots               // slots that are in the union
	size    int                 // users that a counted slot holds
}

// counts reports whether one of the first maps has the user in a counted slot.
func (u *users) counts(h uint64, maps int) bool {
	for i := range min(maps, len(u.counted)) {
		if u.held[i][h]&u.counted[i] != 0 {
			return true
		}
	}
	return false
}

func (u *users) has(h uint64, slot int) bool {
	return slot/64 < len(u.held) && u.held[slot/64][h]>>(slot%64)&1 == 1
}

// grow adds space for a slot.
func (u *users) grow(slot int) {
	for len(u.held) <= slot/64 {
		u.held = append(u.held, make(map[uint64]uint64))
	}
}

// set records whether the node in that slot holds the user.
func (u *users) set(h uint64, slot int, holds bool) {
	held, bit, before := u.held[slot/64], uint64(1)<<(slot%64), u.counts(h, len(u.held))
	if holds {
		held[h] |= bit
	} else if held[h] &^= bit; held[h] == 0 {
		delete(held, h)
	}
	switch after := u.counts(h, len(u.held)); {
	case after && !before:
		u.size++
	case before && !after:
		u.size--
	}
}

// recount removes all users from the slots in gone, and counts the others again.
func (u *users) recount(gone slots) {
	u.size = 0
	for i, held := range u.held {
		for h, b := range held {
			if i < len(gone) && b&gone[i] != 0 {
				if b &^= gone[i]; b == 0 {
					delete(held, h)
					continue
				}
				held[h] = b
			}
			if i < len(u.counted) && b&u.counted[i] != 0 && (i == 0 || !u.counts(h, i)) {
				u.size++
			}
		}
	}
}
