package union

// Counts reports whether a user is in the union of an open room.
func (m *Machine) Counts(room, id string) bool {
	r := m.rooms[room]
	return r != nil && r.users.counts(Hash(m.opt.Key, id), len(r.users.held))
}
