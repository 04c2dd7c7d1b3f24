package page

import (
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"
)

// These functions format numbers for the pages. The script of the operator's page, assets/stats.js, has the same ones.

// formatCount formats a number with commas between thousands.
func formatCount(n int) string { return humanize.Comma(int64(n)) }

// formatBytes formats a size with a unit.
func formatBytes(n int64) string {
	size, unit := float64(n), 0
	for size >= 1024 && unit < 4 {
		size /= 1024
		unit++
	}
	if unit > 0 && size < 10 {
		size = math.Floor(size*10) / 10
		return fmt.Sprintf("%.1f %s", size, [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
	}
	return fmt.Sprintf("%d %s", int(size), [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
}

// formatRate formats a number per second.
func formatRate(n float64) string {
	if n < 10 {
		return fmt.Sprintf("%.1f", n)
	}
	return formatCount(int(n))
}

// formatSpan formats a time in seconds with a unit.
func formatSpan(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min", minutes)
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}
