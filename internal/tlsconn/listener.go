package tlsconn

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
)

// NewListener is tls.NewListener for connections that [Watch] may take over. Serve it with http.Server.Serve. Nothing
// else of config changes. Its own GetConfigForClient and KeyLogWriter still work.
func NewListener(l net.Listener, config *tls.Config) net.Listener {
	outer := config.Clone()
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return configFor(config, hello) }
	return &listener{l, outer}
}

type listener struct {
	net.Listener
	config *tls.Config
}

// Accept returns a *tls.Conn over a [Conn].
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&Conn{Conn: c}, l.config), nil
}

// configFor returns the config of one connection. It collects the secret of the connection if a takeover is possible.
func configFor(config *tls.Config, hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if config.GetConfigForClient != nil {
		own, err := config.GetConfigForClient(hello)
		if err != nil {
			return nil, err
		}
		if own != nil {
			config = own
		}
	}
	conn, ok := hello.Conn.(*Conn)
	if !ok || !slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		return config, nil
	}
	if slices.Contains(hello.SupportedProtos, "h2") && slices.Contains(config.NextProtos, "h2") {
		return config, nil // it will be HTTP/2
	}
	config = config.Clone()
	var log io.Writer = keyLog{conn}
	if config.KeyLogWriter != nil {
		log = io.MultiWriter(config.KeyLogWriter, log)
	}
	config.KeyLogWriter = log
	return config, nil
}
