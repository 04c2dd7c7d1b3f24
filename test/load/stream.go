// Package load puts the real server under many streams at once. By default its tests take some ten seconds each; with the
// environment variable LOAD_TIME=60s the churn has its full length.
package load

import (
	"bytes"
	"strconv"
	"sync"
	"time"
)

// stream takes the bytes of one event stream and keeps what the tests ask for: not the events, of which there are many.
type stream struct {
	mu     sync.Mutex
	line   []byte // the line that has not ended yet
	event  string
	values int // how many user counts have come
	last   int // the last of them
	marks  map[string]time.Time
}

// Write parses p; a stream is the standard output of curl, or what was read from a connection. Bytes that are no part of
// the events, such as HTTP's header and the sizes of its chunks, are lines that mean nothing.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			s.line = append(s.line, p...)
			return n, nil
		}
		s.take(bytes.TrimRight(append(s.line, p[:end]...), "\r"))
		s.line, p = s.line[:0], p[end+1:]
	}
}

func (s *stream) take(line []byte) {
	if name, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
		s.event = string(name)
	}
	data, ok := bytes.CutPrefix(line, []byte("data: "))
	switch {
	case !ok:
	case s.event == "user count":
		if v, err := strconv.Atoi(string(data)); err == nil {
			s.last = v
			s.values++
		}
	default:
		if s.marks == nil {
			s.marks = map[string]time.Time{}
		}
		s.marks[s.event] = time.Now()
	}
}

// count is the last user count, 0 before the first.
func (s *stream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// counts is how many user counts have come.
func (s *stream) counts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values
}

// got is when an event of that name, other than a user count, came; the zero time if none has.
func (s *stream) got(event string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marks[event]
}
