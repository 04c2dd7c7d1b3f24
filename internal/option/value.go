package option

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Ranged is the value of an option that has a minimum and a maximum.
type Ranged[T int | time.Duration] struct {
	value    *T
	min, max T
	zero     bool // 0 is allowed as well
	parse    func(string) (T, error)
	print    func(T) string
	hint     string // what to write instead
}

// Duration returns an option from least to most, and sets value to first.
func Duration(value *time.Duration, first, least, most time.Duration) *Ranged[time.Duration] {
	*value = first
	short := strings.NewReplacer("h0m0s", "h", "m0s", "m") // 10m0s
	return &Ranged[time.Duration]{
		value: value, min: least, max: most, parse: time.ParseDuration,
		print: func(d time.Duration) string {
			if d == 0 {
				return "0"
			}
			return short.Replace(d.String())
		},
		hint: "a number and a unit, such as 5s",
	}
}

// Number returns an option from least to most, and sets value to first.
func Number(value *int, first, least, most int) *Ranged[int] {
	*value = first
	return &Ranged[int]{value: value, min: least, max: most, parse: strconv.Atoi, print: strconv.Itoa, hint: "a whole number"}
}

// OrZero allows 0 too, although it is out of range.
func (r *Ranged[T]) OrZero() *Ranged[T] {
	r.zero = true
	return r
}

// Set implements flag.Value.
func (r *Ranged[T]) Set(text string) error {
	n, err := r.parse(text)
	if err != nil {
		return fmt.Errorf("give %s", r.hint)
	}
	if (n < r.min || n > r.max) && !(r.zero && n == 0) {
		return fmt.Errorf("out of range; give %s to %s", r.print(r.min), r.print(r.max))
	}
	*r.value = n
	return nil
}

func (r *Ranged[T]) String() string { return r.print(*r.value) }

// OnOff is the value of an option that its name alone switches on.
type OnOff bool

// Set implements flag.Value.
func (o *OnOff) Set(text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("give true or false")
	}
	*o = OnOff(on)
	return nil
}

func (o *OnOff) String() string { return strconv.FormatBool(bool(*o)) }

// IsBoolFlag tells package flag that the option needs no value.
func (*OnOff) IsBoolFlag() bool { return true }
