package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func (n *Node) connect(opts []nats.Option) (err error) {
	connected := func(*nats.Conn) {
		signal(n.rejoined)
		signal(n.trouble)
	}
	opts = append(opts,
		nats.Name("headcount "+n.opt.Name),
		nats.NoEcho(),
		nats.Timeout(timeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.IgnoreAuthErrorAbort(), // the servers may get a new password soon
		// Messages that are published while NATS is away would be wrong when it is back.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(2*time.Second),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(timeout),
		nats.ConnectHandler(connected),
		nats.ReconnectHandler(connected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { n.refused.Store(&err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			n.log.Warn("disconnected from NATS", "error", err)
			n.refused.Store(&err)
			n.setConnected(false)
			n.lost()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			n.log.Warn("NATS reported an error", "error", err)
			if errors.Is(err, nats.ErrSlowConsumer) {
				signal(n.rejoined)
				n.lost()
			}
		}),
	)
	if n.nc, err = nats.Connect("", opts...); err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	if n.js, err = jetstream.New(n.nc, jetstream.WithDefaultTimeout(timeout)); err != nil {
		n.nc.Close()
		return fmt.Errorf("use JetStream: %w", err)
	}
	return nil
}

// lost signals that messages may have been lost.
func (n *Node) lost() {
	n.synced.Store(false)
	signal(n.trouble)
}

// away returns errAway with the reason, if it is known. [nats.Conn.LastError] forgets it between two attempts.
func (n *Node) away() error {
	if err := n.refused.Load(); err != nil && *err != nil {
		return fmt.Errorf("%w: %w", errAway, *err)
	}
	return errAway
}
