package http2

import (
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"headcount/test/crowd"
	"headcount/test/rig"
)

// slowhttptest opens 50 connections that send a header, or a body, a few bytes a second, or read an answer so. Those
// that send are closed after ten seconds, and a hundred healthy readers notice none of it.
func TestSlowClients(t *testing.T) {
	program := rig.Need(t, "slowhttptest", "apt-get install slowhttptest")
	server := rig.StartPlain(t, "-token", crowd.Token)
	c := crowd.Open(t, server, "lobby", 100)
	c.Emit(10)
	for _, row := range []struct {
		name  string
		flags []string
		gone  bool // the server ends them
	}{
		{"header", []string{"-H", "-i", "2", "-t", "GET", "-u", server.URL + "/events", "-x", "24"}, true},
		{"body", []string{"-B", "-i", "2", "-t", "POST", "-u", server.URL + "/alive", "-s", "4096", "-x", "10"}, true},
		{"reading", []string{"-X", "-w", "10", "-y", "20", "-n", "2", "-z", "8", "-k", "3", "-u", server.URL + "/"}, false},
	} {
		t.Run("slow "+row.name, func(t *testing.T) {
			t.Parallel() // each takes until the server has enough, or as long as -l says
			report := filepath.Join(t.TempDir(), "report")
			cmd := exec.Command(program, append(row.flags, "-c", "50", "-r", "50", "-l", "14", "-p", "5", "-g", "-o", report)...)
			begin := time.Now()
			out, err := cmd.CombinedOutput()
			took := time.Since(begin)
			if err != nil {
				t.Fatalf("slowhttptest: %v\n%.2000s", err, out)
			}
			seconds := readReport(t, report+".csv")
			most, last := 0, seconds[len(seconds)-1]
			for _, s := range seconds {
				most = max(most, s.connected)
			}
			t.Logf("%d connections at most; after %v: %d connected, %d closed", most, took.Round(time.Second), last.connected, last.closed)
			if most < 45 {
				t.Errorf("slowhttptest had %d connections at a time, want about 50\n%.2000s", most, out)
			}
			// It ends before -l only where it has no connection left.
			if row.gone && (!strings.Contains(string(out), "No open connections left") || took > 13*time.Second) {
				t.Errorf("after %v some of 50 connections live; the report ends with %+v\n%.2000s", took, last, out)
			}
		})
	}
	t.Cleanup(func() { // when all have ended
		n, p99 := c.Lateness(0.99)
		c.AwaitEvents(t, 15*time.Second)
		c.AwaitCount(t, 15*time.Second, 100)
		t.Logf("p99 %v of %d deliveries to the healthy; %v", p99.Round(time.Millisecond), n, crowd.Look(t, server))
		if p99 > 2*time.Second {
			t.Errorf("the 99th percentile of how late events came to the healthy is %v", p99)
		}
	})
}

// second is one line of the report.
type second struct{ closed, connected int }

func readReport(t *testing.T, file string) []second {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := csv.NewReader(f)
	in.FieldsPerRecord = -1
	rows, err := in.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("read %s: %v, %d lines", file, err, len(rows))
	}
	var all []second
	for _, row := range rows[1:] {
		var s second
		for name, into := range map[string]*int{"Closed": &s.closed, "Connected": &s.connected} {
			for i, title := range rows[0] {
				if title == name {
					if *into, err = strconv.Atoi(row[i]); err != nil {
						t.Fatal(fmt.Errorf("read %s: %w", file, err))
					}
				}
			}
		}
		all = append(all, s)
	}
	return all
}
