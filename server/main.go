// Command server counts who is connected and tells all of them, over plain HTTP.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"headcount/internal/web"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal drains; a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(status(os.Stderr, run(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}

// status turns the error of run into words and an exit status.
func status(stderr io.Writer, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "headcount: %v\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "headcount: %v\n", err)
		return 1
	}
}

// run is the whole program, in the order in which things start. It returns when ctx
// is done and every stream has been handed over.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parseConfig(args, stdout)
	if err != nil || cfg == nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))

	app, err := web.New(web.Options{
		Heartbeat:  cfg.heartbeat,
		Linger:     cfg.linger,
		Drain:      cfg.drain,
		Origins:    cfg.origins,
		Token:      cfg.token,
		MaxEvent:   int64(cfg.maxEvent),
		History:    cfg.history,
		HistoryAge: cfg.historyAge,
		MaxStreams: cfg.maxStreams.resolve(log),
		Portable:   cfg.writer == "stream",
		Dev:        cfg.dev,
		Log:        log,
	})
	if err != nil {
		return err
	}
	defer app.Close()

	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // its sockets refuse the options that streams need
	listener, err := lc.Listen(ctx, "tcp", cfg.addr)
	if err != nil {
		return listenError(cfg.addr, err)
	}
	public := &http.Server{
		Handler:           app,
		ConnContext:       app.ConnContext,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// WriteTimeout stays 0: it would end every stream. Each write of a stream
		// has a deadline of its own.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}

	// The users expire until the very end, also while streams are handed over.
	expiry, stopExpiry := context.WithCancel(context.Background())
	expired := make(chan struct{})
	go func() { defer close(expired); app.Run(expiry) }()
	defer func() { stopExpiry(); <-expired }()

	served := make(chan error, 1)
	go func() { served <- public.Serve(listener) }()
	log.Info("listening", "addr", listener.Addr().String(), "url", pageURL(listener.Addr()))

	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", cfg.addr, err)
	case <-ctx.Done():
	}
	log.Info("stopping", "streams", app.Streams(), "drain", cfg.drain)
	last, cancel := context.WithTimeout(context.Background(), cfg.drain)
	defer cancel()
	// Streams first: Shutdown waits for them, and knows nothing of hijacked ones.
	if err := app.Drain(last); err != nil {
		log.Warn("not every stream ended cleanly", "streams", app.Streams())
	}
	if err := public.Shutdown(last); err != nil {
		_ = public.Close() // what did not end in time is cut
	}
	<-served
	log.Info("stopped")
	return nil
}

// pageURL is where a person on this machine finds the page.
func pageURL(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() || tcp.IP.IsLoopback() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}

func listenError(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("address %s is in use; stop the program that has it, or choose another with -addr", addr)
	}
	return fmt.Errorf("listen: %w", err)
}
