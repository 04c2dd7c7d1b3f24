package admin

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"time"

	"headcount/internal/engine"
	"headcount/internal/page"
	"headcount/internal/wire"
)

// shownRooms is how many rooms the operator's page lists.
const shownRooms = 8

// statsView is the data for templates/stats.html. The page's script updates the page in the same way, see show in
// assets/stats.js.
type statsView struct {
	stats
	Shown     int // the large number: the users of the room, or of all rooms
	Time      time.Time
	Digits    int // digits of Shown, which set the size of the number
	Places    string
	Chart     page.Chart
	Points    []page.Point
	Into      int64
	Transport listing
	ByRoom    listing
	Ended     listing
	Refused   listing
	More      int // number of rooms that are not listed
}

// listing is a table of numbers.
type listing struct {
	By   string // id of its heading
	Rows []row
	None string // text for a table without rows
}

// row is a number with a name, and its share of the largest number or of the sum, in percent.
type row struct {
	Name  string
	Label string // shown instead of the name, "" = the name
	Link  string // "" = none
	Count int
	Share int
}

func viewOf(st stats) statsView {
	v := statsView{
		stats: st, Time: st.Started.Add(time.Duration(st.Uptime * float64(time.Second))), Into: st.Trend.Into,
		Shown: st.Users, Places: fmt.Sprintf("in %d rooms", st.Rooms),
		Transport: listing{By: "byTransport"},
		ByRoom:    listing{By: "byRoom", None: "Nobody is here."},
		Ended:     listing{By: "ended", Rows: byCount(st.Ended)},
		Refused:   listing{By: "refused", Rows: byCount(st.Refused), None: "None since the start."},
	}
	if st.Rooms == 1 {
		v.Places = "in 1 room"
	}
	open, streams := st.Transport, st.Streams
	if st.Room != nil {
		v.Shown, open, streams = st.Room.Users, st.Room.Transport, st.Room.Streams
	}
	v.Digits = len(fmt.Sprint(v.Shown))
	for _, p := range st.Trend.Points {
		v.Points = append(v.Points, page.Point{Peak: p[0], Last: p[1]})
	}
	v.Chart = page.NewChart(v.Points)
	for _, t := range engine.Transports() {
		v.Transport.Rows = append(v.Transport.Rows, row{Name: string(t), Label: transportLabel(t, st.Writer), Count: open[t], Share: percent(open[t], streams)})
	}
	for _, r := range st.ByRoom[:min(shownRooms, len(st.ByRoom))] {
		v.ByRoom.Rows = append(v.ByRoom.Rows, row{
			Name: r.Name, Link: "stats?room=" + url.QueryEscape(r.Name), Count: r.Users, Share: percent(r.Users, st.ByRoom[0].Users),
		})
	}
	v.More = st.Rooms - len(v.ByRoom.Rows)
	for i, r := range v.Ended.Rows {
		v.Ended.Rows[i].Label = endLabel(engine.Reason(r.Name))
	}
	return v
}

// The labels are in the page that the server sends. Its script only changes the numbers.

func transportLabel(t engine.Transport, w engine.Writer) string {
	switch t {
	case engine.ByEpoll:
		return "streams"
	case engine.ByEpollTLS:
		return "streams over TLS"
	case engine.ByStream:
		if w == engine.Portable {
			return "streams of any kind"
		}
		return "streams over HTTP/2"
	case engine.ByPoll:
		return "polls"
	}
	return string(t)
}

func endLabel(r engine.Reason) string {
	switch r {
	case wire.Gone:
		return "the client left"
	case wire.Stalled:
		return "the client stalled"
	case wire.Ended:
		return "ended by this server"
	case engine.Answered:
		return "polls answered"
	}
	return string(r)
}

// byCount returns the rows of counters, the largest first.
func byCount(counters map[string]int) []row {
	var rows []row
	total := 0
	for name, n := range counters {
		rows = append(rows, row{Name: name, Count: n})
		total += n
	}
	for i := range rows {
		rows[i].Share = percent(rows[i].Count, total)
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	return rows
}

func percent(part, whole int) int {
	if whole == 0 {
		return 0
	}
	return 100 * part / whole
}
