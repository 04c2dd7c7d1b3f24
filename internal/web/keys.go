package web

import (
	"sync"
	"time"
)

const (
	maxKey  = 256             // bytes of an Idempotency-Key
	keyLife = 2 * time.Minute // how long a key is remembered
	maxKeys = 100_000         // keys remembered; the oldest go first
)

// keys remembers what was answered to which Idempotency-Key.
type keys struct {
	mu    sync.Mutex
	known map[string]*keyed
	order []*keyed // the oldest first
}

type keyed struct {
	key    string
	time   time.Time
	once   sync.Once
	answer emitted
}

// once returns what do returned for the same key within keyLife, or else calls it.
// Whoever comes with the key meanwhile waits for the answer. The empty key is none.
func (k *keys) once(key string, do func() emitted) emitted {
	if key == "" {
		return do()
	}
	e := k.entry(key, time.Now())
	e.once.Do(func() { e.answer = do() })
	return e.answer
}

func (k *keys) entry(key string, now time.Time) *keyed {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.order) > 0 && now.Sub(k.order[0].time) >= keyLife {
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
