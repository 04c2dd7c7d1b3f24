//go:build !linux

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"

	"headcount"
)

// Only Linux can upgrade without a stop. So there is no signal that requests an upgrade, and no predecessor.

func upgrades() (requests <-chan os.Signal, stop func()) { return nil, func() {} }

type program struct{}

func thisProgram([]string) program { return program{} }

type upgrade struct {
	program   program
	live      *headcount.Server
	listeners map[string]*listener
	public    *listener
	idle      *idleConns
	log       *slog.Logger
}

func (*upgrade) run(context.Context) (pid int, err error) { return 0, errors.ErrUnsupported }

type predecessor struct{}

func inherit() (*predecessor, error) { return nil, nil }

func (*predecessor) receive() (*headcount.Snapshot, error) { return nil, nil }
func (*predecessor) listener(string) (net.Listener, error) { return nil, nil }
func (*predecessor) ready() ([]net.Conn, error)            { return nil, nil }
func (*predecessor) refuse(error)                          {}
