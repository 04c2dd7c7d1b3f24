package web

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// badgeSVG is the count as a picture: width of all, the number for screen readers,
// width of the number's part, where its middle is, the number.
const badgeSVG = `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="20" role="img" aria-label="online: %[2]s">` +
	`<title>online: %[2]s</title>` +
	`<clipPath id="r"><rect width="%[1]d" height="20" rx="3"/></clipPath>` +
	`<g clip-path="url(#r)"><rect width="46" height="20" fill="#444"/><rect x="46" width="%[3]d" height="20" fill="#0a7a4b"/></g>` +
	`<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">` +
	`<text x="23" y="14">online</text><text x="%[4]d" y="14">%[2]s</text></g></svg>` + "\n"

// favicon serves GET /favicon.ico, which browsers ask for on pages that name no icon.
func (s *Server) favicon(c echo.Context) error {
	icon, err := s.pages.assets.url("icon.svg")
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusFound, icon)
}

// badge serves GET /badge.svg: the count of a room as a picture, for any page.
func (s *Server) badge(c echo.Context) error {
	q, err := parseQuery(c.Request())
	if err != nil {
		return err
	}
	room, err := roomOf(q)
	if err != nil {
		return err
	}
	if _, err := s.admit(c, room); err != nil {
		return err
	}
	users := strconv.Itoa(s.everywhere(c.Request().Context(), room))
	width := 12 + 7*len(users)
	h := c.Response().Header()
	// Picture proxies (GitHub's) keep what they may keep; a count is old at once.
	h.Set("Cache-Control", "no-cache, no-store, max-age=0")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'")
	return c.Blob(http.StatusOK, "image/svg+xml", fmt.Appendf(nil, badgeSVG, 46+width, users, width, 46+width/2))
}
