//go:build !linux

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"

	"headcount"
)

// Only Linux can upgrade without a stop. So there is no signal that requests an upgrade, and no predecessor.

func upgrades() (requests <-chan os.Signal, stop func()) { return nil, func() {} }

type program struct{}

func thisProgram([]string) program { return program{} }

type upgrade struct {
	program    program
	live       *headcount.Server
	listeners  map[string]*listener
	public     *listener
	switchover *switchover
	log        *slog.Logger
}

func (*upgrade) run(context.Context) (*successor, error) { return nil, errors.ErrUnsupported }

type successor struct{}

func (*successor) pid() int                                     { return 0 }
func (*successor) Close() error                                 { return nil }
func (*successor) ServeHTTP(http.ResponseWriter, *http.Request) {}

type predecessor struct{}

func findPredecessor() (*predecessor, error) { return nil, nil }

func (*predecessor) receive() (*headcount.Snapshot, error)  { return nil, nil }
func (*predecessor) listener(string) (net.Listener, error)  { return nil, nil }
func (*predecessor) ready(*slog.Logger) ([]net.Conn, error) { return nil, nil }
func (*predecessor) lateConns(net.Addr) net.Listener        { return nil }
func (*predecessor) awaitLate(context.Context)              {}
func (*predecessor) refuse(error)                           {}
