package crowd

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"headcount/test/rig"
)

// Vitals is what the server's /metrics says of the process.
type Vitals struct {
	Memory     int64 // bytes, resident
	Files      int   // open descriptors
	Goroutines int
	Users      int // over all rooms
	Streams    int
	Rooms      int
}

func (v Vitals) String() string {
	return fmt.Sprintf("%.1f MiB, %d descriptors, %d goroutines, %d users, %d streams, %d rooms",
		float64(v.Memory)/(1<<20), v.Files, v.Goroutines, v.Users, v.Streams, v.Rooms)
}

var adminLine = regexp.MustCompile(`admin listening" addr=(\S+)`)

// admin answers a path of the server's admin listener.
func admin(t testing.TB, server *rig.Server, path string) *http.Response {
	t.Helper()
	// The last one: it may have been restarted.
	found := adminLine.FindAllStringSubmatch(server.Log(), -1)
	if len(found) == 0 {
		t.Fatalf("the server's log names no admin listener:\n%s", server.Log())
	}
	resp, err := http.Get("http://" + found[len(found)-1][1] + path)
	if err != nil {
		t.Fatalf("ask the server's admin listener: %v", err)
	}
	return resp
}

// metrics are the server's, those with labels added up.
func metrics(t testing.TB, server *rig.Server) map[string]float64 {
	t.Helper()
	resp := admin(t, server, "/metrics")
	defer resp.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		name, _, _ = strings.Cut(name, "{")
		if value, err := strconv.ParseFloat(text, 64); err == nil && name != "#" {
			values[name] += value
		}
	}
	return values
}

// Live returns how many bytes of Go's heap the server needs. That is what is left when all garbage has been collected.
func Live(t testing.TB, server *rig.Server) int64 {
	t.Helper()
	for range 2 { // what is in a sync.Pool survives one
		resp := admin(t, server, "/debug/pprof/heap?gc=1")
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	live, ok := metrics(t, server)["go_memstats_heap_alloc_bytes"]
	if !ok {
		t.Fatalf("the server's metrics have no go_memstats_heap_alloc_bytes")
	}
	return int64(live)
}

// Look asks the server how it is.
func Look(t testing.TB, server *rig.Server) Vitals {
	t.Helper()
	values := metrics(t, server)
	for _, name := range []string{"process_resident_memory_bytes", "process_open_fds", "go_goroutines", "headcount_users", "headcount_streams", "headcount_rooms"} {
		if _, ok := values[name]; !ok {
			t.Fatalf("the server's metrics have no %s", name)
		}
	}
	return Vitals{
		Memory: int64(values["process_resident_memory_bytes"]), Files: int(values["process_open_fds"]),
		Goroutines: int(values["go_goroutines"]), Users: int(values["headcount_users"]),
		Streams: int(values["headcount_streams"]), Rooms: int(values["headcount_rooms"]),
	}
}
