package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Options are the options of a [Node].
type Options struct {
	// Servers is one or more URLs of NATS servers, comma-separated, such as nats://user:password@host:4222. Use tls://
	// for TLS. The query of a URL may name files: creds, nkey, ca, cert, key.
	Servers string
	// Prefix is the first word of every subject, stream and bucket. Headcounts with different prefixes can share a NATS
	// without effect on each other. Default "headcount".
	Prefix string
	// Name is the name of this node for other nodes and in cursors. It is 8 characters of a-z0-9, and unique among the
	// running nodes. Default random.
	Name       string
	History    int           // events kept per room; default 1000
	HistoryAge time.Duration // how long an event is kept; default 10 min
	Log        *slog.Logger  // default: none
}

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// OptionError says which option has a value that cannot be used, and why.
type OptionError struct {
	Option string // name of the field of [Options]
	Err    error
}

func (e *OptionError) Error() string { return "Options." + e.Option + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *OptionError) Unwrap() error { return e.Err }

// Check returns an [OptionError] if an option cannot be used. The error never contains a URL, because a URL may contain
// a password.
func (o *Options) Check() error {
	if o.Prefix != "" && !prefixForm.MatchString(o.Prefix) {
		return &OptionError{"Prefix", fmt.Errorf("%q is not a valid name; give 1 to 32 of A-Za-z0-9_-", o.Prefix)}
	}
	if _, err := o.connection(); err != nil {
		return &OptionError{"Servers", err}
	}
	return nil
}

// connection returns Servers as options of nats.go. It gives nats.go no URL that nats.go has to parse in another way,
// because only then an error of nats.go could contain a password.
func (o *Options) connection() (opts []nats.Option, err error) {
	var urls []string
	var cert, key string
	for i, text := range strings.Split(o.Servers, ",") {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("address %d is not a URL; give nats://host:4222, or nats://user:password@host:4222 with special characters as %%XX", i+1)
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return nil, fmt.Errorf("address %d begins with %s; give nats, tls, ws or wss", i+1, u.Scheme)
		}
		for name, values := range u.Query() {
			switch file := values[0]; name {
			case "creds":
				opts = append(opts, nats.UserCredentials(file))
			case "nkey":
				opt, err := nats.NkeyOptionFromSeed(file)
				if err != nil {
					return nil, fmt.Errorf("nkey: %w", err)
				}
				opts = append(opts, opt)
			case "ca":
				opts = append(opts, nats.RootCAs(file))
			case "cert":
				cert = file
			case "key":
				key = file
			default:
				// It may be a part of a password that contains a question mark.
				return nil, fmt.Errorf("address %d has an unknown name behind the question mark; use creds, nkey, ca, cert and key, and write special characters of a password as %%XX", i+1)
			}
		}
		u.RawQuery = ""
		urls = append(urls, u.String())
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("cert and key go together; give both or neither")
	}
	if cert != "" {
		opts = append(opts, nats.ClientCert(cert, key))
	}
	// nats.Connect splits its argument at commas, also at those in a password.
	return append(opts, func(o *nats.Options) error { o.Servers = urls; return nil }), nil
}
