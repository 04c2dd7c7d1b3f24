package main

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// size is a number of bytes that reads as 64KiB.
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

// streamLimit is how many streams may be open at once; 0 = any number.
type streamLimit int

// auto is as many streams as the open-file limit allows.
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

// resolve turns auto into a number: a stream is an open file, and some must stay
// for everything else. It logs the number once, for that limit is what an operator
// meets first.
func (l streamLimit) resolve(log *slog.Logger) int {
	files := openFiles() // Go itself has raised the soft limit to the hard one
	if l != auto {
		if files > 0 && int(l) > files {
			log.Warn("more streams are allowed than open files", "streams", int(l), "open_files", files)
		}
		return int(l)
	}
	if files == 0 {
		return 0
	}
	streams := files - min(1000, files/4)
	log.Info("streams are limited by open files", "open_files", files, "streams", streams)
	return streams
}
