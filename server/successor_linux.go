package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"headcount/internal/engine"
	"headcount/internal/handover"
	"headcount/internal/httpapi"
)

// successor is the process that has taken over. It answers the requests that this process has read too late.
type successor struct {
	to  *handover.Successor
	log *slog.Logger

	forwarding sync.RWMutex // read-locked while a connection that net/http has given up is forwarded
}

// forwarded describes a connection that is forwarded.
type forwarded struct {
	Local, Remote string // addresses of the client's connection
	TLS           bool   // the client uses TLS
	Read          []byte // what was read from it
}

func (s *successor) pid() int { return s.to.Pid() }

// Close waits until everything is forwarded.
func (s *successor) Close() error {
	s.forwarding.Lock()
	defer s.forwarding.Unlock()
	return s.to.Close()
}

// ServeHTTP forwards the connection of a request. If that is impossible, as with TLS and HTTP/2, it relays the request
// and its response. The body of a POST must be complete.
func (s *successor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Method == http.MethodPost {
		body, _ = io.ReadAll(r.Body) // it is in memory
	}
	if r.TLS == nil && r.ProtoMajor == 1 && (r.Method == http.MethodPost || r.ContentLength == 0) {
		s.forwarding.RLock()
		defer s.forwarding.RUnlock()
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err == nil {
			if err := s.forwardConn(conn, buffered.Reader, r, body); err != nil {
				s.log.Warn("request lost", "error", err)
			}
			return
		}
	}
	if httpapi.Brief(w, r) {
		return
	}
	if err := s.relay(w, r, body); err != nil {
		s.log.Warn("request not forwarded", "error", err)
		errs := httpapi.Errors{Log: s.log}
		errs.Write(w, r, engine.ErrStopping)
	}
}

// forwardConn forwards a connection, with its request and what was read after it.
func (s *successor) forwardConn(conn net.Conn, read *bufio.Reader, r *http.Request, body []byte) error {
	defer conn.Close() // it lives on in the next process
	ahead, _ := read.Peek(read.Buffered())
	fd, err := duplicate(conn)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return s.forward(fd, r, conn.LocalAddr(), append(request(r, body, len(r.TransferEncoding) > 0), ahead...))
}

// relay sends a request over a new connection, and copies the response.
func (s *successor) relay(w http.ResponseWriter, r *http.Request, body []byte) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make socket pair: %w", err)
	}
	file := os.NewFile(uintptr(fds[0]), "relay")
	ours, err := net.FileConn(file)
	_ = file.Close() // FileConn has made its own
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if err == nil {
		defer ours.Close()
		err = s.forward(fds[1], r, local, request(r, body, true))
	}
	if err := errors.Join(err, unix.Close(fds[1])); err != nil {
		return err
	}
	defer context.AfterFunc(r.Context(), func() { _ = ours.Close() })()
	resp, err := http.ReadResponse(bufio.NewReader(ours), r)
	if err != nil {
		return fmt.Errorf("read response: %w", err)
	}
	defer resp.Body.Close()
	clear(w.Header())
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // the client may have gone
	return nil
}

func (s *successor) forward(fd int, r *http.Request, local net.Addr, read []byte) error {
	about, err := json.Marshal(forwarded{Local: local.String(), Remote: r.RemoteAddr, TLS: r.TLS != nil, Read: read})
	if err != nil {
		return fmt.Errorf("forward request: %w", err)
	}
	return s.to.Forward(handover.Parcel{Connections: []int{fd}, State: about})
}

// request returns a request as it is sent over HTTP/1. With last the connection closes after the response.
func request(r *http.Request, body []byte, last bool) []byte {
	header := r.Header.Clone()
	for _, name := range []string{"Expect", "Transfer-Encoding", "Content-Length"} {
		header.Del(name)
	}
	if r.Method == http.MethodPost {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if last {
		header.Set("Connection", "close")
	}
	minor := 1
	if r.ProtoMajor == 1 {
		minor = r.ProtoMinor
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.%d\r\nHost: %s\r\n", r.Method, r.RequestURI, minor, r.Host)
	_ = header.Write(&b) // a buffer never fails
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
