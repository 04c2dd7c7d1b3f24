package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"headcount/internal/wire"
)

// unixPrefix marks an address as a Unix socket, for proxies on the same machine.
const unixPrefix = "unix:"

// splitAddr returns the network and the address for package net.
func splitAddr(addr string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		if path == "" {
			return "", "", errors.New("the path of a socket is missing")
		}
		return "unix", path, nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", errors.New("this is not host:port")
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return "", "", fmt.Errorf("port %s does not exist; ports are 1 to 65535", port)
	}
	return "tcp", addr, nil
}

// listen opens the listener of an option.
func listen(ctx context.Context, option, addr string) (net.Listener, error) {
	network, address, err := splitAddr(addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %q: %w", option, addr, err)
	}
	var lc net.ListenConfig
	if network == "tcp" {
		wire.Tune(&lc) // the kernel gives up connections whose clients vanished
	}
	l, err := lc.Listen(ctx, network, address)
	if errors.Is(err, syscall.EADDRINUSE) && network == "unix" && abandoned(ctx, address) {
		if err := os.Remove(address); err != nil {
			return nil, fmt.Errorf("listen for %s: %w", option, err)
		}
		l, err = lc.Listen(ctx, network, address)
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("address %s is in use; stop the program that uses it, or choose another address with %s", addr, option)
	case err != nil:
		return nil, fmt.Errorf("listen for %s: %w", option, err)
	}
	return l, nil
}

// abandoned reports whether a Unix socket was left behind by a program that was killed.
func abandoned(ctx context.Context, path string) bool {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// pageURL returns the page's URL for a user on this machine.
func pageURL(a net.Addr, secure bool) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return ""
	}
	host, scheme := tcp.IP.String(), "http://"
	if tcp.IP.IsUnspecified() || tcp.IP.IsLoopback() {
		host = "localhost"
	}
	if secure {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// localAddr returns an address that reaches a listener from this machine.
func localAddr(addr string) (network, address string) {
	network, address, _ = splitAddr(addr) // check has validated the address
	if network != "tcp" {
		return network, address
	}
	host, port, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return network, net.JoinHostPort(host, port)
}
