package remote_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"headcount/client/remote"
)

func TestWholeEvents(t *testing.T) {
	broken := errors.New("connection broke")
	tests := []struct{ name, in, want string }{
		{"as it came", "event: a\ndata: 1\n\ndata: 2\n\n", "event: a\ndata: 1\n\ndata: 2\n\n"},
		{"half an event is no event", "data: 1\n\nid: 12", "data: 1\n\n"},
		{"nor is one without its blank line", "data: 1\n\ndata: 2\n", "data: 1\n\n"},
		{"CRLF", "data: 1\r\n\r\ndata: 2\r\n", "data: 1\n\n"},
		{"CR", "data: 1\r\rdata: 2\r", "data: 1\n\n"},
		{"mixed line ends", "data: 1\n\rdata: 2\r\n\n", "data: 1\n\ndata: 2\n\n"},
		{"byte order mark", "\uFEFFdata: 1\n\n\uFEFFdata: 2\n\n", "data: 1\n\n\uFEFFdata: 2\n\n"},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, split := range []struct {
				name string
				r    io.Reader
			}{
				{"at once", io.MultiReader(strings.NewReader(tt.in), iotest.ErrReader(broken))},
				{"byte by byte", io.MultiReader(iotest.OneByteReader(strings.NewReader(tt.in)), iotest.ErrReader(broken))},
				{"error with the data", iotest.DataErrReader(io.MultiReader(strings.NewReader(tt.in), iotest.ErrReader(broken)))},
			} {
				got, err := io.ReadAll(remote.NewWholeEvents(split.r))
				if string(got) != tt.want || err != broken {
					t.Errorf("%s: got %q, error %v; want %q, error %v", split.name, got, err, tt.want, broken)
				}
			}
		})
	}
}

func TestWholeEventsBound(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("data: "), strings.NewReader(strings.Repeat("x", remote.MaxEvent)), strings.NewReader("\n\n"))
	if _, err := io.ReadAll(remote.NewWholeEvents(endless)); err != remote.ErrTooLong {
		t.Errorf("got error %v, want %v", err, remote.ErrTooLong)
	}
}
