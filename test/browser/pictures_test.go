package browser

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"headcount/test/rig"
)

var pictures = flag.String("pictures", "", "directory into which TestPictures also writes what it looks at")

// screen is a size and a colour scheme.
type screen struct {
	scheme        string
	width, height int64
	scale         float64
}

func screens() []screen {
	return []screen{
		{"light", 1280, 800, 1},
		{"dark", 1280, 800, 1},
		{"light", 390, 844, 2},
		{"dark", 390, 844, 2},
	}
}

func (s screen) String() string { return fmt.Sprintf("%s-%dx%d", s.scheme, s.width, s.height) }

// look gives the tab such a screen.
func (tb *tab) look(s screen) {
	tb.t.Helper()
	_, err := chromedp.Call(tb.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: s.width, Height: s.height, DeviceScaleFactor: s.scale, Mobile: s.width < 500,
	})
	if err == nil {
		_, err = chromedp.Call(tb.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: s.scheme},
				{Name: "prefers-reduced-motion", Value: "reduce"}, // a picture of a movement is never the same twice
			},
		})
	}
	if err != nil {
		tb.t.Fatalf("look at %v: %v", s, err)
	}
}

// on opens a tab on such a screen.
func (c *chrome) on(t *testing.T, s screen, url string) *tab {
	t.Helper()
	tb := c.attach()
	tb.t = t
	tb.look(s)
	tb.goTo(url)
	return tb
}

// On a screenshot of the page the colours are those of the scheme, the number is visible, and nothing sticks out.
func TestPictures(t *testing.T) {
	server := rig.Start(t)
	chrome := newChrome(t)
	for _, s := range screens() {
		t.Run(s.String(), func(t *testing.T) {
			tb := chrome.on(t, s, server.URL+"/")
			tb.shows(slow, "way", "Live over a stream")
			tb.shows(slow, "users", "1")
			shot, err := chromedp.Call(tb.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{})
			if err != nil {
				t.Fatalf("take picture: %v", err)
			}
			if *pictures != "" {
				if err := os.WriteFile(filepath.Join(*pictures, s.String()+".png"), shot.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			picture, err := png.Decode(bytes.NewReader(shot.Data))
			if err != nil {
				t.Fatalf("decode picture: %v", err)
			}
			if got, want := picture.Bounds().Size(), image.Pt(int(float64(s.width)*s.scale), int(float64(s.height)*s.scale)); got != want {
				t.Errorf("the picture is %v, want %v", got, want)
			}
			paper := brightness(picture.At(2, 2))
			if dark := paper < 0.2; dark != (s.scheme == "dark") || !dark && paper < 0.8 {
				t.Errorf("the paper's brightness is %.2f", paper)
			}
			box := eval[[]float64](tb, `(() => { const b = document.getElementById('users').getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] })()`)
			if share := inked(picture, box, s.scale, paper); share < 0.02 || share > 0.6 {
				t.Errorf("%.1f %% of the number's place is inked, want 2 to 60", share*100)
			}
			if height := box[3] - box[1]; height < 100 {
				t.Errorf("the number is %.0f pixels high, want at least 100", height)
			}
			if out := eval[int](tb, `document.documentElement.scrollWidth - innerWidth`); out > 0 {
				t.Errorf("the page is %d pixels too wide", out)
			}
			tb.faultless()
			tb.close()
		})
	}
}

// inked returns the share of pixels in the box that have enough contrast with the background for text.
func inked(picture image.Image, box []float64, scale, paper float64) float64 {
	var all, ink float64
	for y := int(box[1] * scale); y < int(box[3]*scale); y++ {
		for x := int(box[0] * scale); x < int(box[2]*scale); x++ {
			all++
			if b := brightness(picture.At(x, y)); max(b, paper)-min(b, paper) > 0.6 {
				ink++
			}
		}
	}
	return ink / all
}

// brightness is 0 for black and 1 for white.
func brightness(c color.Color) float64 {
	return float64(color.GrayModel.Convert(c).(color.Gray).Y) / 255
}
