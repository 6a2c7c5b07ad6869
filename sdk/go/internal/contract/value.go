package contract

import (
	"encoding/json"
	"fmt"
	"math"
)

// Kind says what a [Value] is.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota
	Boolean
	Integer
	Real
	DecimalKind
	Text
	Bytes
	TimestampKind
	JSON
)

var kindNames = [...]string{"null", "boolean", "integer", "real", "decimal", "text", "bytes", "timestamp", "json"}

func (k Kind) String() string { return kindNames[k] }

// Value is one exact value of a row. The zero Value is null.
type Value struct {
	// Text, JSON, or bytes.
	text string
	// A boolean, an integer, the bits of a real, a timestamp, or the lower word of a decimal.
	word  uint64
	upper uint64
	kind  Kind
	neg   bool
	scale uint8
}

// BooleanOf is a boolean.
func BooleanOf(b bool) Value {
	if b {
		return Value{kind: Boolean, word: 1}
	}
	return Value{kind: Boolean}
}

// IntegerOf is a 64-bit integer.
func IntegerOf(i int64) Value { return Value{kind: Integer, word: uint64(i)} }

// RealOf is a double.
func RealOf(f float64) Value { return Value{kind: Real, word: math.Float64bits(f)} }

// RealBits is a double, by its bits.
func RealBits(bits uint64) Value { return Value{kind: Real, word: bits} }

// DecimalOf is an exact decimal.
func DecimalOf(d Decimal) Value {
	return Value{kind: DecimalKind, word: d.lo, upper: d.hi, neg: d.neg, scale: d.scale}
}

// TextOf is a text.
func TextOf(s string) Value { return Value{kind: Text, text: s} }

// BytesOf is bytes, held as a string.
func BytesOf(s string) Value { return Value{kind: Bytes, text: s} }

// TimestampValue is a moment.
func TimestampValue(t Timestamp) Value { return Value{kind: TimestampKind, word: uint64(t)} }

// JSONOf is JSON text.
func JSONOf(s string) Value { return Value{kind: JSON, text: s} }

// Kind says what it is.
func (v *Value) Kind() Kind { return v.kind }

// IsNull says whether it is null.
func (v *Value) IsNull() bool { return v.kind == Null }

// Bool is the boolean.
func (v *Value) Bool() bool { return v.word != 0 }

// Int is the integer.
func (v *Value) Int() int64 { return int64(v.word) }

// Float is the real.
func (v *Value) Float() float64 { return math.Float64frombits(v.word) }

// Decimal is the decimal.
func (v *Value) Decimal() Decimal {
	return Decimal{hi: v.upper, lo: v.word, neg: v.neg, scale: v.scale}
}

// Word is a boolean, an integer, a timestamp, or the bits of a real.
func (v *Value) Word() uint64 { return v.word }

// Str is the text, the JSON, or the bytes.
func (v *Value) Str() string { return v.text }

// Timestamp is the moment.
func (v *Value) Timestamp() Timestamp { return Timestamp(v.word) }

// Plain is the Go value of a null, a boolean, a number or a text; JSON is given as raw JSON.
func (v *Value) Plain() any {
	switch v.kind {
	case Null:
		return nil
	case Boolean:
		return v.Bool()
	case Integer:
		return v.Int()
	case Real:
		return v.Float()
	case DecimalKind:
		return v.Decimal()
	case TimestampKind:
		return v.Timestamp()
	case JSON:
		return json.RawMessage(v.text)
	default:
		return v.text
	}
}

// String is for messages: type and, cut short, what it is.
func (v Value) String() string {
	switch v.kind {
	case Null:
		return "null"
	case Boolean:
		return fmt.Sprintf("boolean %t", v.Bool())
	case Integer:
		return fmt.Sprintf("integer %d", v.Int())
	case Real:
		return fmt.Sprintf("real %v", v.Float())
	case DecimalKind:
		return "decimal " + v.Decimal().String()
	case Text:
		return "text '" + shown(v.text) + "'"
	case Bytes:
		return fmt.Sprintf("%d bytes", len(v.text))
	case TimestampKind:
		return "timestamp " + v.Timestamp().String()
	default:
		return "json " + shown(v.text)
	}
}

// Column types are kinds; a decimal also has a scale.

// Column is one column of a table.
type Column struct {
	Name  string
	Kind  Kind
	Scale uint8 // of a decimal
	// Whether null is allowed.
	Nullable bool
	// What an upsert gives a new row. Nil: null if nullable, else the upsert must set it.
	Initial *Value
}

// TypeName is the column's type as messages name it: decimal(2).
func (c *Column) TypeName() string {
	if c.Kind == DecimalKind {
		return fmt.Sprintf("decimal(%d)", c.Scale)
	}
	return c.Kind.String()
}

// Table is one table of a projector.
type Table struct {
	Name       string
	Columns    []Column
	PrimaryKey []uint32
	// Each a list of indexes into Columns.
	Indexes [][]uint32
}

// Subscription says which events a projector takes. Every given field must match.
type Subscription struct {
	EventType      *string
	StreamType     *string
	SchemaVersions []uint32
}

// Option is one option of a descriptor.
type Option struct{ Name, Value string }

// Descriptor is what a projector says of itself.
type Descriptor struct {
	Name, Version string
	Subscriptions []Subscription
	Tables        []Table
	Options       []Option
}

// Schema is a type of event in one version.
type Schema struct {
	EventType string
	Version   uint32
}

func (s Schema) String() string { return fmt.Sprintf("%s %d", s.EventType, s.Version) }

// Rule is what an upcaster does with events of one schema.
type Rule struct {
	Takes Schema
	Gives []Schema
}

// UpcasterDescriptor is what an upcaster says of itself.
type UpcasterDescriptor struct {
	Name, Version string
	Rules         []Rule
	Options       []Option
}

// Cell is a change of one non-key column.
type Cell struct {
	Column uint32
	// Whether the value is added; else it replaces.
	Adds  bool
	Value Value
}

// Operation says which change it is, as it is packed.
type Operation uint8

// The operations.
const (
	Put Operation = iota
	Patch
	Upsert
	Remove
)

// Change is a change of one row.
type Change struct {
	Operation Operation
	Table     uint32
	// The row of a put, the key of any other.
	Values []Value
	// Of a patch or an upsert.
	Cells []Cell
}

// Failure is why a call failed.
type Failure struct {
	// Which event of the call; below 0 where it is of none.
	Index   int
	Message string
	// Where in the plugin's source.
	Trace string
}

// Host is what a call of a projector needs of the world: the sandbox's imports, or the tables of a test.
type Host interface {
	// Apply makes packed changes, in order.
	Apply(changes []byte) error
	// Read answers packed reads.
	Read(reads []byte) ([]byte, error)
	// Find gives the rows of one page, in key order.
	Find(table, index uint32, prefix, after []Value, limit uint32) ([][]Value, error)
}

// shown is a text of others, cut and without control characters, fit for a message.
func shown(text string) string { return ShownTo(text, 40) }

// ShownTo is the text cut to so many characters and without control characters.
func ShownTo(text string, charsMax int) string {
	out := make([]rune, 0, min(len(text), charsMax+1))
	for _, c := range text {
		if len(out) == charsMax {
			return string(out) + "…"
		}
		if c < 0x20 || c >= 0x7f && c < 0xa0 {
			c = '\ufffd'
		}
		out = append(out, c)
	}
	return string(out)
}
