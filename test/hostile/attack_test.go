package hostile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headcount/test/crowd"
)

// somewhere is one of 200 addresses that the healthy readers do not have: what the server does to an address that
// overdoes it is not to hit them.
func somewhere() net.IP { return net.IPv4(127, 0, 6, byte(1+rand.IntN(200))) }

// dial connects from somewhere.
func (f *field) dial() (*net.TCPConn, error) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: somewhere()}, Timeout: 10 * time.Second}
	conn, err := from.Dial("tcp", f.server.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn.(*net.TCPConn), nil
}

// send connects and sends raw bytes.
func (f *field) send(raw string) (*net.TCPConn, error) {
	conn, err := f.dial()
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	// The server may have hung up before it had all: what it answered tells.
	io.WriteString(conn, raw)
	return conn, nil
}

// answer is what came back; status 0: the server hung up without a word.
type answer struct {
	status int
	body   string
	header http.Header
}

// ask sends raw bytes and reads the answer; of a stream only the status.
func (f *field) ask(raw string) (answer, error) {
	conn, err := f.send(raw)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return answer{}, fmt.Errorf("no answer within 20 s to %.60q", raw)
	case err != nil:
		return answer{}, nil
	}
	a := answer{status: resp.StatusCode, header: resp.Header}
	// The body is not closed: that would read a stream to its end.
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		body, _ := io.ReadAll(resp.Body)
		a.body = string(body)
	}
	return a, nil
}

// expect asks and says what is wrong with the answer unless its status is one of those.
func (f *field) expect(raw string, statuses ...int) error {
	a, err := f.ask(raw)
	if err != nil {
		return err
	}
	if !slices.Contains(statuses, a.status) {
		return fmt.Errorf("got status %d %.100q to %.80q, want one of %v (0: hung up)", a.status, a.body, raw, statuses)
	}
	return nil
}

// each expects the same of several requests.
func (f *field) each(raws []string, statuses ...int) error {
	var errs []error
	for _, raw := range raws {
		errs = append(errs, f.expect(raw, statuses...))
	}
	return errors.Join(errs...)
}

func get(target string, headers ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: headcount.test\r\n" + lines(headers) + "\r\n"
}

func post(target, body string, headers ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: headcount.test\r\nContent-Length: %d\r\n%s\r\n%s", target, len(body), lines(headers), body)
}

func lines(headers []string) string {
	var b strings.Builder
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	return b.String()
}

const bearer = "Authorization: Bearer " + crowd.Token

// crew does something n times, 16 at a time, and returns the first error.
func crew(n int, do func(i int) error) error {
	var next atomic.Int64
	var working sync.WaitGroup
	errs := make([]error, 16)
	for w := range errs {
		working.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[w] == nil; i = int(next.Add(1)) - 1 {
				errs[w] = do(i)
			}
		})
	}
	working.Wait()
	return errors.Join(errs...)
}

// streams opens n streams whose first bytes have come, and reads no more of them.
func (f *field) streams(n int, query string) (conns, error) {
	all := make(conns, n)
	err := crew(n, func(i int) error {
		conn, err := f.send(get("/events?" + query))
		if err != nil {
			return err
		}
		all[i] = conn
		_, err = conn.Read(make([]byte, 64))
		return err
	})
	return all, err
}

// conns is connections that end together.
type conns []*net.TCPConn

func (all conns) close() {
	for _, c := range all {
		if c != nil {
			c.Close()
		}
	}
}

// reset ends them with RST instead of FIN.
func (all conns) reset() {
	for _, c := range all {
		if c != nil {
			c.SetLinger(0)
			c.Close()
		}
	}
}

// await polls until ok holds.
func await(deadline time.Duration, what string, ok func() bool) error {
	for end := time.Now().Add(deadline); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("waited %v in vain for: %s", deadline, what)
		}
	}
	return nil
}

// counted waits until /count of the room is n.
func (f *field) counted(room string, n int) error {
	return await(10*time.Second, fmt.Sprintf("count %d of room %s", n, room), func() bool { return f.server.Count(room) == n })
}
