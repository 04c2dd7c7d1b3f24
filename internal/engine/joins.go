package engine

import (
	"sync"
	"time"
)

// joins counts the streams that were opened in the last seconds, by room.
type joins struct {
	mu     sync.Mutex
	second [Recent / time.Second]struct {
		unix  int64
		rooms map[string]int
	}
}

func (j *joins) add(room string, now time.Time) {
	unix := now.Unix()
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &j.second[unix%int64(len(j.second))]
	if s.unix != unix {
		s.unix, s.rooms = unix, make(map[string]int)
	}
	s.rooms[room]++
}

// count returns how many streams of the room were opened in the last [Recent].
func (j *joins) count(room string, now time.Time) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.second {
		if now.Unix()-s.unix < int64(len(j.second)) {
			n += s.rooms[room]
		}
	}
	return n
}
