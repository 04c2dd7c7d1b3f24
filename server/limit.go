package main

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"headcount/internal/engine"
)

// size is a number of bytes, written as 64KiB.
type size int64

func (s *size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<40 {
		return errors.New("give a number and a unit, such as 64KiB")
	}
	*s = size(n)
	return nil
}

func (s *size) String() string { return strings.ReplaceAll(humanize.IBytes(uint64(*s)), " ", "") }

// streamLimit is how many streams may be open at once; 0 = no limit.
type streamLimit int

// auto allows as many streams as the limit of open files does.
const auto streamLimit = -1

func (l *streamLimit) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return errors.New("give a number of streams, 0 = no limit")
	}
	*l = streamLimit(n)
	return nil
}

func (l *streamLimit) String() string {
	if *l == auto {
		return "what the open-file limit allows"
	}
	return strconv.Itoa(int(*l))
}

// resolve turns auto into a number. files is the limit of open files, 0 = unknown.
func (l streamLimit) resolve(files, processors int) int {
	if l == auto {
		return engine.StreamsFor(files, processors)
	}
	return int(l)
}

// prefixes is a list of address ranges.
type prefixes []netip.Prefix

func loopback() prefixes {
	return prefixes{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

func (p *prefixes) Set(text string) error {
	list := prefixes{} // not nil, because nil means the default
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		one, err := netip.ParsePrefix(part)
		if a, err2 := netip.ParseAddr(part); err2 == nil {
			one, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return errors.New("give address ranges such as 10.0.0.0/8, comma-separated")
		}
		list = append(list, one)
	}
	*p = list
	return nil
}

func (p *prefixes) String() string {
	texts := make([]string, len(*p))
	for i, one := range *p {
		texts[i] = one.String()
	}
	return strings.Join(texts, ",")
}
