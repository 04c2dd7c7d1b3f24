package hub_test

import (
	"bytes"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"headcount/internal/hub"
	"headcount/internal/sse/ssetest"
)

// client is a subscriber and the bytes that have reached it.
type client struct {
	sub     *hub.Sub
	batch   hub.Batch
	chunked bool
	log     []byte
}

func join(r *hub.Room, who hub.JoinOptions) *client {
	who.Retry = time.Second
	return &client{sub: r.Join(who), chunked: who.Chunked}
}

// take writes as a socket with room for n bytes would. The first n bytes of the batch reach the client.
func (c *client) take(n int) {
	all := bytes.Join(c.batch.Bytes, nil)
	n = min(n, len(all))
	c.log = append(c.log, all[:n]...)
	c.sub.Advance(&c.batch, n)
}

// read takes everything that is pending.
func (c *client) read() {
	for c.sub.Pending(&c.batch) {
		c.take(c.batch.Len())
	}
}

// stream returns the log without the chunk framing, as far as the chunks are complete, and whether the last chunk has
// arrived.
func (c *client) stream() (stream []byte, ended bool) {
	if !c.chunked {
		return c.log, false
	}
	stream, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(c.log)))
	return stream, err == nil
}

// blocks returns the complete blocks that have arrived.
func (c *client) blocks() []ssetest.Block {
	stream, _ := c.stream()
	in := ssetest.NewReader(bytes.NewReader(stream))
	var all []ssetest.Block
	for {
		b, err := in.Block()
		if err != nil {
			return all
		}
		all = append(all, b)
	}
}

// events reads what is pending and returns "name data" of all events so far.
func (c *client) events() []string {
	c.read()
	var all []string
	for _, b := range c.blocks() {
		if b.Dispatched {
			all = append(all, b.Name+" "+b.Data)
		}
	}
	return all
}

func (c *client) want(t *testing.T, what string, events ...string) {
	t.Helper()
	if got := strings.Join(c.events(), ", "); got != strings.Join(events, ", ") {
		t.Errorf("%s: got %s, want %s", what, got, strings.Join(events, ", "))
	}
}

// set returns a function that returns the value of a state.
func set(v string) func() []byte { return func() []byte { return []byte(v) } }
