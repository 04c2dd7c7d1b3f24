// Command goproxy is a reverse proxy as Go's documentation has it.
// Usage: goproxy LISTEN ORIGIN
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	origin := &url.URL{Scheme: "http", Host: os.Args[2]}
	log.Fatal(http.ListenAndServe(os.Args[1], httputil.NewSingleHostReverseProxy(origin)))
}
