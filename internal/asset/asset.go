// Package asset serves the files that browsers load. They are gzipped and have an ETag. Each has a URL with a hash of
// its content, which never changes. The client also has a URL without the hash.
//
// A [Set] is made once and may be used from any goroutine.
package asset

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"

	"headcount/assets"
)

// assetType returns the content type for the extension. mime.TypeByExtension would ask the machine, and machines
// differ.
func assetType(name string) (string, error) {
	switch path.Ext(name) {
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8", nil
	case ".ts", ".mts":
		return "text/plain; charset=utf-8", nil
	case ".css":
		return "text/css; charset=utf-8", nil
	case ".svg":
		return "image/svg+xml", nil
	}
	return "", fmt.Errorf("asset %s: unknown extension", name)
}

// file is one asset.
type file struct {
	content, gzipped []byte // gzipped is nil if it would not be smaller
	hash             string
	contentType      string
	forAll           bool // the client; other sites may load it, and it has a URL without the hash
}

// Set holds all assets by name.
type Set struct {
	dev   bool             // read from disk on each request
	named map[string]*file // io.js
	byURL map[string]*file // io.4f2a….js
}

// New reads the assets. With dev they are read from the directory assets on every request.
func New(dev bool) (*Set, error) {
	s := &Set{dev: dev, named: make(map[string]*file), byURL: make(map[string]*file)}
	files, err := fs.ReadDir(assets.FS, ".")
	if err != nil {
		return nil, fmt.Errorf("list assets: %w", err)
	}
	for _, entry := range files {
		a, err := s.read(entry.Name())
		if err != nil {
			return nil, err
		}
		s.named[entry.Name()] = a
		s.byURL[hashedName(entry.Name(), a.hash)] = a
	}
	return s, nil
}

// read reads an embedded asset, or with dev one from the directory assets.
func (s *Set) read(name string) (*file, error) {
	var source fs.FS = assets.FS
	if s.dev {
		source = os.DirFS("assets")
	}
	content, err := fs.ReadFile(source, name)
	if err != nil {
		return nil, fmt.Errorf("read asset: %w", err)
	}
	contentType, err := assetType(name)
	if err != nil {
		return nil, err
	}
	gzipped, err := compress(content)
	if err != nil {
		return nil, fmt.Errorf("compress asset %s: %w", name, err)
	}
	sum := sha256.Sum256(content)
	return &file{
		content:     content,
		gzipped:     gzipped,
		hash:        hex.EncodeToString(sum[:8]),
		contentType: contentType,
		forAll:      Client(name),
	}, nil
}

// URL returns the URL from which a page should load the asset. It is relative to /, so it works under any path.
func (s *Set) URL(name string) (string, error) {
	a := s.named[name]
	if a == nil {
		return "", fmt.Errorf("no asset %q", name)
	}
	if s.dev {
		return "assets/" + name, nil
	}
	return "assets/" + hashedName(name, a.hash), nil
}

// find returns the asset for a URL. forever reports whether the URL has the hash, so that its content never changes.
func (s *Set) find(name string) (a *file, forever bool, err error) {
	if a := s.byURL[name]; a != nil && !s.dev {
		return a, true, nil
	}
	a = s.named[name]
	if a == nil || !s.dev && !a.forAll {
		return nil, false, ErrNotFound
	}
	if s.dev {
		a, err = s.read(name)
	}
	return a, false, err
}

// ErrNotFound means that no asset has that name.
var ErrNotFound = errors.New("no such asset")

// Client reports whether the asset belongs to the client, which other sites may load.
func Client(name string) bool { return strings.HasPrefix(name, "io.") }

// Serve responds with the asset of that name, with or without a hash.
func (s *Set) Serve(w http.ResponseWriter, r *http.Request, name string) error {
	a, forever, err := s.find(name)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Vary", "Accept-Encoding")
	header.Set("X-Content-Type-Options", "nosniff")
	switch {
	case forever:
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	case s.dev:
		header.Set("Cache-Control", "no-store")
	default:
		header.Set("Cache-Control", "no-cache")
	}
	if a.forAll {
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	content, etag := a.content, `"`+a.hash+`"`
	if a.gzipped != nil && acceptsGzip(r.Header) {
		content, etag = a.gzipped, `"`+a.hash+`-gzip"`
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header.Set("Content-Type", a.contentType)
	header.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(content) // the client may have gone
	}
	return nil
}

// hashedName puts the hash before the extension. The extension of types is .d.ts, which browsers and editors need.
func hashedName(name, hash string) string {
	base, ext, _ := strings.Cut(name, ".")
	return base + "." + hash + "." + ext
}

// compress returns nil if gzip does not make the content smaller.
func compress(content []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	if b.Len() >= len(content) {
		return nil, nil
	}
	return b.Bytes(), nil
}

// acceptsGzip reports whether the client accepts gzip: "a qvalue of 0 means not acceptable" (RFC 9110, 12.4.2).
func acceptsGzip(header http.Header) bool {
	for _, coding := range strings.Split(strings.Join(header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			_, q, given := strings.Cut(weight, "=")
			return !given || strings.Trim(q, "0. ") != ""
		}
	}
	return false
}

// matches reports whether an If-None-Match header names the tag: "A recipient MUST use the weak comparison function"
// (RFC 9110, 13.1.2).
func matches(ifNoneMatch, etag string) bool {
	for _, tag := range strings.Split(ifNoneMatch, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == etag || tag == "*" {
			return true
		}
	}
	return false
}
