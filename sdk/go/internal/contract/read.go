package contract

import (
	"fmt"
	"math"
)

// Reader reads piece after piece from packed bytes, in every valid form. The first error stays: what is read after it is
// zero, so that it is enough to look at [Reader.Err] at the end of a piece.
//
// Texts are not copied, and are not looked at: the host writes UTF-8, and what a plugin writes is judged by [Conform].
type Reader struct {
	bytes string
	at    int
	err   error
}

// NewReader reads from the first byte.
func NewReader(bytes string) *Reader { return &Reader{bytes: bytes} }

// Reset begins anew with other bytes.
func (r *Reader) Reset(bytes string) { *r = Reader{bytes: bytes} }

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// More says whether something is left to be read, and nothing went wrong.
func (r *Reader) More() bool { return r.err == nil && r.at < len(r.bytes) }

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("packed bytes, before byte %d: %s", r.at, fmt.Sprintf(format, args...))
	}
	r.at = len(r.bytes)
}

func (r *Reader) cutOff() {
	if r.err == nil {
		r.err = fmt.Errorf("packed bytes end at byte %d, within a piece that began before", len(r.bytes))
	}
	r.at = len(r.bytes)
}

func (r *Reader) unexpected(tag byte, wanted string) {
	r.fail("found tag 0x%02x where %s is due", tag, wanted)
}

func (r *Reader) byte() byte {
	if r.at >= len(r.bytes) {
		r.cutOff()
		return 0
	}
	b := r.bytes[r.at]
	r.at++
	return b
}

// number reads so many bytes, the upper ones first.
func (r *Reader) number(width int) (number uint64) {
	if len(r.bytes)-r.at < width {
		r.cutOff()
		return 0
	}
	for _, b := range []byte(r.bytes[r.at : r.at+width]) {
		number = number<<8 | uint64(b)
	}
	r.at += width
	return number
}

func (r *Reader) slice(length uint64) string {
	if uint64(len(r.bytes)-r.at) < length {
		r.cutOff()
		return ""
	}
	from := r.at
	r.at += int(length)
	return r.bytes[from:r.at]
}

// isNil reads nil, if that is next.
func (r *Reader) isNil() bool {
	if r.at < len(r.bytes) && r.bytes[r.at] == 0xc0 {
		r.at++
		return true
	}
	return false
}

// Array opens an array and gives how many entries follow: never more than there are bytes left.
func (r *Reader) Array() int {
	tag := r.byte()
	var count uint64
	switch {
	case tag&0xf0 == 0x90:
		count = uint64(tag & 0x0f)
	case tag == 0xdc:
		count = r.number(2)
	case tag == 0xdd:
		count = r.number(4)
	default:
		r.unexpected(tag, "an array")
	}
	// An entry takes at least one byte.
	if count > uint64(len(r.bytes)-r.at) {
		r.fail("an array is longer than the bytes that are left")
		return 0
	}
	return int(count)
}

// Uint reads an unsigned integer.
func (r *Reader) Uint() uint64 {
	if r.at < len(r.bytes) && r.bytes[r.at] < 0x80 {
		r.at++
		return uint64(r.bytes[r.at-1])
	}
	tag := r.byte()
	if tag == 0xcf {
		return r.number(8)
	}
	number, ok := r.intOf(tag)
	if !ok {
		r.unexpected(tag, "an unsigned integer")
	} else if number < 0 {
		r.fail("an unsigned integer is negative")
		return 0
	}
	return uint64(number)
}

// Uint32 reads an unsigned integer below 2^32.
func (r *Reader) Uint32() uint32 {
	number := r.Uint()
	if number > math.MaxUint32 {
		r.fail("a number does not fit 32 bits")
		return 0
	}
	return uint32(number)
}

// Int reads a signed integer.
func (r *Reader) Int() int64 {
	tag := r.byte()
	number, ok := r.intOf(tag)
	if !ok {
		r.unexpected(tag, "an integer")
	}
	return number
}

// intOf is the integer behind a tag; false if the tag is of something else.
func (r *Reader) intOf(tag byte) (int64, bool) {
	switch {
	case tag < 0x80:
		return int64(tag), true
	case tag >= 0xe0:
		return int64(int8(tag)), true
	}
	switch tag {
	case 0xcc:
		return int64(r.byte()), true
	case 0xcd:
		return int64(r.number(2)), true
	case 0xce:
		return int64(r.number(4)), true
	case 0xcf:
		number := r.number(8)
		if number > math.MaxInt64 {
			r.fail("an integer does not fit 64 bits with a sign")
			return 0, true
		}
		return int64(number), true
	case 0xd0:
		return int64(int8(r.byte())), true
	case 0xd1:
		return int64(int16(r.number(2))), true
	case 0xd2:
		return int64(int32(r.number(4))), true
	case 0xd3:
		return int64(r.number(8)), true
	}
	return 0, false
}

// String reads a text.
func (r *Reader) String() string {
	tag := r.byte()
	text, ok := r.stringOf(tag)
	if !ok {
		r.unexpected(tag, "a text")
	}
	return text
}

func (r *Reader) stringOf(tag byte) (string, bool) {
	var length uint64
	switch {
	case tag&0xe0 == 0xa0:
		length = uint64(tag & 0x1f)
	case tag >= 0xd9 && tag <= 0xdb:
		length = r.number(1 << (tag - 0xd9))
	default:
		return "", false
	}
	return r.slice(length), true
}

// Bin reads bytes.
func (r *Reader) Bin() string {
	tag := r.byte()
	if tag < 0xc4 || tag > 0xc6 {
		r.unexpected(tag, "a byte list")
		return ""
	}
	return r.slice(r.number(1 << (tag - 0xc4)))
}

// Value reads a value.
func (r *Reader) Value(v *Value) {
	tag := r.byte()
	switch {
	case tag == 0xc0:
		*v = Value{}
	case tag == 0xc2 || tag == 0xc3:
		*v = BooleanOf(tag == 0xc3)
	case tag == 0xcb:
		*v = Value{kind: Real, word: r.number(8)}
	case tag == 0xca:
		*v = RealOf(float64(math.Float32frombits(uint32(r.number(4)))))
	case tag >= 0xc4 && tag <= 0xc6:
		*v = BytesOf(r.slice(r.number(1 << (tag - 0xc4))))
	case tag >= 0xc7 && tag <= 0xc9:
		r.ext(v, r.number(1<<(tag-0xc7)))
	case tag >= 0xd4 && tag <= 0xd8:
		r.ext(v, 1<<(tag-0xd4))
	default:
		if text, ok := r.stringOf(tag); ok {
			*v = TextOf(text)
		} else if number, ok := r.intOf(tag); ok {
			*v = IntegerOf(number)
		} else {
			r.unexpected(tag, "a value")
		}
	}
}

func (r *Reader) ext(v *Value, length uint64) {
	kind := r.byte()
	text := r.slice(length)
	if r.err != nil {
		return
	}
	switch kind {
	case extDecimal:
		d, err := ParseDecimal(text)
		if err != nil {
			r.fail("%v", err)
		}
		*v = DecimalOf(d)
	case extTimestamp:
		if length != 8 {
			r.fail("a timestamp has %d bytes instead of 8", length)
			return
		}
		r.at -= 8
		*v = Value{kind: TimestampKind, word: r.number(8)}
	case extJSON:
		*v = JSONOf(text)
	default:
		r.fail("extension type %d is unknown", int8(kind))
	}
}

// Values reads a row or a key.
func (r *Reader) Values() []Value { return r.valuesOf(r.Array()) }

func (r *Reader) valuesOf(count int) []Value {
	// A value takes less in bytes than in memory: more room is made as values come.
	values := make([]Value, 0, min(count, 256))
	for range count {
		values = append(values, Value{})
		r.Value(&values[len(values)-1])
		if r.err != nil {
			return nil
		}
	}
	return values
}

// Event reads an event.
func (r *Reader) Event(e *Event) {
	entries := r.Array()
	if r.err == nil && entries != 12 && entries != 13 {
		r.fail("an event has %d entries instead of 12, or one more with declared fields", entries)
	}
	e.HasFields = entries == 13
	e.Position = r.Uint()
	e.Part = r.Uint32()
	e.ID = r.String()
	e.StreamID = r.String()
	e.StreamType = r.String()
	e.StreamVersion = r.Uint()
	e.EventType = r.String()
	e.SchemaVersion = r.Uint32()
	e.Data = r.eventText(e.HasFields)
	e.Metadata = r.eventText(e.HasFields)
	e.OccurredAt = Timestamp(r.Int())
	e.RecordedAt = Timestamp(r.Int())
	e.Fields = ""
	if e.HasFields {
		e.Fields = r.Bin()
	}
}

func (r *Reader) eventText(mayBeNil bool) string {
	if mayBeNil && r.isNil() {
		return ""
	}
	return r.String()
}

// Change reads a change.
func (r *Reader) Change() (change Change) {
	entries := r.Array()
	operation := r.Uint()
	if r.err == nil && operation > uint64(Remove) {
		r.fail("operation %d is unknown", operation)
		return change
	}
	change.Operation = Operation(operation)
	hasCells := change.Operation == Patch || change.Operation == Upsert
	due := 3
	if hasCells {
		due = 4
	}
	if r.err == nil && entries != due {
		r.fail("a change has %d entries instead of %d", entries, due)
		return change
	}
	change.Table = r.Uint32()
	change.Values = r.Values()
	if hasCells {
		change.Cells = r.cells()
	}
	return change
}

func (r *Reader) cells() []Cell {
	entries := r.Array()
	if entries%3 != 0 {
		r.fail("cells have %d entries, not three a cell", entries)
	}
	cells := make([]Cell, 0, min(entries/3, 256))
	for range entries / 3 {
		cell := Cell{Column: r.Uint32()}
		change := r.Uint()
		if change > 1 {
			r.fail("cell change %d is unknown", change)
		}
		cell.Adds = change == 1
		r.Value(&cell.Value)
		if r.err != nil {
			return nil
		}
		cells = append(cells, cell)
	}
	return cells
}

// Read reads one read: a table and a key.
func (r *Reader) Read() (table uint32, key []Value) {
	if entries := r.Array(); r.err == nil && entries != 2 {
		r.fail("a read has %d entries instead of 2", entries)
	}
	return r.Uint32(), r.Values()
}

// Answer reads one answer: a row, or nil where there is none.
func (r *Reader) Answer() []Value {
	if r.isNil() {
		return nil
	}
	return r.Values()
}

// Lifted reads the list of what one event became.
func (r *Reader) Lifted() []Lifted {
	count := r.Array()
	list := make([]Lifted, 0, min(count, 256))
	for range count {
		if entries := r.Array(); r.err == nil && entries != 4 {
			r.fail("a lifted event has %d entries instead of 4", entries)
		}
		lifted := Lifted{Schema: Schema{EventType: r.String(), Version: r.Uint32()}}
		for _, text := range []**string{&lifted.Data, &lifted.Metadata} {
			if !r.isNil() {
				read := r.String()
				*text = &read
			}
		}
		if r.err != nil {
			return nil
		}
		list = append(list, lifted)
	}
	return list
}
