package contract

import (
	"fmt"
	"math/bits"
	"strconv"
)

// DecimalDigitsMax is how many digits a decimal has at the most, in all and after the point.
const DecimalDigitsMax = 38

// Decimal is an exact decimal number of at most 38 digits. The zero Decimal is 0.
//
// Its scale, the number of digits after the point, is kept: 1.50 stays 1.50. So == tells 1.5 and 1.50 apart; [Decimal.Equal]
// does not. The values of a column all have the column's scale. Nothing is ever rounded: what does not fit is an error.
type Decimal struct {
	// The digits as a whole number of two words: the upper one is 0 in nearly all.
	hi, lo uint64
	neg    bool
	scale  uint8
}

// pow10 has 10^0 to 10^19, all that fit a word.
var pow10 = [20]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// The largest whole number of 38 digits: 10^38 - 1.
const maxHi, maxLo = 0x4b3b4ca85a86c47a, 0x098a223fffffffff

// NewDecimal gives unscaled / 10^scale: NewDecimal(1250, 2) is 12.50. It panics if scale is above 38.
func NewDecimal(unscaled int64, scale uint8) Decimal {
	if scale > DecimalDigitsMax {
		panic("lamphouse: a decimal has at most 38 digits after the point")
	}
	if unscaled < 0 {
		return Decimal{lo: -uint64(unscaled), neg: true, scale: scale}
	}
	return Decimal{lo: uint64(unscaled), scale: scale}
}

// ParseDecimal reads [-]digits[.digits]: no sign but '-', no exponent, at least one digit on each side of a point. The
// digits after the point become the scale.
func ParseDecimal(text string) (Decimal, error) {
	digits := text
	neg := len(text) > 0 && text[0] == '-'
	if neg {
		digits = text[1:]
	}
	var d Decimal
	point := -1
	overflow := false
	for at := 0; at < len(digits); at++ {
		digit := digits[at] - '0'
		switch {
		case digit < 10 && at < 18:
			// The first 18 digits fit a word; most numbers are done with that.
			d.lo = d.lo*10 + uint64(digit)
		case digit < 10:
			overflow = overflow || !d.timesWord(10) || !d.plusWord(uint64(digit))
		case digits[at] == '.' && point < 0 && at > 0:
			point = at
		default:
			return Decimal{}, noDecimal(text)
		}
	}
	if len(digits) == 0 || point == len(digits)-1 {
		return Decimal{}, noDecimal(text)
	}
	scale := 0
	if point >= 0 {
		scale = len(digits) - point - 1
	}
	if overflow || scale > DecimalDigitsMax {
		return Decimal{}, ErrOverflow
	}
	d.scale = uint8(scale)
	d.neg = neg && !d.IsZero()
	return d, nil
}

// MustDecimal is [ParseDecimal] for constants of the source: it panics where the text is no decimal.
func MustDecimal(text string) Decimal {
	d, err := ParseDecimal(text)
	if err != nil {
		panic("lamphouse: " + err.Error())
	}
	return d
}

func noDecimal(text string) error {
	return fmt.Errorf("'%s' is not a decimal of the form [-]digits[.digits]", shown(text))
}

// timesWord multiplies the digits; false if more than 38 came of it.
func (d *Decimal) timesWord(times uint64) bool {
	over, hi := bits.Mul64(d.hi, times)
	carry, lo := bits.Mul64(d.lo, times)
	hi, more := bits.Add64(hi, carry, 0)
	d.hi, d.lo = hi, lo
	return over == 0 && more == 0 && d.fits()
}

// plusWord adds to the digits; false if more than 38 came of it.
func (d *Decimal) plusWord(more uint64) bool {
	var carry uint64
	d.lo, carry = bits.Add64(d.lo, more, 0)
	d.hi += carry
	return d.fits()
}

func (d *Decimal) fits() bool {
	return d.hi < maxHi || d.hi == maxHi && d.lo <= maxLo
}

// overWord divides the digits and gives the remainder.
func (d *Decimal) overWord(by uint64) uint64 {
	if d.hi == 0 {
		rest := d.lo % by
		d.lo /= by
		return rest
	}
	hi := d.hi / by
	lo, rest := bits.Div64(d.hi%by, d.lo, by)
	d.hi, d.lo = hi, lo
	return rest
}

// Scale is the number of digits after the point.
func (d Decimal) Scale() uint8 { return d.scale }

// IsZero says whether it is 0.
func (d Decimal) IsZero() bool { return d.hi == 0 && d.lo == 0 }

// Sign is -1, 0 or 1.
func (d Decimal) Sign() int {
	switch {
	case d.IsZero():
		return 0
	case d.neg:
		return -1
	default:
		return 1
	}
}

// Neg is the number with the other sign.
func (d Decimal) Neg() Decimal {
	d.neg = !d.neg && !d.IsZero()
	return d
}

// Unscaled gives the digits as a whole number: 1250 for 12.50. It is an error where they do not fit 64 bits with sign.
func (d Decimal) Unscaled() (int64, error) {
	if d.hi == 0 && d.lo <= 1<<63-1 {
		if d.neg {
			return -int64(d.lo), nil
		}
		return int64(d.lo), nil
	}
	if d.hi == 0 && d.lo == 1<<63 && d.neg {
		return -1 << 63, nil
	}
	return 0, fmt.Errorf("the digits of %s do not fit 64 bits", d)
}

// Rescale is the same number with so many digits after the point. Zeros at the end may go, other digits may not.
func (d Decimal) Rescale(scale uint8) (Decimal, error) {
	switch {
	case scale == d.scale:
		return d, nil
	case scale > d.scale:
		rest := scale - d.scale
		if scale > DecimalDigitsMax {
			return Decimal{}, ErrOverflow
		}
		d.scale = scale
		if d.hi == 0 && d.lo < 1<<32 && rest <= 9 {
			d.lo *= pow10[rest]
			return d, nil
		}
		for rest > 0 {
			step := min(rest, 19)
			if !d.timesWord(pow10[step]) {
				return Decimal{}, ErrOverflow
			}
			rest -= step
		}
		return d, nil
	default:
		less := d
		less.scale = scale
		for rest := d.scale - scale; rest > 0; {
			step := min(rest, 19)
			if less.overWord(pow10[step]) != 0 {
				return Decimal{}, fmt.Errorf("%d digits after the point where %d are kept (nothing is rounded)",
					d.trimmed().scale, scale)
			}
			rest -= step
		}
		return less, nil
	}
}

// trimmed has no zeros at the end of the digits after the point: the same for equal numbers.
func (d Decimal) trimmed() Decimal {
	for d.scale > 0 {
		less := d
		if less.overWord(10) != 0 {
			break
		}
		less.scale--
		d = less
	}
	return d
}

// Add is the sum, at the larger scale.
func (d Decimal) Add(other Decimal) (Decimal, error) {
	if d.scale != other.scale {
		var err error
		scale := max(d.scale, other.scale)
		if d, err = d.Rescale(scale); err != nil {
			return Decimal{}, err
		}
		if other, err = other.Rescale(scale); err != nil {
			return Decimal{}, err
		}
	}
	if d.neg == other.neg {
		var carry uint64
		d.lo, carry = bits.Add64(d.lo, other.lo, 0)
		d.hi += other.hi + carry
		if !d.fits() {
			return Decimal{}, ErrOverflow
		}
		return d, nil
	}
	if d.magnitude(other) < 0 {
		d, other = other, d
	}
	var borrow uint64
	d.lo, borrow = bits.Sub64(d.lo, other.lo, 0)
	d.hi -= other.hi + borrow
	d.neg = d.neg && !d.IsZero()
	return d, nil
}

// Sub is the difference, at the larger scale.
func (d Decimal) Sub(other Decimal) (Decimal, error) { return d.Add(other.Neg()) }

// Times is so many times the number, at its own scale.
func (d Decimal) Times(count int64) (Decimal, error) {
	size := uint64(count)
	if count < 0 {
		size = -size
		d.neg = !d.neg
	}
	if d.hi == 0 && d.lo < 1<<32 && size < 1<<32 {
		d.lo *= size
	} else if !d.timesWord(size) {
		return Decimal{}, ErrOverflow
	}
	d.neg = d.neg && !d.IsZero()
	return d, nil
}

// magnitude compares without sign; the scales must be the same.
func (d Decimal) magnitude(other Decimal) int {
	switch {
	case d.hi != other.hi && d.hi < other.hi, d.hi == other.hi && d.lo < other.lo:
		return -1
	case d.hi == other.hi && d.lo == other.lo:
		return 0
	default:
		return 1
	}
}

// Cmp is -1, 0 or 1 where the number is below, equal to or above the other.
func (d Decimal) Cmp(other Decimal) int {
	sign := d.Sign()
	if theirs := other.Sign(); sign != theirs {
		return compare(sign, theirs)
	}
	scale := max(d.scale, other.scale)
	left, err := d.Rescale(scale)
	if err != nil {
		// Only one is scaled up; if that overflows, it is the larger in size.
		return sign
	}
	right, err := other.Rescale(scale)
	if err != nil {
		return -sign
	}
	return left.magnitude(right) * sign
}

func compare(left, right int) int {
	switch {
	case left < right:
		return -1
	case left > right:
		return 1
	default:
		return 0
	}
}

// Equal says whether both are the same number, whatever their scales.
func (d Decimal) Equal(other Decimal) bool { return d.Cmp(other) == 0 }

// String is the canonical text: -12.50.
func (d Decimal) String() string {
	var room [44]byte
	return string(d.AppendText(room[:0]))
}

// AppendText appends the canonical text.
func (d Decimal) AppendText(to []byte) []byte {
	var room [44]byte
	at := len(room)
	scale := int(d.scale)
	rest := d
	if rest.hi > 0 {
		// Dividing two words is slow: once for the lower half of the digits.
		low := rest.overWord(1e19)
		for range 19 {
			at--
			room[at] = '0' + byte(low%10)
			low /= 10
		}
	}
	// At least one digit before the point.
	for word := rest.lo; word > 0 || len(room)-at <= scale; word /= 10 {
		at--
		room[at] = '0' + byte(word%10)
	}
	if scale > 0 {
		point := len(room) - scale - 1
		copy(room[at-1:], room[at:point+1])
		room[point] = '.'
		at--
	}
	if d.neg {
		at--
		room[at] = '-'
	}
	return append(to, room[at:]...)
}

// MarshalJSON writes the number as a JSON text, so that no reader rounds it.
func (d Decimal) MarshalJSON() ([]byte, error) {
	text := append(make([]byte, 0, 46), '"')
	return append(d.AppendText(text), '"'), nil
}

// UnmarshalJSON reads a JSON text, or a whole number. A number with a point is refused: it may have been rounded on its
// way.
func (d *Decimal) UnmarshalJSON(text []byte) error {
	if len(text) >= 2 && text[0] == '"' {
		inner := string(text[1 : len(text)-1])
		read, err := ParseDecimal(inner)
		if err != nil {
			return err
		}
		*d = read
		return nil
	}
	if string(text) == "null" {
		return nil
	}
	read, ok := wholeDecimal(string(text))
	if !ok {
		return fmt.Errorf("%s, where a decimal as text or a whole number is due", shown(string(text)))
	}
	*d = read
	return nil
}

// wholeDecimal reads a JSON number without point and exponent.
func wholeDecimal(number string) (Decimal, bool) {
	if whole, err := strconv.ParseInt(number, 10, 64); err == nil && number != "-0" {
		return NewDecimal(whole, 0), true
	}
	if whole, err := strconv.ParseUint(number, 10, 64); err == nil {
		return Decimal{lo: whole}, true
	}
	return Decimal{}, false
}
