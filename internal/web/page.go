package web

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

	"github.com/labstack/echo/v4"

	"headcount/templates"
)

// pagePolicy is the page's Content-Security-Policy: what this server serves, nothing inline, no frames around it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

type pageConfig struct {
	Dev     bool                  // templates and assets from disk, on every request
	Node    string                // name of this node, "" if it is alone
	Version string                // of this server, "" if it is not known
	Count   func(room string) int // how many users a room has now
	Now     func() time.Time
}

// pages serves what people look at: the page and the assets. It keeps the trend that the page shows.
type pages struct {
	dev     bool
	node    string
	version string
	users   func(room string) int
	now     func() time.Time
	assets  *assetSet
	trend   *trend
	layout  *template.Template
}

// newPages fails if an asset or template is missing or malformed; with Dev, also if this is not run where the directories
// assets and templates are.
func newPages(cfg pageConfig) (*pages, error) {
	if cfg.Dev {
		for _, dir := range []string{"assets", "templates"} {
			if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("no directory %s here; run -dev in the root of the repository", dir)
			}
		}
	}
	set, err := newAssetSet(cfg.Dev)
	if err != nil {
		return nil, err
	}
	p := &pages{
		dev:     cfg.Dev,
		node:    cfg.Node,
		version: cfg.Version,
		users:   cfg.Count,
		now:     cfg.Now,
		assets:  set,
		trend:   newTrend(defaultRoom, cfg.Now()),
	}
	if p.layout, err = p.parse(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pages) parse() (*template.Template, error) {
	var source fs.FS = templates.FS
	if p.dev {
		source = os.DirFS("templates")
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"asset": p.assets.url, "commas": commas, "bytes": bytesInWords, "span": spanInWords,
	}).ParseFS(source, "*.html")
	if err != nil {
		return nil, fmt.Errorf("parse template: %w", err)
	}
	return t, nil
}

// counted notes the count of a room for the trend.
func (p *pages) counted(room string, users int) { p.trend.counted(room, users, p.now()) }

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
	Points   []point
	Into     int64  // ms since the last point began
	Node     string // that this is from, "" if there is only one
	Version  string
	Chart    chart
}

// home serves GET /.
func (p *pages) home(c echo.Context) error {
	query, err := parseQuery(c.Request())
	if err != nil {
		return err
	}
	room, err := roomOf(query)
	if err != nil {
		return err
	}
	// Not no-store, which in some browsers forbids the back/forward cache: the Back button is to find the page as it was.
	c.Response().Header().Set("Cache-Control", "private, no-cache")
	return p.render(c, "home.html", p.view(room, c.Scheme()+"://"+c.Request().Host))
}

// render answers with a page.
func (p *pages) render(c echo.Context, name string, view any) error {
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
	header := c.Response().Header()
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	return c.HTMLBlob(http.StatusOK, page.Bytes())
}

func (p *pages) view(room, origin string) homeView {
	now := p.now()
	v := homeView{
		Room:    room,
		Users:   p.users(room),
		Origin:  origin,
		Stream:  origin + "/events",
		Emit:    "curl '" + origin + "/emit' -H 'Authorization: Bearer TOKEN'",
		Points:  p.trend.points(room, now),
		Into:    now.UnixMilli() % trendStep.Milliseconds(),
		Node:    p.node,
		Version: p.version,
	}
	v.Digits = len(fmt.Sprint(v.Users))
	v.Chart = newChart(v.Points)
	if room != defaultRoom {
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
