package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// family is a process and all that it has started: nginx's workers count as nginx.
func family(pid int) []int {
	pids := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has just ended
		}
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, family(child)...)
			}
		}
	}
	return pids
}

// cpuTime is what a family of processes has used since it started, user and system together, dead children left out.
// It is the clock behind utime and stime of /proc/PID/stat, which show it in steps of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	var total time.Duration
	for _, member := range family(pid) {
		var used unix.Timespec
		// MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of linux/posix-timers_types.h.
		if err := unix.ClockGettime(int32(^member<<3|2), &used); err != nil {
			return 0, fmt.Errorf("read CPU time of process %d: %w", member, err)
		}
		total += time.Duration(used.Nano())
	}
	return total, nil
}

// memory is the proportional set size of a family in bytes: what is shared with others counts in shares. The kernel's
// own memory, such as sockets and their buffers, is in no process.
func memory(pid int) (int64, error) {
	var total int64
	for _, member := range family(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", member))
		if err != nil {
			return 0, fmt.Errorf("read memory: %w", err)
		}
		_, rest, found := bytes.Cut(text, []byte("\nPss:"))
		if !found {
			return 0, fmt.Errorf("read memory of process %d: no Pss", member)
		}
		kilobytes, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read memory: %w", err)
		}
		total += kilobytes << 10
	}
	return total, nil
}
