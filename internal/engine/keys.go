package engine

import (
	"sync"
	"time"

	"headcount/internal/lockorder"
)

const maxKeys = 100_000 // idempotency keys kept; the oldest are dropped first

// keys maps idempotency keys to the events emitted under them.
type keys struct {
	mu    lockorder.Mutex[lockorder.Leaf]
	known map[string]*keyed
	order []*keyed // the oldest first
}

type keyed struct {
	key   string
	time  time.Time
	once  sync.Once
	event emitted
}

// emitted identifies an emitted event.
type emitted struct{ id, room string }

// once calls do for a new key, and returns the earlier result of do for a key within KeyLife. Callers with the same key
// wait for the first one. The empty key means no key.
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
	if len(k.order) >= maxKeys { // only for a new key, because a known key may be the oldest
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

// forgetOldest drops one key. The caller holds k.mu.
func (k *keys) forgetOldest() {
	delete(k.known, k.order[0].key)
	k.order[0] = nil // otherwise the array would keep it until append moves the rest
	k.order = k.order[1:]
}
