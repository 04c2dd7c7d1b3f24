package main

import (
	"bytes"
	"fmt"
	"html"
)

const (
	pictureWidth = 860
	labelWidth   = 210
	valueWidth   = 190
	barHeight    = 20
	panelGap     = 34
)

// picture draws the figures of a scenario that are compared with headcount's: one panel for each figure and number of
// streams, one bar for each server, a line from the smallest to the largest run. It follows the reader's dark mode.
func picture(sc scenario, rows []row) []byte {
	var body bytes.Buffer
	y := 40
	for _, c := range sc.columns {
		if !c.ratio {
			continue
		}
		for _, panel := range bySize(rows) {
			y = drawPanel(&body, c, panel, y)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">
<style>
text { font: 13px system-ui, sans-serif; fill: #222 } .title { font-size: 16px; font-weight: 600 } .panel { font-weight: 600 }
.bar { fill: #9aa7b4 } .own { fill: #1a73c9 } .range { stroke: #222; stroke-width: 1.5 } .page { fill: #fff }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .bar { fill: #5f6b77 } .own { fill: #5aa9f0 } .range { stroke: #ddd } .page { fill: #15181b } }
</style>
<rect class="page" width="%d" height="%d"/>
<text class="title" x="12" y="26">%s</text>
`, pictureWidth, y, pictureWidth, y, html.EscapeString(sc.title), pictureWidth, y, html.EscapeString(sc.title))
	b.Write(body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// bySize splits rows, which are ordered by streams, into those of one number each.
func bySize(rows []row) [][]row {
	var panels [][]row
	for i, one := range rows {
		if i == 0 || one.streams != rows[i-1].streams {
			panels = append(panels, nil)
		}
		panels[len(panels)-1] = append(panels[len(panels)-1], one)
	}
	return panels
}

// drawPanel returns where the next one begins.
func drawPanel(b *bytes.Buffer, c column, rows []row, y int) int {
	var largest float64
	for _, one := range rows {
		largest = max(largest, one.cells[c.key].highest)
	}
	y += 20
	fmt.Fprintf(b, `<text class="panel" x="12" y="%d">%s, %s streams</text>`+"\n", y, html.EscapeString(c.title),
		thousands(int64(rows[0].streams)))
	y += 8
	scale := float64(pictureWidth-labelWidth-valueWidth) / max(largest, 1e-9)
	for _, one := range rows {
		fmt.Fprintf(b, `<text x="12" y="%d">%s</text>`, y+15, html.EscapeString(one.peer))
		made, ok := one.cells[c.key]
		if !ok {
			note := []rune(one.remark)
			if len(note) > 85 {
				note = append(note[:84], '…')
			}
			fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", labelWidth, y+15, html.EscapeString(string(note)))
			y += barHeight + 4
			continue
		}
		class := "bar"
		if one.peer == "headcount" {
			class = "own"
		}
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, labelWidth, y,
			max(made.median*scale, 1), barHeight)
		fmt.Fprintf(b, `<line class="range" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, labelWidth+made.lowest*scale,
			labelWidth+made.highest*scale, y+barHeight/2, y+barHeight/2)
		text := c.format(made.median)
		if made.ratio > 0 && one.peer != "headcount" {
			text += fmt.Sprintf(" ×%.2f", made.ratio)
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", labelWidth+made.highest*scale+8, y+15, html.EscapeString(text))
		y += barHeight + 4
	}
	return y + panelGap - 20
}
