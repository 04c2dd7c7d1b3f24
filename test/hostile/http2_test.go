package hostile

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// connection is one of HTTP/2 without TLS, frame by frame.
type connection struct {
	net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	pack   *hpack.Encoder
}

// http2 connects and sends the preface.
func (f *field) http2(settings ...http2.Setting) (*connection, error) {
	conn, err := f.send(http2.ClientPreface)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, framer: http2.NewFramer(conn, conn)}
	c.pack = hpack.NewEncoder(&c.block)
	return c, c.framer.WriteSettings(settings...)
}

// get begins stream n (1, 3, 5, …) with a request.
func (c *connection) get(n uint32, path string, headers ...hpack.HeaderField) error {
	return c.begin("GET", n, path, true, headers...)
}

// begin begins stream n; last means that no body follows.
func (c *connection) begin(method string, n uint32, path string, last bool, headers ...hpack.HeaderField) error {
	c.block.Reset()
	for _, h := range append([]hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "headcount.test"}, {Name: ":path", Value: path},
	}, headers...) {
		if err := c.pack.WriteField(h); err != nil {
			return err
		}
	}
	return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: n, BlockFragment: c.block.Bytes(), EndStream: last, EndHeaders: true})
}

// drain reads what comes, so that the server can write.
func (c *connection) drain() { go io.Copy(io.Discard, c.Conn) }

// rapidReset is CVE-2023-44487: streams that are cancelled as soon as they are begun.
func rapidReset(f *field) error {
	return crew(4, func(int) error {
		c, err := f.http2()
		if err != nil {
			return err
		}
		defer c.Close()
		c.drain()
		for n := range uint32(5000) {
			if c.get(2*n+1, "/events?room=lobby") != nil || c.framer.WriteRSTStream(2*n+1, http2.ErrCodeCancel) != nil {
				return nil // the server has had enough
			}
		}
		return nil
	})
}

func manyStreams(f *field) error {
	c, err := f.http2()
	if err != nil {
		return err
	}
	defer c.Close()
	c.drain()
	for n := range uint32(250) {
		if err := c.get(2*n+1, "/events?room=lobby&id=http2-"+strconv.Itoa(1000+int(n))); err != nil {
			return err
		}
	}
	return f.counted("lobby", healthy+250)
}

// noWindow allows not a byte of any of 100 streams.
func noWindow(f *field) error {
	c, err := f.http2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	if err != nil {
		return err
	}
	defer c.Close()
	c.drain()
	for n := range uint32(100) {
		if err := c.get(2*n+1, "/events?room=lobby"); err != nil {
			return err
		}
	}
	f.crowd.Pad(strings.Repeat("x", 8<<10))
	defer f.crowd.Pad("")
	time.Sleep(2 * time.Second)
	return nil
}

// endlessContinuation is the CONTINUATION flood: a header that has no end.
func endlessContinuation(f *field) error {
	c, err := f.http2()
	if err != nil {
		return err
	}
	defer c.Close()
	c.drain()
	c.block.Reset()
	if err := c.pack.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 8000), Sensitive: true}); err != nil {
		return err
	}
	c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block.Bytes()})
	for range 100_000 {
		if c.framer.WriteContinuation(1, false, c.block.Bytes()) != nil {
			return nil
		}
	}
	return fmt.Errorf("the server took 800 MB of one header")
}

// pings asks for 100,000 answers and reads none.
func pings(f *field) error {
	c, err := f.http2()
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(3 * time.Second))
	for range 100_000 {
		if c.framer.WritePing(false, [8]byte{}) != nil {
			return nil // it has had enough, or reads no more
		}
	}
	return nil
}

// settings asks for 100,000 confirmations and reads none.
func settings(f *field) error {
	c, err := f.http2()
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(3 * time.Second))
	for range 100_000 {
		if c.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20}) != nil {
			return nil // it has had enough, or reads no more
		}
	}
	return nil
}

// missingBodies announces 100 bodies and sends none. Each is answered for itself; the connection goes on.
func missingBodies(f *field) error {
	c, err := f.http2()
	if err != nil {
		return err
	}
	defer c.Close()
	for n := range uint32(100) {
		if err := c.begin("POST", 2*n+1, "/alive", false); err != nil {
			return err
		}
	}
	c.SetDeadline(time.Now().Add(cutWithin))
	unpack := hpack.NewDecoder(4096, nil)
	for answers := 0; answers < 100; {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return fmt.Errorf("read answer %d of 100: %w", answers+1, err)
		}
		if frame, ok := frame.(*http2.HeadersFrame); ok {
			fields, err := unpack.DecodeFull(frame.HeaderBlockFragment())
			if err != nil || len(fields) == 0 || fields[0].Value != "408" {
				return fmt.Errorf("got %v, %v, want status 408", fields, err)
			}
			answers++
		}
	}
	return nil
}

// windowless opens 100 streams of which the server may not send a byte, and takes nothing back. They are given up.
func windowless(f *field) error {
	c, err := f.http2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Time{})
	c.drain()
	for n := range uint32(100) {
		if err := c.get(2*n+1, "/events?room=windowless"); err != nil {
			return err
		}
	}
	if err := f.counted("windowless", 100); err != nil {
		return err
	}
	return await(25*time.Second, "count 0 of room windowless", func() bool { return f.server.Count("windowless") == 0 })
}

// headerBomb refers a thousand times to one large field of the compression table.
func headerBomb(f *field) error {
	c, err := f.http2()
	if err != nil {
		return err
	}
	defer c.Close()
	large := hpack.HeaderField{Name: "x-large", Value: strings.Repeat("x", 3900)}
	many := make([]hpack.HeaderField, 1000)
	for i := range many {
		many[i] = large
	}
	if err := c.get(1, "/events?room=lobby", many...); err != nil {
		return err
	}
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return nil // it hung up
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			return nil
		case *http2.HeadersFrame:
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(frame.HeaderBlockFragment())
			if err != nil || len(fields) == 0 || fields[0].Value != "431" {
				return fmt.Errorf("got %v, %v, want status 431", fields, err)
			}
			return nil
		}
	}
}
