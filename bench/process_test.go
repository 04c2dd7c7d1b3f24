package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCPUTime compares the fine clock with the coarse one of /proc/PID/stat.
func TestCPUTime(t *testing.T) {
	var got time.Duration
	for got < 200*time.Millisecond { // work, by the clock under test
		var err error
		if got, err = cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):]))
	user, _ := strconv.Atoi(fields[12])
	system, _ := strconv.Atoi(fields[13])
	want := time.Duration(user+system) * 10 * time.Millisecond
	if (got - want).Abs() > 40*time.Millisecond {
		t.Errorf("CPU time of this process: got %v, want about %v", got, want)
	}
}

func TestMemory(t *testing.T) {
	before, err := memory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// Not from the heap, of which the race detector would keep a shadow.
	block, err := unix.Mmap(-1, 0, 64<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(block)
	for i := range block {
		block[i] = byte(i)
	}
	after, err := memory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown < 60<<20 || grown > 80<<20 {
		t.Errorf("growth by 64 MiB: got %d bytes", grown)
	}
}
