package contract

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// FieldsOption is the descriptor's option that declares fields: see wit/PACKED.md.
const FieldsOption = "fields"

const (
	fieldsMax         = 64
	fieldEventTypes   = 256
	fieldPathBytesMax = 256
)

// Field is one declared field: a JSON Pointer into the event's data or metadata, and its type.
type Field struct {
	Path string
	Kind Kind
}

// EventFields are the declared fields of one event type.
type EventFields struct {
	EventType string
	Fields    []Field
}

// SpellFields gives the text of option fields.
func SpellFields(events []EventFields) string {
	type field struct {
		Path string `json:"path"`
		Type string `json:"type"`
	}
	type event struct {
		EventType string  `json:"event_type"`
		Fields    []field `json:"fields"`
	}
	spelled := make([]event, len(events))
	for i, declared := range events {
		spelled[i] = event{EventType: declared.EventType, Fields: []field{}}
		for _, f := range declared.Fields {
			spelled[i].Fields = append(spelled[i].Fields, field{f.Path, f.Kind.String()})
		}
	}
	text, err := json.Marshal(spelled)
	if err != nil {
		panic("invariant: texts and lists are JSON: " + err.Error())
	}
	return string(text)
}

// CheckFields says what the host would refuse of these declarations.
func CheckFields(events []EventFields) []string {
	var m mistakes
	if len(events) > fieldEventTypes {
		m.add("fields of %d event types are declared; at most %d are allowed", len(events), fieldEventTypes)
		return m
	}
	for _, event := range events {
		if len(event.Fields) > fieldsMax {
			m.add("%d fields of '%s' are declared; at most %d are allowed", len(event.Fields), shown(event.EventType), fieldsMax)
		} else if _, err := NewFieldPlan(event.Fields); err != nil {
			m.add("fields of event type '%s': %v", shown(event.EventType), err)
		}
	}
	return m
}

// FieldPlan takes the declared fields of one event type out of its JSON.
type FieldPlan struct {
	fields         int
	data, metadata *node
}

// node is one step of the declared paths: a field, or names and what is below them.
type node struct {
	field    int // below 0 for an inner node
	kind     Kind
	names    []string
	children []*node
}

// NewFieldPlan refuses a path that is none, or that lies within another.
func NewFieldPlan(fields []Field) (*FieldPlan, error) {
	plan := &FieldPlan{fields: len(fields)}
	for i, field := range fields {
		path := field.Path
		if len(path) > fieldPathBytesMax {
			return nil, fmt.Errorf("path '%s' is longer than %d bytes", shown(path), fieldPathBytesMax)
		}
		steps := strings.Split(path, "/")
		var root **node
		switch {
		case len(steps) > 1 && steps[0] == "" && steps[1] == "data":
			root = &plan.data
		case len(steps) > 1 && steps[0] == "" && steps[1] == "metadata":
			root = &plan.metadata
		default:
			return nil, fmt.Errorf("path '%s' begins neither with /data nor with /metadata", path)
		}
		steps = steps[2:]
		for i, step := range steps {
			if strings.Count(step, "~") != strings.Count(step, "~0")+strings.Count(step, "~1") {
				return nil, fmt.Errorf("path '%s' is no JSON Pointer: '~' is written ~0, and '/' ~1", path)
			}
			steps[i] = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		}
		if !grow(root, steps, &node{field: i, kind: field.Kind}) {
			return nil, fmt.Errorf("path '%s' lies within another one, or is named twice", path)
		}
	}
	return plan, nil
}

// grow adds a path to the tree; false where it meets another one.
func grow(root **node, steps []string, leaf *node) bool {
	if len(steps) == 0 {
		if *root != nil {
			return false
		}
		*root = leaf
		return true
	}
	if *root == nil {
		*root = &node{field: -1}
	}
	inner := *root
	if inner.field >= 0 {
		return false
	}
	for i, name := range inner.names {
		if name == steps[0] {
			return grow(&inner.children[i], steps[1:], leaf)
		}
	}
	var child *node
	grown := grow(&child, steps[1:], leaf)
	inner.names = append(inner.names, steps[0])
	inner.children = append(inner.children, child)
	return grown
}

// Extract gives the values of the declared fields, in their order; null where there is none. The error says what is not
// as declared.
func (p *FieldPlan) Extract(data, metadata string, values []Value) ([]Value, error) {
	values = values[:0]
	for range p.fields {
		values = append(values, Value{})
	}
	x := extraction{values: values, met: make([]bool, p.fields)}
	for _, root := range []struct {
		name string
		node *node
		text string
	}{{"data", p.data, data}, {"metadata", p.metadata, metadata}} {
		if root.node == nil {
			continue
		}
		x.scan = scan{text: root.text}
		err := x.value(root.node)
		if err == nil {
			x.space()
			if x.at < len(root.text) {
				err = fmt.Errorf("text after the value")
			}
		}
		if err != nil {
			return values, fmt.Errorf("%s of the event: %w at byte %d", root.name, err, x.at)
		}
	}
	return values, nil
}

type extraction struct {
	scan
	values []Value
	met    []bool
}

// value passes one value and keeps what the node declares of it.
func (x *extraction) value(n *node) error {
	x.space()
	if n.field >= 0 {
		return x.leaf(n)
	}
	switch x.peek() {
	case '{':
		return x.object(func(quoted string) error {
			name, err := unquote(quoted)
			if err != nil {
				return err
			}
			return x.child(n, name)
		})
	case '[':
		return x.array(func(number int) error { return x.child(n, strconv.Itoa(number)) })
	case 'n':
		return x.word()
	default:
		return fmt.Errorf("no object with '%s'", n.names[0])
	}
}

func (x *extraction) child(n *node, name string) error {
	for i := range n.names {
		if n.names[i] == name {
			return x.value(n.children[i])
		}
	}
	return x.scan.value(jsonDepthMax)
}

func (x *extraction) leaf(n *node) error {
	from := x.at
	if err := x.scan.value(jsonDepthMax); err != nil {
		return err
	}
	text := x.text[from:x.at]
	if x.met[n.field] {
		return fmt.Errorf("a declared field comes twice")
	}
	x.met[n.field] = true
	value, err := FieldValue(text, n.kind)
	if err != nil {
		return err
	}
	x.values[n.field] = value
	return nil
}

// FieldValue is what a JSON value is as a declared field of that kind.
func FieldValue(text string, kind Kind) (Value, error) {
	wrong := func(due string) (Value, error) {
		return Value{}, fmt.Errorf("%s, where %s is due", shown(text), due)
	}
	quoted := text[0] == '"'
	if text == "null" {
		return Value{}, nil
	}
	switch kind {
	case JSON:
		return JSONOf(text), nil
	case Boolean:
		if text != "true" && text != "false" {
			return wrong("a boolean")
		}
		return BooleanOf(text == "true"), nil
	case Integer:
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil || text == "-0" {
			return wrong("an integer of 64 bits")
		}
		return IntegerOf(number), nil
	case Real:
		number, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return wrong("a number")
		}
		return RealOf(number), nil
	case DecimalKind:
		if !quoted {
			if number, ok := wholeDecimal(text); ok {
				return DecimalOf(number), nil
			}
			return wrong("a decimal as text, or a whole number,")
		}
	}
	if !quoted {
		return wrong("a " + kind.String())
	}
	plain, err := unquote(text)
	if err != nil {
		return Value{}, err
	}
	switch kind {
	case DecimalKind:
		number, err := ParseDecimal(plain)
		return DecimalOf(number), err
	case TimestampKind:
		moment, err := ParseTimestamp(plain)
		return TimestampValue(moment), err
	default:
		return TextOf(plain), nil
	}
}

// unquote is the text that a JSON text spells.
func unquote(quoted string) (text string, err error) {
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	err = json.Unmarshal([]byte(quoted), &text)
	return text, err
}
