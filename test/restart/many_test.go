package restart

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"headcount/internal/tlsconn/tlstest"
	"headcount/test/crowd"
	"headcount/test/rig"
)

// stream is a connection with an open stream.
type stream struct {
	conn net.Conn
	in   *bufio.Reader
}

func open(server *rig.Server, config *tls.Config, id string) (*stream, error) {
	conn, err := net.Dial("tcp", server.Addr)
	if err != nil {
		return nil, err
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	_, err = fmt.Fprintf(conn, "GET /events?id=%s HTTP/1.1\r\nHost: headcount.test\r\nConnection: keep-alive\r\n\r\n", id)
	return &stream{conn, bufio.NewReaderSize(conn, 1024)}, err
}

// until reads up to a line of data, or up to the first one if data is "".
func (s *stream) until(data string) error {
	s.conn.SetReadDeadline(time.Now().Add(2 * soon))
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return err
		}
		if got, ok := strings.CutPrefix(line, "data: "); ok && (data == "" || strings.TrimSpace(got) == data) {
			return nil
		}
	}
}

// sequence reads the numbered events 1 to last, each once and in order. Meanwhile every count must be users.
func (s *stream) sequence(last, users int) error {
	s.conn.SetReadDeadline(time.Now().Add(2 * soon))
	for next := 1; next <= last; {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return err
		}
		got, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		switch _, err := strconv.Atoi(got); {
		case !ok:
		case err == nil && got != strconv.Itoa(users):
			return fmt.Errorf("got the count %s, want %d", got, users)
		case strings.HasPrefix(got, `"number `):
			if want := fmt.Sprintf(`"number %d"`, next); got != want {
				return fmt.Errorf("got %s, want %s", got, want)
			}
			next++
		}
	}
	return nil
}

// Many streams, plain or TLS, are handed over at once, while 10 events and 200 joins and leaves come each second.
// UPGRADE_STREAMS is their number. If it is set, the pause in writing may be 250 ms at most.
func TestUpgradeOfMany(t *testing.T) {
	n := 500
	if text := os.Getenv("UPGRADE_STREAMS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("read UPGRADE_STREAMS: %v", err)
		}
	}
	for _, name := range []string{"plain", "TLS"} {
		t.Run(name, func(t *testing.T) {
			args := []string{"-token", crowd.Token}
			var config *tls.Config
			if name == "TLS" {
				args = append(args, tlstest.Options(t)...)
				config = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
			}
			server := rig.StartPlain(t, args...)
			streams, waiting := make([]*stream, n), 0
			for i := range streams {
				var err error
				if streams[i], err = open(server, config, fmt.Sprintf("reader-%06d", i)); err != nil {
					t.Fatalf("open stream %d: %v", i, err)
				}
				defer streams[i].conn.Close()
				// An address may have only so many connections without a request.
				for ; waiting <= i && (i-waiting >= 99 || i == n-1); waiting++ {
					if err := streams[waiting].until(""); err != nil {
						t.Fatalf("stream %d: %v", waiting, err)
					}
				}
			}
			emitAndRead := func(data string) {
				t.Helper()
				emit(t, server, "lobby", data, "")
				var all error
				for i, s := range streams {
					if err := s.until(data); err != nil {
						all = errors.Join(all, fmt.Errorf("stream %d: %w", i, err))
					}
				}
				if all != nil {
					t.Fatalf("event %s: %.500v", data, all)
				}
			}
			emitAndRead(`"before"`)
			stop, emitted := make(chan struct{}), 0
			busy := visitors(server, "busy", 200, stop)
			busy.Go(func() {
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
						if _, err := tryEmit(server, "lobby", fmt.Sprintf(`"number %d"`, emitted+1), ""); err != nil {
							t.Error(err)
							return
						}
						emitted++
					}
				}
			})
			paused := server.Upgrade()
			again := server.Upgrade()
			close(stop)
			busy.Wait()
			for i, s := range streams {
				if err := s.sequence(emitted, n); err != nil {
					t.Fatalf("stream %d: %v", i, err)
				}
			}
			emitAndRead(`"after"`)
			t.Logf("%d streams over %s, %d events meanwhile: nothing was written for %v and %v", n, name, emitted, paused, again)
			if got := server.Count("lobby"); got != n {
				t.Errorf("got %d users, want %d", got, n)
			}
			if os.Getenv("UPGRADE_STREAMS") != "" && max(paused, again) > 250*time.Millisecond {
				t.Errorf("nothing was written for %v, want at most 250ms", max(paused, again))
			}
		})
	}
}
