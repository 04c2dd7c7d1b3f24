package engine

import (
	"io"
	"maps"
	"net/netip"
	"slices"
	"unique"

	"headcount/internal/lockorder"
)

// registry holds the open streams and limits their number.
type registry struct {
	maxStreams, maxPerIP int // 0 = no limit

	mu         lockorder.Mutex[lockorder.Leaf]
	streams    []*Stream             // the order does not matter
	conns      map[*Stream]io.Closer // what cut closes
	perAddress map[unique.Handle[netip.Prefix]]int
	draining   bool
	newcomers  int           // new streams since the last call of takeNewcomers
	idle       chan struct{} // closed when draining and no stream is left
}

func newRegistry(maxStreams, maxPerIP int) *registry {
	return &registry{
		maxStreams: maxStreams, maxPerIP: maxPerIP,
		conns:      make(map[*Stream]io.Closer),
		perAddress: make(map[unique.Handle[netip.Prefix]]int),
		idle:       make(chan struct{}),
	}
}

// admit adds the stream, or returns why it is refused.
func (r *registry) admit(st *Stream) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.draining:
		return ErrStopping
	case r.maxStreams > 0 && len(r.streams) >= r.maxStreams:
		return tooMany(MaxStreams, "this server is full; try again in a few seconds")
	case r.maxPerIP > 0 && r.perAddress[st.address] >= r.maxPerIP:
		return tooMany(MaxPerIP, "too many streams from your address; close one, or try again in a few seconds")
	}
	r.newcomers++
	r.add(st)
	return nil
}

func (r *registry) add(st *Stream) {
	st.index = int32(len(r.streams))
	r.streams = append(r.streams, st)
	r.perAddress[st.address]++
}

// readmit adds a stream that the previous process had admitted.
func (r *registry) readmit(st *Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(st)
}

// release removes the stream, and reports whether the server is stopping.
func (r *registry) release(st *Stream) (draining bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.streams) - 1
	r.streams[st.index], r.streams[last].index = r.streams[last], st.index
	r.streams[last] = nil
	r.streams = r.streams[:last]
	delete(r.conns, st)
	if r.perAddress[st.address]--; r.perAddress[st.address] == 0 {
		delete(r.perAddress, st.address)
	}
	if r.draining && len(r.streams) == 0 {
		close(r.idle)
	}
	return r.draining
}

// of returns how many streams an address has.
func (r *registry) of(address netip.Prefix) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.perAddress[unique.Make(address)]
}

// drain refuses new streams from now on, and returns the open ones. first is false if it was called before.
func (r *registry) drain() (open []*Stream, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, false
	}
	r.draining = true
	if len(r.streams) == 0 {
		close(r.idle)
	}
	return slices.Clone(r.streams), true
}

func (r *registry) isDraining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// use records the transport of the stream.
func (r *registry) use(st *Stream, t Transport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st.transport = uint8(1 + slices.Index(Transports(), t))
}

// cuttable registers what cut closes for the stream.
func (r *registry) cuttable(st *Stream, c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[st] = c
}

// cut closes the connections that neither net/http nor a loop closes.
func (r *registry) cut() {
	r.mu.Lock()
	conns := slices.Collect(maps.Values(r.conns))
	r.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// count returns how many streams are open, in total and by transport. If only is set, it counts the streams for which
// only, which is called under the lock, returns true.
func (r *registry) count(only func(*Stream) bool) (all int, by map[Transport]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	byIndex := make([]int, 1+len(Transports()))
	for _, st := range r.streams {
		if only == nil || only(st) {
			all++
			byIndex[st.transport]++
		}
	}
	by = make(map[Transport]int)
	for i, t := range Transports() {
		by[t] = byIndex[i+1]
	}
	return all, by
}

// takeNewcomers returns the number of new streams since the last call.
func (r *registry) takeNewcomers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.newcomers
	r.newcomers = 0
	return n
}
