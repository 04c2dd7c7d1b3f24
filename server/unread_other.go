//go:build !linux

package main

import "net"

func unread(net.Conn) bool { return false }
