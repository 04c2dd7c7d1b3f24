package union

import "math/bits"

// slots is a set of the slots that a room assigns to nodes.
type slots []uint64

func (s slots) has(i int) bool { return i/64 < len(s) && s[i/64]>>(i%64)&1 == 1 }

// any reports whether one of 64 slots is in the set.
func (s slots) any(word int, bits uint64) bool { return word < len(s) && s[word]&bits != 0 }

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

// counts reports whether one of the maps has the user in a counted slot. The first map is number from.
func (u *users) counts(h uint64, from int, maps []map[uint64]uint64) bool {
	for i, held := range maps {
		if u.counted.any(from+i, held[h]) {
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

// set records whether the node in that slot holds the user, and reports whether that is a change.
func (u *users) set(h uint64, slot int, holds bool) bool {
	held, bit := u.held[slot/64], uint64(1)<<(slot%64)
	before := held[h]
	after := before &^ bit
	if holds {
		after |= bit
	}
	switch after {
	case before:
		return false
	case 0:
		delete(held, h)
	default:
		held[h] = after
	}
	i := slot / 64
	elsewhere := func() bool { return u.counts(h, 0, u.held[:i]) || u.counts(h, i+1, u.held[i+1:]) }
	if was, is := u.counted.any(i, before), u.counted.any(i, after); was != is && !elsewhere() {
		if is {
			u.size++
		} else {
			u.size--
		}
	}
	return true
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
			if u.counted.any(i, b) && !u.counts(h, 0, u.held[:i]) {
				u.size++
			}
		}
	}
}
