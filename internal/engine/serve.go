package engine

import (
	"context"
	"errors"
	"net"
	"net/http"

	"headcount/internal/hub"
	"headcount/internal/wire"
)

// CanTakeOver reports whether there are loops that can take over connections.
func (e *Engine) CanTakeOver() bool { return e.epoll != nil }

// Serve writes the stream through net/http until the client has gone, ctx is done or an end was requested. The header
// of w must be set.
func (st *Stream) Serve(ctx context.Context, w http.ResponseWriter) {
	st.run(ctx, w, st.room.Join(st.arrival.JoinOptions))
}

// HandOver takes over a hijacked connection to which nothing has been written. header is the response header. It
// returns at once if a loop takes the connection, and otherwise at the end of the stream. After an error the connection
// still works.
func (st *Stream) HandOver(conn net.Conn, header []byte, chunked bool) error {
	e, push := st.engine, st.arrival.browser
	st.arrival.Prefix, st.arrival.Chunked = header, chunked
	sub := st.room.Join(st.arrival.JoinOptions)
	socket, err := wire.Detach(conn, sub)
	if err == nil {
		st.attach(e.epoll.Take(socket, sub, push, st), transportOf(socket.TLS()))
	}
	var kept *wire.NotDetached
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kept):
		e.observer.Kept(string(kept.Obstacle))
		e.streams.cuttable(st, conn)
		w, gone, stop := wire.NewConnWriter(conn)
		defer stop()
		st.run(gone, w, sub)
		return nil
	}
	e.log.Warn("stream refused", "error", err)
	return unavailable(OpenFiles, "this server cannot take another stream now; try again in a few seconds")
}

func transportOf(tls bool) Transport {
	if tls {
		return ByEpollTLS
	}
	return ByEpoll
}

// run writes with the portable writer until the stream ends.
func (st *Stream) run(ctx context.Context, w http.ResponseWriter, sub *hub.Sub) {
	out := wire.NewStream(sub, st.engine.opt.Heartbeat, st.arrival.browser)
	ctx, stop := st.untimed(ctx)
	defer stop()
	st.attach(out, ByStream)
	st.Close(out.Run(ctx, w))
}

// untimed returns a context that ends with ctx, but not by its deadline. The time limit of a host's middleware must not
// cut a stream. It ends the stream cleanly instead.
func (st *Stream) untimed(ctx context.Context) (context.Context, func()) {
	if _, limited := ctx.Deadline(); !limited {
		return ctx, func() {}
	}
	untimed, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			st.endFor(soon(), st.returnTime())
		} else {
			cancel()
		}
	})
	return untimed, func() { stop(); cancel() }
}
