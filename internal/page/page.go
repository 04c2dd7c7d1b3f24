// Package page is what people look at: the page of a room, and what the operator's page is made
// of too: the layout, the course of the user count over the last ten minutes, and its drawing.
//
// [New] reads the templates. A [Pages] may be used by any goroutine; [Pages.Counted] is to be
// called whenever the count of a room may have changed.
package page

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"headcount/internal/asset"
	"headcount/internal/auth"
	"headcount/internal/httpapi"
	"headcount/templates"
)

// pagePolicy is the page's Content-Security-Policy: what this server serves, nothing inline, no frames around it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Options of [Pages].
type Options struct {
	Dev     bool                  // templates and assets from disk, on every request
	Node    string                // name of this node, "" if it is alone
	Version string                // of this server, "" if it is not known
	Count   func(room string) int // how many users a room has now
	Now     func() time.Time      // default time.Now
}

// Pages serves the page and the assets. It keeps the trend that the page shows.
type Pages struct {
	dev     bool
	node    string
	version string
	users   func(room string) int
	now     func() time.Time
	assets  *asset.Set
	trend   *Trend
	layout  *template.Template
}

// New fails if an asset or template is missing or malformed; with Dev, also if this is not run where the directories
// assets and templates are.
func New(cfg Options) (*Pages, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dev {
		for _, dir := range []string{"assets", "templates"} {
			if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("no directory %s here; run -dev in the root of the repository", dir)
			}
		}
	}
	set, err := asset.New(cfg.Dev)
	if err != nil {
		return nil, err
	}
	p := &Pages{
		dev:     cfg.Dev,
		node:    cfg.Node,
		version: cfg.Version,
		users:   cfg.Count,
		now:     cfg.Now,
		assets:  set,
		trend:   NewTrend(httpapi.DefaultRoom, cfg.Now()),
	}
	if p.layout, err = p.parse(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Pages) parse() (*template.Template, error) {
	var source fs.FS = templates.FS
	if p.dev {
		source = os.DirFS("templates")
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"asset": p.assets.URL, "commas": formatCount, "bytes": formatBytes, "span": formatSpan, "rate": formatRate,
	}).ParseFS(source, "*.html")
	if err != nil {
		return nil, fmt.Errorf("parse template: %w", err)
	}
	return t, nil
}

// Counted notes the count of a room for the trend.
func (p *Pages) Counted(room string, users int) { p.trend.Counted(room, users, p.now()) }

// homeView is what templates/home.html shows.
type homeView struct {
	Room     string
	Other    bool // the room is not the default one
	Users    int
	Digits   int    // of Users, which sets how large they are
	Argument string // what io() takes for the room, in JavaScript
	Origin   string // of this server
	Stream   string // URL of the stream
	Emit     string // a command line that emits to the room
	Points   []Point
	Into     int64  // ms since the last point began
	Node     string // that this is from, "" if there is only one
	Version  string
	Chart    Chart
}

// Home serves GET /, the page of a room.
func (p *Pages) Home(w http.ResponseWriter, r *http.Request) error {
	room, err := httpapi.Room(r)
	if err != nil {
		return err
	}
	// Not no-store, which in some browsers forbids the back/forward cache: the Back button is to find the page as it was.
	w.Header().Set("Cache-Control", "private, no-cache")
	return p.Render(w, r, http.StatusOK, "home.html", p.view(room, auth.PublicOrigin(r)))
}

// errorView is what templates/error.html shows.
type errorView struct {
	Root     string // the address of the page of the default room, as seen from the page that failed
	Status   int
	Title    string
	Sentence string // what to do
}

// Error answers with a page that says what went wrong.
func (p *Pages) Error(w http.ResponseWriter, r *http.Request, status int, sentence string) error {
	// Relative, because a proxy may have put this server under a path.
	root := strings.Repeat("../", max(strings.Count(r.URL.Path, "/")-1, 0))
	if root == "" {
		root = "./"
	}
	first, size := utf8.DecodeRuneInString(sentence)
	return p.Render(w, r, status, "error.html", errorView{root, status, http.StatusText(status), string(unicode.ToUpper(first)) + sentence[size:] + "."})
}

// Asset serves GET /assets/*, of which name is the rest.
func (p *Pages) Asset(w http.ResponseWriter, r *http.Request, name string) error {
	err := p.assets.Serve(w, r, name)
	if errors.Is(err, asset.ErrNotFound) {
		return httpapi.NotFound("There is no such file. The client is /assets/io.js or /assets/io.mjs.")
	}
	return err
}

// Client serves GET /socket.io/socket.io.js, where lessons load it from.
func (p *Pages) Client(w http.ResponseWriter, r *http.Request) error { return p.Asset(w, r, "io.js") }

// Icon returns the address of the icon.
func (p *Pages) Icon() (string, error) { return p.assets.URL("icon.svg") }

// Render answers with a status and the page of a template.
func (p *Pages) Render(w http.ResponseWriter, r *http.Request, status int, name string, view any) error {
	layout := p.layout
	if p.dev {
		var err error
		if layout, err = p.parse(); err != nil {
			return err
		}
	}
	// Rendered before anything is sent, so that a mistake in the template is a clean 500.
	var page bytes.Buffer
	if err := layout.ExecuteTemplate(&page, name, view); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	header := w.Header()
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(page.Bytes()) // the reader may have gone
	}
	return nil
}

func (p *Pages) view(room, origin string) homeView {
	now := p.now()
	v := homeView{
		Room:    room,
		Users:   p.users(room),
		Origin:  origin,
		Stream:  origin + "/events",
		Emit:    "curl '" + origin + "/emit' -H 'Authorization: Bearer TOKEN'",
		Points:  p.trend.Points(room, now),
		Into:    now.UnixMilli() % TrendStep.Milliseconds(),
		Node:    p.node,
		Version: p.version,
	}
	v.Digits = len(fmt.Sprint(v.Users))
	v.Chart = NewChart(v.Points)
	if room != httpapi.DefaultRoom {
		v.Other = true
		v.Argument = "{ room: '" + inJavaScript.Replace(room) + "' }"
		v.Stream += "?room=" + url.QueryEscape(room)
		v.Emit += " -d 'room=" + url.QueryEscape(room) + "'"
	}
	v.Emit += " -d event=news -d data=hi"
	return v
}

// inJavaScript makes a room readable in a string of JavaScript that somebody pastes into a page. Rooms have no control characters.
var inJavaScript = strings.NewReplacer(`\`, `\\`, `'`, `\'`, `</`, `<\/`)
