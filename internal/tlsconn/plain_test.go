package tlsconn_test

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"

	"headcount/internal/tlsconn"
	"headcount/internal/tlsconn/tlstest"
)

// A client that speaks HTTP to the HTTPS port gets an explanation, even if its request is long.
func TestPlainRequest(t *testing.T) {
	config, _ := tlstest.Configs(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan error)
	go func() { done <- server.Serve(tlsconn.NewListener(l, config)) }()
	defer func() { server.Close(); <-done }()
	for _, size := range []int{0, 100, 8 << 10} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: headcount.test\r\nX: "+strings.Repeat("x", size)+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%d bytes of header: %v", size, err)
		}
		var body struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != 400 || !strings.Contains(body.Error, "https://") {
			t.Errorf("%d bytes of header: got %s %q, %v, want 400 and a sentence", size, resp.Status, body.Error, err)
		}
		conn.Close()
	}
}
