package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// defaultURL is the server to use if the command names none.
const defaultURL = "http://localhost:8080"

// parseURL parses the address of a server. The scheme and the path of the stream may be missing.
func parseURL(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		if !strings.ContainsAny(s, ".:/") && s != "localhost" {
			return nil, usageError{fmt.Errorf("%q is neither a command nor a URL such as %s", s, defaultURL)}
		}
		s = "http://" + s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		why := errors.Unwrap(err).Error() // url.Error also contains the URL
		if strings.HasPrefix(why, "invalid port") {
			return nil, usageError{fmt.Errorf("URL %q has a port that is not a number; ports are 1 to 65535", s)}
		}
		return nil, usageError{fmt.Errorf("URL %q is not valid (%s); give one such as %s", s, why, defaultURL)}
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, usageError{fmt.Errorf("URL %q begins with %s; give one that begins with http or https", s, u.Scheme)}
	case u.Hostname() == "":
		return nil, usageError{fmt.Errorf("URL %q names no host", s)}
	case !isPort(u.Port()):
		return nil, usageError{fmt.Errorf("URL %q has port %s; ports are 1 to 65535", s, u.Port())}
	case u.RawQuery != "" || u.Fragment != "":
		return nil, usageError{fmt.Errorf("URL %q has a query or fragment; give the address of the server only, and the room with -room", s)}
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/events")
	return u, nil
}

// isPort reports whether s is empty or a port on which a server can listen.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// looksLikeURL reports whether s has a scheme or a port, or is localhost.
func looksLikeURL(s string) bool {
	port, _, _ := strings.Cut(s[strings.LastIndexByte(s, ':')+1:], "/")
	hasPort := strings.Contains(s, ":") && port != "" && strings.Trim(port, "0123456789") == ""
	return strings.Contains(s, "://") || hasPort || s == "localhost"
}
