package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"headcount"
	"headcount/internal/handover"
)

// Time limits of an upgrade.
const (
	helloTime = 10 * time.Second       // from the start of the new program until it is ready to take over
	readyTime = 5 * time.Second        // for the takeover, during which nothing is written
	idleTimes = 100 * time.Millisecond // for net/http to give up connections between requests
)

// upgrades returns a channel that receives each request to upgrade.
func upgrades() (requests <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	return c, func() { signal.Stop(c) }
}

// program describes how to start this program again.
type program struct {
	path string // as the user called it, so that a symbolic link may point to another version
	args []string
}

func thisProgram(args []string) program {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil { // the name it was called by does not exist
		path, _ = os.Executable()
	}
	return program{path, args}
}

// upgrade is the state that one process hands over to the next.
type upgrade struct {
	program    program
	live       *headcount.Server
	listeners  map[string]*listener // by option and address
	public     *listener            // the listener that accepted the idle connections
	switchover *switchover
	log        *slog.Logger
}

// run hands over to the program that is at the path now. If that does not start, this process resumes and run returns
// the reason.
func (u *upgrade) run(ctx context.Context) (*successor, error) {
	if os.Getpid() == 1 {
		return nil, errors.New("this is process 1, and a container ends with it; replace the container instead")
	}
	begin := time.Now()
	starting, cancel := context.WithCancel(context.Background())
	signalled := context.AfterFunc(ctx, cancel) // a signal to stop this process also stops the next one until it has taken over
	cmd := exec.CommandContext(starting, u.program.path, u.program.args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	next, err := handover.Start(cmd, handover.Limits{Hello: helloTime, Ready: readyTime})
	if err != nil {
		cancel()
		return nil, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no garbage is collected while nobody is served
	runtime.GC()                                     // ends a collection that is running
	parcel, err := u.stop()
	frozen := time.Now()
	var state *headcount.Snapshot
	if err == nil {
		u.switchover.pause()
		state, err = u.live.Freeze()
	}
	if err == nil {
		parcel.Streams = state.Streams()
		err = next.Send(*parcel, state.Bytes)
	}
	if !signalled() && err == nil { // from here on the next process handles signals itself
		err = errors.New("this process was told to stop")
	}
	if err == nil {
		err = next.Go()
	}
	if err != nil {
		err = errors.Join(err, next.Kill()) // before this process writes again
		cancel()
		if state != nil {
			u.live.Thaw()
		}
		u.switchover.resume()
		return nil, errors.Join(err, u.resume(parcel))
	}
	u.log.Info("handed over", "pid", next.Pid(), "streams", len(parcel.Streams), "connections", len(parcel.Connections),
		"took", time.Since(begin), "paused", time.Since(frozen))
	parcel.Streams = nil // the engine closes them
	parcel.Close()       // or clients would not notice when the next process closes one
	return &successor{to: next, log: u.log}, nil
}

// stop stops accepting, and takes the connections that wait for a request away from net/http.
func (u *upgrade) stop() (*handover.Parcel, error) {
	var parcel handover.Parcel
	u.switchover.closing.Store(true)
	for name, l := range u.listeners {
		if err := l.Pause(); err != nil {
			return &parcel, err
		}
		fd, err := duplicate(l.Listener)
		if err != nil {
			return &parcel, fmt.Errorf("duplicate listener: %w", err)
		}
		parcel.Listeners = append(parcel.Listeners, handover.Listener{Name: name, FD: fd})
	}
	parcel.Connections = u.switchover.idle.take(idleTimes)
	return &parcel, nil
}

// resume accepts again.
func (u *upgrade) resume(parcel *handover.Parcel) error {
	u.switchover.closing.Store(false)
	conns, err := parcel.TakeConnections()
	for _, l := range parcel.Listeners {
		_ = unix.Close(l.FD)
	}
	for _, l := range u.listeners {
		if l == u.public {
			err = errors.Join(err, l.Resume(u.switchover.idle.between(conns)...))
		} else {
			err = errors.Join(err, l.Resume())
		}
	}
	return err
}
