package crowd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// reader is one subscriber. After a cut it comes back with its cursor.
type reader struct {
	crowd *Crowd
	kind  Kind
	room  string
	id    string
	next  atomic.Int64 // number of the event that is due

	cursor string // of follow alone

	mu    sync.Mutex
	conn  net.Conn
	isCut bool // by the test: not a fault
	left  bool
	count int
	wrong string
}

// follow reads until the reader leaves.
func (r *reader) follow() {
	for !r.hasLeft() {
		conn, err := net.Dial("tcp", r.crowd.server.Addr)
		if err != nil {
			r.blame("connect: " + err.Error())
			return
		}
		if !r.begin(conn) {
			conn.Close()
			return
		}
		err = r.read(conn)
		conn.Close()
		var no *refusal
		switch {
		case errors.As(err, &no):
			r.crowd.pause(no.after)
		case r.kind == Polling && err == io.EOF:
			r.crowd.pause(100 * time.Millisecond)
		case !r.mayEnd():
			r.blame(fmt.Sprintf("stream ended by itself: %v", err))
			return
		}
	}
}

// refusal is how the server says that it wants no more streams for now.
type refusal struct {
	status string
	after  time.Duration
}

func (e *refusal) Error() string { return e.status }

func (r *reader) request() string {
	query := url.Values{"room": {r.room}}
	if r.id != "" {
		query.Set("id", r.id)
	}
	if r.kind == Polling {
		query.Set("poll", "1")
	}
	request := "GET /events?" + query.Encode() + " HTTP/1.1\r\nHost: headcount.test\r\n"
	if r.cursor != "" {
		request += "Last-Event-ID: " + r.cursor + "\r\n"
	}
	if r.kind == Proxied {
		request += "X-Forwarded-For: 192.0.2.1\r\n"
	}
	return request + "\r\n"
}

func (r *reader) read(conn net.Conn) error {
	if _, err := io.WriteString(conn, r.request()); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil {
			return fmt.Errorf("got %s without Retry-After", resp.Status)
		}
		return &refusal{resp.Status, time.Duration(seconds) * time.Second}
	default:
		return fmt.Errorf("got %s, want 200", resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	var id, event, data string
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err // what was not complete never happened
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			if id != "" {
				r.cursor = id
			}
			r.take(event, data)
			id, event, data = "", "", ""
		}
	}
}

func (r *reader) take(event, data string) {
	switch event {
	case "user count":
		n, err := strconv.Atoi(data)
		if err != nil {
			r.blame("got the count " + data)
		}
		r.mu.Lock()
		r.count = n
		r.mu.Unlock()
	case "n":
		var e numbered
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			r.blame(fmt.Sprintf("got the data %.80q", data))
			return
		}
		if want := r.next.Load(); e.N != want {
			r.blame(fmt.Sprintf("got event %d, want %d", e.N, want))
			return
		}
		if r.kind != Polling { // their pause is no lateness
			r.crowd.delivered(time.Since(time.Unix(0, e.At)))
		}
		r.next.Add(1)
	case "io:gap":
		r.blame("was told of a gap: " + data)
	case "io:hello", "io:ping":
		if r.kind == Proxied {
			if err := r.crowd.alive(r.id); err != nil {
				r.blame("answer " + event + ": " + err.Error())
			}
		}
	case "":
	default:
		r.blame(fmt.Sprintf("got the event %.80q, which nobody emitted", event))
	}
}

// begin says that the reader now reads conn; false if it has left.
func (r *reader) begin(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn, r.isCut = conn, false
	return !r.left
}

func (r *reader) mayEnd() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isCut || r.left
}

func (r *reader) cut(abruptly bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil || r.isCut {
		return
	}
	if abruptly {
		_ = r.conn.(*net.TCPConn).SetLinger(0) // RST instead of FIN
	}
	_ = r.conn.Close()
	r.isCut = true
}

func (r *reader) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = true
	if r.conn != nil {
		_ = r.conn.Close()
	}
}

func (r *reader) hasLeft() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

func (r *reader) users() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// blame takes down the first thing that went wrong.
func (r *reader) blame(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrong == "" && !r.left {
		r.wrong = what
	}
}

func (r *reader) fault() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}
