package load

import "math/bits"

// A histogram counts durations in nanoseconds in buckets that are at most 1/64 (1.6 %) wide, as HdrHistogram does.
// The zero value is empty.
type histogram struct {
	buckets [64 * 64]uint64
	total   uint64
	highest int64
}

const subBits = 6 // 64 buckets for each power of two

func bucketOf(ns int64) int {
	if ns < 1<<subBits {
		return int(max(ns, 0))
	}
	shift := bits.Len64(uint64(ns)) - subBits - 1
	return shift<<subBits + int(ns>>shift)
}

// highestIn is the longest duration that falls into a bucket.
func highestIn(bucket int) int64 {
	if bucket < 2<<subBits {
		return int64(bucket)
	}
	shift := bucket>>subBits - 1
	return int64(bucket-shift<<subBits+1)<<shift - 1
}

func (h *histogram) add(ns int64) {
	h.buckets[bucketOf(ns)]++
	h.total++
	h.highest = max(h.highest, ns)
}

// quantile is the duration that the share q of all durations do not exceed; 0 when there are none.
func (h *histogram) quantile(q float64) int64 {
	left := uint64(float64(h.total)*q + 0.5)
	for bucket, n := range h.buckets {
		if n >= left && left > 0 {
			return min(highestIn(bucket), h.highest)
		}
		left -= n
	}
	return h.highest
}
