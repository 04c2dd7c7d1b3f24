package httpapi

import (
	"net/http"
	"sync"
)

// allowOrigin refuses pages of other origins that are not named. It logs each such origin once, because the operator
// may have forgotten it.
func (h *Handler) allowOrigin(w http.ResponseWriter, r *http.Request) error {
	err := h.opt.Origins.Allow(w.Header(), r)
	if origin := r.Header.Get("Origin"); err != nil && h.strangers.add(origin) {
		h.opt.Log.Warn("refused a page of another origin; if it is yours, add it to the allowed origins (-origins, or Options.Origins in Go)", "origin", origin)
	}
	return err
}

// maxStrangers limits how many refused origins are stored and logged.
const maxStrangers = 100

// strangers are the refused origins. The zero value is ready to use.
type strangers struct {
	mu    sync.Mutex
	known map[string]struct{}
}

// add reports whether the origin is new and still fits.
func (s *strangers) add(origin string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[origin]; ok || len(s.known) >= maxStrangers || len(origin) > 300 {
		return false
	}
	if s.known == nil {
		s.known = make(map[string]struct{})
	}
	s.known[origin] = struct{}{}
	return true
}
