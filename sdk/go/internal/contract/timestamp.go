package contract

import (
	"fmt"
	"time"
)

// Timestamp is a moment: microseconds since 1970-01-01T00:00:00Z. Its text is RFC 3339 in UTC.
type Timestamp int64

// Timestamps of the years 1 to 9999: what both databases keep and sort alike.
const (
	TimestampMin Timestamp = -62_135_596_800_000_000
	TimestampMax Timestamp = 253_402_300_799_999_999
)

// TimestampOf is the moment of a time; what is below a microsecond is cut off.
func TimestampOf(t time.Time) Timestamp { return Timestamp(t.UnixMicro()) }

// ParseTimestamp reads RFC 3339: 2011-08-12T13:50:00Z, 2011-08-12T14:50:00.123456+01:00. Digits beyond microseconds are cut
// off; without an offset it is refused.
func ParseTimestamp(text string) (Timestamp, error) {
	if t, ok := parseTimestamp(text); ok {
		return t, nil
	}
	return 0, fmt.Errorf("'%s' is no RFC 3339 timestamp such as 2011-08-12T13:50:00Z", shown(text))
}

// MustTimestamp is [ParseTimestamp] for constants of the source: it panics where the text is no timestamp.
func MustTimestamp(text string) Timestamp {
	t, err := ParseTimestamp(text)
	if err != nil {
		panic("lamphouse: " + err.Error())
	}
	return t
}

// parseTimestamp is not time.Parse, which takes texts that the host does not, and the other way round.
func parseTimestamp(text string) (Timestamp, bool) {
	ok := true
	number := func(from, to int) (number int64) {
		if to > len(text) {
			ok = false
			return 0
		}
		for _, digit := range []byte(text[from:to]) {
			if digit -= '0'; digit > 9 {
				ok = false
			} else {
				number = number*10 + int64(digit)
			}
		}
		return number
	}
	is := func(at int, signs string) bool {
		if at >= len(text) {
			return false
		}
		for i := range len(signs) {
			if text[at] == signs[i] {
				return true
			}
		}
		return false
	}
	if !is(4, "-") || !is(7, "-") || !is(10, "Tt ") || !is(13, ":") || !is(16, ":") {
		return 0, false
	}
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	hour, minute, second := number(11, 13), number(14, 16), number(17, 19)
	if !ok || hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	date := time.Date(int(year), time.Month(month), int(day), 0, 0, 0, 0, time.UTC)
	// A day that the month does not have comes back as another one. A leap second counts as the next second.
	if y, m, d := date.Date(); y != int(year) || m != time.Month(month) || d != int(day) {
		return 0, false
	}
	at, micros := 19, int64(0)
	if is(at, ".") {
		at++
		first, weight := at, int64(100_000)
		for ; at < len(text) && text[at] >= '0' && text[at] <= '9'; at++ {
			micros += int64(text[at]-'0') * weight
			weight /= 10
		}
		if at == first {
			return 0, false
		}
	}
	var offset int64
	switch {
	case is(at, "Zz") && len(text) == at+1:
	case is(at, "+-") && is(at+3, ":") && len(text) == at+6:
		hours, minutes := number(at+1, at+3), number(at+4, at+6)
		if !ok || hours > 23 || minutes > 59 {
			return 0, false
		}
		offset = (hours*60 + minutes) * 60
		if text[at] == '-' {
			offset = -offset
		}
	default:
		return 0, false
	}
	seconds := date.Unix() + hour*3600 + minute*60 + second - offset
	return Timestamp(seconds*1_000_000 + micros), true
}

// Time is the moment as a [time.Time] in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMicro(int64(t)).UTC() }

// String is RFC 3339 in UTC, with six digits of a second where it is not whole.
func (t Timestamp) String() string {
	if t%1_000_000 != 0 {
		return t.Time().Format("2006-01-02T15:04:05.000000Z")
	}
	return t.Time().Format("2006-01-02T15:04:05Z")
}

// MarshalJSON writes RFC 3339.
func (t Timestamp) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// UnmarshalJSON reads RFC 3339.
func (t *Timestamp) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if len(text) < 2 || text[0] != '"' {
		return fmt.Errorf("%s, where an RFC 3339 timestamp is due", shown(string(text)))
	}
	read, err := ParseTimestamp(string(text[1 : len(text)-1]))
	if err != nil {
		return err
	}
	*t = read
	return nil
}
