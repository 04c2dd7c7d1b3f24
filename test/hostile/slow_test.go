package hostile

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// cutWithin is how long the server may wait for a client that sends too slowly. It documents 10 s.
const cutWithin = 13 * time.Second

// dribble opens 30 connections, sends first and then, each second, more on each of them. It expects the server to have
// closed all of them in time.
func (f *field) dribble(first, more string) error {
	var trying sync.WaitGroup
	errs := make([]error, 30)
	for i := range errs {
		trying.Go(func() { errs[i] = f.dribbleOne(first, more) })
	}
	trying.Wait()
	return errors.Join(errs...)
}

func (f *field) dribbleOne(first, more string) error {
	conn, err := f.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	io.WriteString(conn, first)
	begin := time.Now()
	buf := make([]byte, 4096)
	for time.Since(begin) < cutWithin {
		conn.SetReadDeadline(time.Now().Add(time.Second))
		_, err := conn.Read(buf) // an answer that says why may come before the end
		var timeout net.Error
		switch {
		case err == nil:
		case errors.As(err, &timeout) && timeout.Timeout():
			io.WriteString(conn, more)
		default:
			return nil
		}
	}
	return fmt.Errorf("%q and then %q each second: the connection lives after %v", first, more, cutWithin)
}

// silence is nothing, or less than it takes to tell HTTP/1.1 from HTTP/2.
func silence(f *field) error {
	return errors.Join(f.dribble("", ""), f.dribble("GET /\r\n\r\n", ""), f.dribble("\x00\x00\x00\r\n\r\n", ""))
}

func halfPreface(f *field) error {
	return errors.Join(f.dribble("PRI * HT", ""), f.dribble("PRI * HTTP/2.0\r\n", ""))
}

func endlessHeader(f *field) error {
	return f.dribble("GET /events HTTP/1.1\r\nHost: headcount.test\r\n", "X-More: and more\r\n")
}

func slowBody(f *field) error {
	var trying sync.WaitGroup
	targets := []string{"/emit", "/alive", "/leave"}
	errs := make([]error, len(targets))
	for i, target := range targets {
		trying.Go(func() {
			errs[i] = f.dribble("POST "+target+" HTTP/1.1\r\nHost: headcount.test\r\nContent-Length: 1000\r\n"+bearer+"\r\n\r\n{", " ")
		})
	}
	trying.Wait()
	return errors.Join(errs...)
}
