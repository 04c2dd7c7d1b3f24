// Package terminaltest simulates a terminal for tests. It knows the few control codes that this program writes.
package terminaltest

import (
	"bytes"
	"strings"
	"sync"
	"unicode/utf8"
)

// Screen shows what was written to it, as a terminal without automatic line breaks does. Text that does not fit
// overwrites the last column, and the cursor stays there. So erasing from the cursor removes the last letter.
type Screen struct {
	mu          sync.Mutex
	all         []byte
	rest        []byte // the start of an incomplete code or letter
	cells       [][]rune
	row, column int
}

// New returns an empty screen.
func New(columns, rows int) *Screen {
	s := &Screen{}
	s.Resize(columns, rows)
	return s
}

// Resize changes the size of the window. Text that no longer fits is lost.
func (s *Screen) Resize(columns, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cells := make([][]rune, rows)
	for i := range cells {
		cells[i] = []rune(strings.Repeat(" ", columns))
		if i < len(s.cells) {
			copy(cells[i], s.cells[i])
		}
	}
	s.cells = cells
	s.row, s.column = min(s.row, rows-1), min(s.column, columns-1)
}

// Lines returns the visible lines without blanks at their ends.
func (s *Screen) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, row := range s.cells {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return lines
}

// Written returns all that was written.
func (s *Screen) Written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.all)
}

func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, p...)
	s.rest = append(s.rest, p...)
	end := len(s.rest)
	if i := bytes.LastIndexByte(s.rest, '\x1b'); i >= 0 && !bytes.ContainsAny(s.rest[i:], "HJKhlm") {
		end = i // the code is not complete
	}
	for end > 0 && !utf8.Valid(s.rest[:end]) {
		end-- // the letter is not complete either
	}
	s.show(string(s.rest[:end]))
	s.rest = bytes.Clone(s.rest[end:])
	return len(p), nil
}

func (s *Screen) show(text string) {
	for len(text) > 0 {
		if code, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexAny(code, "HJKhlm")
			s.obey(code[:end+1])
			text = code[end+1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		switch {
		case r == '\r':
			s.column = 0
		case r == '\n':
			s.row = min(s.row+1, len(s.cells)-1)
		case len(s.cells) > 0 && len(s.cells[s.row]) > 0:
			s.cells[s.row][s.column] = r
			s.column = min(s.column+1, len(s.cells[s.row])-1)
		}
	}
}

func (s *Screen) obey(code string) {
	erase := func(cells []rune) {
		for i := range cells {
			cells[i] = ' '
		}
	}
	switch code {
	case "H":
		s.row, s.column = 0, 0
	case "K", "J":
		if len(s.cells) > 0 {
			erase(s.cells[s.row][s.column:])
		}
		for i := s.row + 1; code == "J" && i < len(s.cells); i++ {
			erase(s.cells[i])
		}
	}
}
