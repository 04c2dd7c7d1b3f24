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
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"headcount"
	"headcount/internal/handover"
)

// Times of an upgrade.
const (
	helloTime = 10 * time.Second       // from the start of the new program until it is ready to take over
	readyTime = 5 * time.Second        // to take over: nothing is written meanwhile
	idleTimes = 100 * time.Millisecond // to give up connections between requests
)

// upgrades returns a channel that gets each request to upgrade.
func upgrades() (requests <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	return c, func() { signal.Stop(c) }
}

// program is what to start again, and how.
type program struct {
	path string // as it was called, so that a symbolic link may point to another version
	args []string
}

func thisProgram(args []string) program {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil { // it was called by a name that leads nowhere
		path, _ = os.Executable()
	}
	return program{path, args}
}

// upgrade is what one process hands over to the next.
type upgrade struct {
	program   program
	live      *headcount.Server
	listeners map[string]*listener // by option and address
	public    *listener            // of them, the one that connections between requests came by
	idle      *idleConns
	log       *slog.Logger
}

// run hands over to the program that is at the path now. If that does not come up, all goes on here, and run says why.
func (u *upgrade) run(ctx context.Context) (pid int, err error) {
	if os.Getpid() == 1 {
		return 0, errors.New("this is process 1, and a container ends with it; replace the container instead")
	}
	begin := time.Now()
	starting, cancel := context.WithCancel(context.Background())
	signalled := context.AfterFunc(ctx, cancel) // to stop this process stops that one, as long as it has taken over nothing
	cmd := exec.CommandContext(starting, u.program.path, u.program.args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	next, err := handover.Start(cmd, handover.Limits{Hello: helloTime, Ready: readyTime})
	if err != nil {
		cancel()
		return 0, err
	}
	parcel, err := u.stop()
	frozen := time.Now()
	var state *headcount.Snapshot
	if err == nil {
		state = u.live.Freeze()
		parcel.Streams = state.Streams()
		if parcel.State, err = state.Bytes(); err == nil {
			err = next.Give(*parcel)
		}
	}
	signalled() // from here on the next process hears of signals by itself
	if err == nil {
		err = next.Go()
	}
	if err != nil {
		err = errors.Join(err, next.Kill()) // before anything is written here
		cancel()
		if state != nil {
			u.live.Thaw()
		}
		return 0, errors.Join(err, u.goOn(parcel))
	}
	u.log.Info("handed over", "pid", next.Pid(), "streams", len(parcel.Streams), "connections", len(parcel.Connections),
		"bytes", len(parcel.State), "took", time.Since(begin), "paused", time.Since(frozen))
	return next.Pid(), nil
}

// stop accepts nothing more, and takes the connections that wait for a request away from net/http.
func (u *upgrade) stop() (*handover.Parcel, error) {
	var parcel handover.Parcel
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
	parcel.Connections = u.idle.take(idleTimes)
	return &parcel, nil
}

// goOn accepts again.
func (u *upgrade) goOn(parcel *handover.Parcel) error {
	conns, err := parcel.TakeConnections()
	for _, l := range parcel.Listeners {
		_ = unix.Close(l.FD)
	}
	for _, l := range u.listeners {
		if l == u.public {
			err = errors.Join(err, l.Resume(conns...))
		} else {
			err = errors.Join(err, l.Resume())
		}
	}
	return err
}
