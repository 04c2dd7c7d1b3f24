package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func prepareNchan(_ context.Context, dir string) ([]string, error) { return nchan(dir, "nchan", "") }

func prepareNchanTLS(_ context.Context, dir string) ([]string, error) {
	return nchan(dir, "nchan-tls", "ssl_protocols TLSv1.3; ssl_certificate "+certFile(dir)+"; ssl_certificate_key "+keyFile(dir)+";")
}

// nchan writes a configuration, with TLS if ssl says how.
func nchan(dir, name, ssl string) ([]string, error) {
	const install = "apt-get install nginx libnginx-mod-nchan"
	for _, what := range []string{"/usr/sbin/nginx", "/usr/lib/nginx/modules/ngx_nchan_module.so"} {
		if err := need(what, install); err != nil {
			return nil, err
		}
	}
	dir = filepath.Join(dir, name)
	// nginx gives up root for its workers, which must reach their files all the same.
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	template, err := os.ReadFile("peers/nchan/nginx.conf")
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	text := strings.NewReplacer("DIR", dir, "SSL;", ssl).Replace(string(template))
	if ssl != "" {
		text = strings.Replace(text, "LISTEN backlog", "LISTEN ssl backlog", 1)
	}
	if err := os.WriteFile(filepath.Join(dir, "template.conf"), []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	// The port is known only when the server starts, and nginx takes it from a file alone.
	script := `sed "s/LISTEN/$1/" "$0/template.conf" > "$0/nginx.conf" && exec /usr/sbin/nginx -p "$0" -c "$0/nginx.conf"`
	return []string{"sh", "-c", script, dir, "PORT"}, nil
}
