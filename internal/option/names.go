package option

// Group is a task and the options for it.
type Group struct {
	Title   string
	Options []string
}

// OfServer returns all options of the server in the order of its -h and of README.md.
func OfServer() []Group {
	return []Group{
		{"Serve", []string{"addr", "path", "tls-cert", "tls-key", "http2", "h2c", "origins", "trusted-proxies"}},
		{"Emit and private rooms", []string{"token", "key", "private", "max-event"}},
		{"Count", []string{"heartbeat", "linger", "max-age"}},
		{"History", []string{"history", "history-age"}},
		{"Limits", []string{"max-streams", "max-streams-per-ip", "max-stream-rate"}},
		{"Several nodes", []string{"nats", "nats-prefix"}},
		{"Stop and restart", []string{"drain", "state"}},
		{"Operate", []string{"admin", "log", "log-level", "health", "version"}},
		{"Develop", []string{"dev", "writer"}},
	}
}

// OfClient returns all options of the terminal client.
func OfClient() []string {
	return []string{"room", "event", "once", "plot", "lines", "json", "token", "silence", "version"}
}
