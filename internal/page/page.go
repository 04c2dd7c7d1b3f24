// Package page serves the page of a room, and parts that the operator's page shares. These are the layout, the trend of
// the user count over the last ten minutes, and its chart.
//
// [New] reads the templates. A [Pages] may be used from any goroutine. Call [Pages.Counted] whenever the count of a
// room may have changed.
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
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"headcount/internal/asset"
	"headcount/internal/auth"
	"headcount/internal/httpapi"
	"headcount/templates"
)

// pagePolicy is the page's Content-Security-Policy. It allows what this server serves, nothing inline, and no frames
// around the page.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Options are the options of [Pages].
type Options struct {
	Dev     bool                  // templates and assets from disk, on every request
	Node    func() string         // returns the name of this node, "" if there are no others; nil = always ""
	Version string                // version of this server, "" if unknown
	Count   func(room string) int // returns how many users a room has now
	Now     func() time.Time      // default time.Now
}

// Pages serves the page and the assets. It keeps the trend for the page.
type Pages struct {
	dev     bool
	node    func() string
	version string
	users   func(room string) int
	now     func() time.Time
	assets  *asset.Set
	trend   *Trend
	layout  *template.Template

	documents sync.Map // docView values by name
}

// New fails if an asset or template is missing or malformed. With Dev it also fails if the directories assets and
// templates are not in the working directory.
func New(cfg Options) (*Pages, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Node == nil {
		cfg.Node = func() string { return "" }
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

// Counted adds the count of a room to the trend.
func (p *Pages) Counted(room string, users int) { p.trend.Counted(room, users, p.now()) }

// Points returns the trend of a room. It returns nil for a room without users that is not the default one.
func (p *Pages) Points(room string) []Point { return p.trend.Points(room, p.now()) }

// homeView is the data for templates/home.html.
type homeView struct {
	Room     string
	Other    bool // the room is not the default one
	Users    int
	Digits   int    // digits of Users, which set the size of the number
	Argument string // argument of io() for the room, in JavaScript
	Origin   string // of this server
	Stream   string // URL of the stream
	Emit     string // a command line that emits an event to the room
	Points   []Point
	Into     int64  // milliseconds since the last point began
	Node     string // name of the node that serves the page, "" if there is only one
	Version  string
	Chart    Chart
}

// Home serves GET /, the page of a room.
func (p *Pages) Home(w http.ResponseWriter, r *http.Request) error {
	room, err := httpapi.Room(r)
	if err != nil {
		return err
	}
	// no-store would disable the back/forward cache in some browsers. The Back button should restore the page.
	w.Header().Set("Cache-Control", "private, no-cache")
	return p.Render(w, r, http.StatusOK, "home.html", p.view(room, auth.PublicOrigin(r)))
}

// errorView is the data for templates/error.html.
type errorView struct {
	Root     string // the URL of the default room's page, relative to the failed page
	Status   int
	Title    string
	Sentence string // what to do
}

// Error responds with a page that describes an error.
func (p *Pages) Error(w http.ResponseWriter, r *http.Request, status int, sentence string) error {
	// The URL is relative, because a proxy may serve this server under a path.
	root := strings.Repeat("../", max(strings.Count(r.URL.Path, "/")-1, 0))
	if root == "" {
		root = "./"
	}
	first, size := utf8.DecodeRuneInString(sentence)
	return p.Render(w, r, status, "error.html", errorView{root, status, http.StatusText(status), string(unicode.ToUpper(first)) + sentence[size:] + "."})
}

// Asset serves GET /assets/*. name is the rest of the path.
func (p *Pages) Asset(w http.ResponseWriter, r *http.Request, name string) error {
	err := p.assets.Serve(w, r, name)
	if errors.Is(err, asset.ErrNotFound) {
		return httpapi.NotFound("There is no such file. The client is /assets/io.js or /assets/io.mjs.")
	}
	return err
}

// Client serves GET /socket.io/socket.io.js, the URL that Socket.IO tutorials use.
func (p *Pages) Client(w http.ResponseWriter, r *http.Request) error { return p.Asset(w, r, "io.js") }

// Icon returns the URL of the icon.
func (p *Pages) Icon() (string, error) { return p.assets.URL("icon.svg") }

// Render responds with a status and the page of a template.
func (p *Pages) Render(w http.ResponseWriter, r *http.Request, status int, name string, view any) error {
	layout := p.layout
	if p.dev {
		var err error
		if layout, err = p.parse(); err != nil {
			return err
		}
	}
	// Render the whole page first, so that a mistake in the template gives a clean 500.
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
		_, _ = w.Write(page.Bytes()) // the client may have gone
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
		Points:  p.Points(room),
		Into:    now.UnixMilli() % TrendStep.Milliseconds(),
		Node:    p.node(),
		Version: p.version,
	}
	v.Digits = len(fmt.Sprint(v.Users))
	v.Chart = NewChart(v.Points)
	if room != httpapi.DefaultRoom {
		v.Other = true
		v.Argument = "{ room: '" + inJavaScript.Replace(room) + "' }"
		v.Stream += "?room=" + url.QueryEscape(room)
		v.Emit += " --data-urlencode 'room=" + strings.ReplaceAll(room, "'", `'\''`) + "'"
	}
	v.Emit += " -d event=news -d data=hi"
	return v
}

// inJavaScript escapes a room for a string of JavaScript that a user pastes into a page. Rooms have no control
// characters.
var inJavaScript = strings.NewReplacer(`\`, `\\`, `'`, `\'`, `</`, `<\/`)
