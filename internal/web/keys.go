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
	n := 0
	for n < len(k.order) && (now.Sub(k.order[n].time) >= keyLife || len(k.order)-n >= maxKeys) {
		delete(k.known, k.order[n].key)
		k.order[n] = nil
		n++
	}
	k.order = k.order[n:]
	e := k.known[key]
	if e == nil {
		if k.known == nil {
			k.known = make(map[string]*keyed)
		}
		e = &keyed{key: key, time: now}
		k.known[key] = e
		k.order = append(k.order, e)
	}
	return e
}
