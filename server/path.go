package main

import (
	"fmt"
	"net/http"
	"strings"
)

// under serves app below a path, "" = at the root. Addresses in pages are relative, so the path without a slash
// redirects to the path with a slash.
func under(path string, app http.Handler) http.Handler {
	if path == "" {
		return app
	}
	below := http.StripPrefix(path, app)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, path+"/"):
			below.ServeHTTP(w, r)
		case r.URL.Path == path:
			page := *r.URL
			page.Path += "/"
			http.Redirect(w, r, page.RequestURI(), http.StatusPermanentRedirect)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			// The client has gone if this fails.
			_, _ = fmt.Fprintf(w, "{\"error\":\"there is nothing here; everything is under %s/\"}\n", path)
		}
	})
}

// parsePath returns -path as a prefix, with a slash in front and none at the end.
func parsePath(path string) (string, error) {
	path = strings.TrimRight(path, "/")
	if path == "" {
		return "", nil
	}
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.ContainsAny(path, `?#%\"`) || !ascii(path) {
		return "", fmt.Errorf("-path %q is not a path; use one such as /live", path)
	}
	return path, nil
}
