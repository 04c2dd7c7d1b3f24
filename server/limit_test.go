//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The number of streams that the server announces at the start fits into its open files, however few these are.
func TestStreamsFit(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := filepath.Join(t.TempDir(), "server") // because of this name TestMain runs the command
	if err := os.Symlink(self, server); err != nil {
		t.Fatal(err)
	}
	for _, files := range []int{48, 64, 256} {
		t.Run(strconv.Itoa(files), func(t *testing.T) {
			cmd := exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" -addr 127.0.0.1:0 -admin= -drain 0`, files), server)
			log, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			var said []string
			for lines := bufio.NewScanner(log); said == nil && lines.Scan(); {
				said = regexp.MustCompile(`msg=listening addr=(\S+) .*max_streams=(\d+)`).FindStringSubmatch(lines.Text())
			}
			if said == nil {
				t.Fatal("the server does not say how many streams it takes")
			}
			streams, _ := strconv.Atoi(said[2])
			for n := range streams + 1 {
				conn, err := net.Dial("tcp", said[1])
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				fmt.Fprint(conn, "GET /events HTTP/1.1\r\nHost: headcount.test\r\n\r\n")
				conn.SetReadDeadline(time.Now().Add(20 * time.Second))
				answer := make([]byte, 4096)
				got, err := conn.Read(answer)
				want := "HTTP/1.1 200 "
				if n == streams {
					want = "HTTP/1.1 503 "
				}
				if text := string(answer[:got]); err != nil || !strings.HasPrefix(text, want) || n == streams && !strings.Contains(text, "this server is full") {
					t.Fatalf("stream %d of %d: got %q, %v, want %s", n+1, streams, text, err, want)
				}
			}
		})
	}
}
