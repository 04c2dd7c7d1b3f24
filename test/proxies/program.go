package proxies

// program is one process of a proxy.
type program struct {
	command string            // on the PATH; "" is goproxy, which is built
	files   map[string]string // name in the proxy's directory → file of testdata
	args    []string
	env     []string
	ready   string // where it must answer before the next one starts: a socket or an address; "" = anywhere
}

func nginx(site string) []program {
	return []program{{
		command: "nginx",
		files:   map[string]string{"base.conf": "nginx-base.conf", "site.conf": site},
		args:    []string{"-p", "/run/proxy", "-e", "/run/proxy/error.log", "-c", "/run/proxy/base.conf"},
	}}
}

func haproxy(site string) []program {
	return []program{{
		command: "haproxy",
		files:   map[string]string{"base.conf": "haproxy-base.conf", "site.conf": site},
		args:    []string{"-db", "-f", "/run/proxy/base.conf", "-f", "/run/proxy/site.conf"},
	}}
}

func apache(site string) []program {
	return []program{{
		command: "apache2",
		files:   map[string]string{"base.conf": "apache-base.conf", "site.conf": site},
		args:    []string{"-d", "/run/proxy", "-f", "/run/proxy/base.conf", "-D", "FOREGROUND"},
	}}
}

func varnish(site string) []program {
	return []program{{
		command: "varnishd",
		files:   map[string]string{"site.conf": site},
		args:    []string{"-F", "-j", "none", "-n", "/run/proxy/state", "-a", "127.0.0.1:8000", "-f", "/run/proxy/site.conf", "-s", "malloc,16m"},
	}}
}

func lighttpd(site string) []program {
	return []program{{
		command: "lighttpd",
		files:   map[string]string{"base.conf": "lighttpd-base.conf", "site.conf": site},
		args:    []string{"-D", "-f", "/run/proxy/base.conf"},
	}}
}

func caddy(site string) []program {
	return []program{{
		command: "caddy",
		files:   map[string]string{"base.conf": "caddy-base.conf", "site.conf": site},
		args:    []string{"run", "--adapter", "caddyfile", "--config", "/run/proxy/base.conf"},
		env:     []string{"HOME=/run/proxy", "XDG_CONFIG_HOME=/run/proxy", "XDG_DATA_HOME=/run/proxy"},
	}}
}

func trafficServer(site string) []program {
	return []program{{
		command: "traffic_server",
		files: map[string]string{
			"runroot.yaml": "trafficserver-runroot.yaml", "etc/records.config": "trafficserver-records.config",
			"etc/storage.config": "trafficserver-storage.config", "etc/ip_allow.yaml": "trafficserver-ip_allow.yaml",
			"etc/remap.config": site,
		},
		args: []string{"--run-root=/run/proxy"},
	}}
}

func nodeProxy(site string) []program {
	return []program{{
		command: "node",
		files:   map[string]string{"site.js": site},
		args:    []string{"/run/proxy/site.js"},
		env:     []string{"NODE_PATH=" + here("node_modules")},
	}}
}

func goProxy(string) []program {
	return []program{{args: []string{"127.0.0.1:8000", "127.0.0.1:8080"}}}
}

func squid(site string) []program {
	return []program{{
		command: "squid",
		files:   map[string]string{"base.conf": "squid-base.conf", "site.conf": site},
		// Each has a name of its own, by which its shared memory is called.
		args: []string{"-N", "-n", "headcount8000", "-f", "/run/proxy/base.conf"},
	}}
}

// squidAntivirus asks c-icap about each response, and that asks ClamAV.
func squidAntivirus(site string) []program {
	return append([]program{
		{
			command: "clamd",
			files:   map[string]string{"clamd.conf": "clamd.conf", "signatures/eicar.hdb": "eicar.hdb"},
			args:    []string{"-c", "/run/proxy/clamd.conf"},
			ready:   "/run/proxy/clamd.ctl",
		},
		{
			command: "c-icap",
			files:   map[string]string{"c-icap.conf": "c-icap.conf"},
			args:    []string{"-N", "-f", "/run/proxy/c-icap.conf"},
			ready:   "127.0.0.1:8001",
		},
	}, squid(site)...)
}

func privoxy(site string) []program {
	return []program{{
		command: "privoxy",
		files:   map[string]string{"site.conf": site},
		args:    []string{"--no-daemon", "/run/proxy/site.conf"},
	}}
}

func mitmproxy(string) []program {
	return []program{{
		command: "mitmdump",
		args:    []string{"--set", "confdir=/run/proxy", "--listen-host", "127.0.0.1", "-p", "8000"},
	}}
}
