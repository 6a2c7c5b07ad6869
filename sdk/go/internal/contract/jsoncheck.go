package contract

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// Deepest nesting of a JSON value in a row.
	jsonDepthMax = 128
	// Longest number, and largest exponent: more than any use, less than where PostgreSQL's numeric ends.
	jsonNumberMax = 10_000
)

// CheckJSON says whether the text is one JSON value, and one that PostgreSQL's jsonb takes: no U+0000, no lone surrogate, no
// number of more than ten thousand digits, nested at most 128 deep.
func CheckJSON(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("it is not UTF-8")
	}
	s := scan{text: text}
	err := s.value(jsonDepthMax)
	if err == nil {
		s.space()
		if s.at < len(text) {
			err = errors.New("text after the value")
		}
	}
	if err != nil {
		return fmt.Errorf("%w at byte %d", err, s.at)
	}
	return nil
}

// scan goes through JSON text without building anything.
type scan struct {
	text string
	at   int
}

func (s *scan) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scan) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// value passes one value, with the space before it.
func (s *scan) value(depth int) error {
	s.space()
	switch c := s.peek(); {
	case c == '{' || c == '[':
		if depth == 0 {
			return fmt.Errorf("nested more than %d deep", jsonDepthMax)
		}
		if c == '{' {
			return s.object(func(string) error { return s.value(depth - 1) })
		}
		return s.array(func(int) error { return s.value(depth - 1) })
	case c == '"':
		return s.string()
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 0 && s.at >= len(s.text):
		return errors.New("the text ends where a value is due")
	default:
		return s.word()
	}
}

// object passes an object; each is called where a value is due, with the name's JSON text.
func (s *scan) object(each func(name string) error) error {
	s.at++
	s.space()
	if s.peek() == '}' {
		s.at++
		return nil
	}
	for {
		s.space()
		if s.peek() != '"' {
			return errors.New("expected a name in quotes")
		}
		from := s.at
		if err := s.string(); err != nil {
			return err
		}
		name := s.text[from:s.at]
		s.space()
		if s.peek() != ':' {
			return errors.New("expected ':'")
		}
		s.at++
		if err := each(name); err != nil {
			return err
		}
		if done, err := s.goOn('}'); done || err != nil {
			return err
		}
	}
}

// array passes an array; each is called where a value is due, with its number.
func (s *scan) array(each func(number int) error) error {
	s.at++
	s.space()
	if s.peek() == ']' {
		s.at++
		return nil
	}
	for number := 0; ; number++ {
		if err := each(number); err != nil {
			return err
		}
		if done, err := s.goOn(']'); done || err != nil {
			return err
		}
	}
}

// goOn passes a comma, or the end.
func (s *scan) goOn(end byte) (done bool, err error) {
	s.space()
	switch s.peek() {
	case ',':
		s.at++
		return false, nil
	case end:
		s.at++
		return true, nil
	case 0:
		return true, errors.New("the text ends within the value")
	default:
		return true, fmt.Errorf("expected ',' or '%c'", end)
	}
}

func (s *scan) word() error {
	for _, word := range []string{"true", "false", "null"} {
		if strings.HasPrefix(s.text[s.at:], word) {
			s.at += len(word)
			return nil
		}
	}
	return errors.New("expected a value")
}

func (s *scan) string() error {
	s.at++
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return nil
		case c < 0x20:
			return errors.New("a control character in a text")
		case c == '\\':
			s.at++
			if err := s.escape(); err != nil {
				return err
			}
		default:
			s.at++
		}
	}
	return errors.New("a text has no end")
}

func (s *scan) escape() error {
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at++
		return nil
	case 'u':
	default:
		return errors.New("an unknown escape in a text")
	}
	unit, err := s.unit()
	switch {
	case err != nil:
		return err
	case unit == 0:
		return errors.New("U+0000 in a text, which databases do not keep,")
	case unit >= 0xd800 && unit <= 0xdbff && strings.HasPrefix(s.text[s.at:], `\u`):
		s.at++
		if low, err := s.unit(); err != nil || low < 0xdc00 || low > 0xdfff {
			return errors.New("a lone surrogate in a text")
		}
	case unit >= 0xd800 && unit <= 0xdfff:
		return errors.New("a lone surrogate in a text")
	}
	return nil
}

// unit reads the u of an escape and its four digits.
func (s *scan) unit() (unit uint32, err error) {
	if len(s.text)-s.at < 5 {
		return 0, errors.New("expected four hexadecimal digits after \\u")
	}
	for _, c := range []byte(s.text[s.at+1 : s.at+5]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, errors.New("expected four hexadecimal digits after \\u")
		}
		unit = unit<<4 | uint32(c)
	}
	s.at += 5
	return unit, nil
}

func (s *scan) number() error {
	start := s.at
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.peek() == '.' {
		s.at++
		if err := s.digits(); err != nil {
			return err
		}
	}
	exponent := 0
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		from := s.at
		if err := s.digits(); err != nil {
			return err
		}
		for _, c := range []byte(s.text[from:s.at]) {
			exponent = min(exponent*10+int(c-'0'), jsonNumberMax+1)
		}
	}
	if s.at-start > jsonNumberMax || exponent > jsonNumberMax {
		return fmt.Errorf("a number of more than %d digits", jsonNumberMax)
	}
	return nil
}

func (s *scan) digits() error {
	start := s.at
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	if s.at == start {
		return errors.New("expected a digit")
	}
	return nil
}
