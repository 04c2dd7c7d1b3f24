package engine

import "headcount/internal/wire"

// What single clients do is logged at level debug only, and costs nothing otherwise.

// traceStream logs what happened to a stream. why is empty unless it ended.
func (e *Engine) traceStream(message string, st *Stream, why wire.Reason) {
	if !e.verbose {
		return
	}
	log := e.log.With("room", st.room.Name(), "address", st.address.Value().String())
	if why != "" {
		log = log.With("reason", string(why))
	}
	log.Debug(message)
}

// traceUsers logs what happened to users of a room.
func (e *Engine) traceUsers(message, room string) {
	if e.verbose {
		e.log.Debug(message, "room", room, "users", e.CountNow(room))
	}
}
