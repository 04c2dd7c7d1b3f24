package engine

import (
	"sync"
	"time"
)

const maxKeys = 100_000 // idempotency keys remembered; the oldest go first

// keys remembers which event was emitted under which idempotency key.
type keys struct {
	mu    sync.Mutex
	known map[string]*keyed
	order []*keyed // the oldest first
}

type keyed struct {
	key   string
	time  time.Time
	once  sync.Once
	event emitted
}

// emitted is where an event is.
type emitted struct{ id, room string }

// once returns what do returned for the same key within KeyLife, or else calls it.
// Whoever comes with the key meanwhile waits for it. The empty key is none.
func (k *keys) once(key string, do func() emitted) emitted {
	if key == "" {
		return do()
	}
	e := k.entry(key, time.Now())
	e.once.Do(func() { e.event = do() })
	return e.event
}

func (k *keys) entry(key string, now time.Time) *keyed {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.order) > 0 && now.Sub(k.order[0].time) >= KeyLife {
		k.forgetOldest()
	}
	if e := k.known[key]; e != nil {
		return e
	}
	if len(k.order) >= maxKeys { // and not where a known key comes again: it may be the oldest
		k.forgetOldest()
	}
	if k.known == nil {
		k.known = make(map[string]*keyed)
	}
	e := &keyed{key: key, time: now}
	k.known[key] = e
	k.order = append(k.order, e)
	return e
}

// forgetOldest forgets one key; k.mu is held.
func (k *keys) forgetOldest() {
	delete(k.known, k.order[0].key)
	k.order[0] = nil // or the array would hold it until append moves the rest
	k.order = k.order[1:]
}
