//go:build !linux

package main

import (
	"net"
	"net/http"
)

// leaving is for Linux only.
type leaving struct{}

func (leaving) changed(net.Conn, http.ConnState) {}
