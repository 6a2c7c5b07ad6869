package lamphouse

import (
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// fieldsOf are the declared fields of a struct, and where their values go.
type fieldsOf struct {
	declared []contract.Field
	places   []fieldPlace
	// Made when the first event comes whole.
	plan *contract.FieldPlan
	// Room for the values of one event.
	values []contract.Value
	reader contract.Reader
}

type fieldPlace struct {
	offset uintptr
	codec
}

// newFields reads the tags of a struct: a path in the lamphouse tag, else the name in the json tag, else the field's name,
// within data. Structs in it are walked.
func newFields(t reflect.Type) (*fieldsOf, error) {
	f := &fieldsOf{}
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("fields are declared by a struct, and %s is none", t)
	}
	if err := f.walk(t, "/data", 0); err != nil {
		return nil, err
	}
	f.values = make([]contract.Value, len(f.declared))
	return f, nil
}

func (f *fieldsOf) walk(t reflect.Type, within string, offset uintptr) error {
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		path := field.Tag.Get("lamphouse")
		if path == "-" || path == "" && field.Tag.Get("json") == "-" || !field.IsExported() && !field.Anonymous {
			continue
		}
		if name == "" {
			name = field.Name
		}
		if path == "" {
			path = within + "/" + strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
		}
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("field %s.%s: '%s' is no path such as /metadata/user", t.Name(), field.Name, path)
		}
		at := offset + field.Offset
		own, known := codecFor(field.Type)
		isStruct := field.Type.Kind() == reflect.Struct && !known && !readsItself(field.Type)
		if isStruct && field.Anonymous && field.Tag.Get("json") == "" {
			path = within
		}
		if isStruct {
			if err := f.walk(field.Type, path, at); err != nil {
				return err
			}
			continue
		}
		// Bytes are base64 in JSON, as encoding/json has it.
		isBytes := known && own.kind == contract.Bytes
		ownWay := field.Type != decimalType && field.Type != timestampType && field.Type != jsonType && readsItself(field.Type)
		if isPointer := field.Type.Kind() == reflect.Pointer; isPointer && !isBytes {
			elem := field.Type.Elem()
			ownWay = elem != decimalType && elem != timestampType && elem != jsonType && readsItself(elem)
		}
		if !known || isBytes || ownWay {
			own = viaJSON(field.Type)
		}
		f.declared = append(f.declared, contract.Field{Path: path, Kind: own.kind})
		f.places = append(f.places, fieldPlace{at, own})
	}
	return nil
}

// read fills the struct from an event, whether it came with its fields or whole.
func (f *fieldsOf) read(e *contract.Event, into unsafe.Pointer) (err error) {
	if !e.HasFields {
		if f.plan == nil {
			if f.plan, err = contract.NewFieldPlan(f.declared); err != nil {
				return err
			}
		}
		if f.values, err = f.plan.Extract(e.Data, e.Metadata, f.values); err != nil {
			return fmt.Errorf("%s: %w", e.EventType, err)
		}
	} else {
		f.reader.Reset(e.Fields)
		for i := range f.values {
			f.reader.Value(&f.values[i])
		}
		if err := f.reader.Err(); err != nil {
			return err
		}
	}
	for i := range f.values {
		if err := f.set(i, e, into, &f.values[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f *fieldsOf) set(i int, e *contract.Event, into unsafe.Pointer, v *contract.Value) error {
	place := &f.places[i]
	if v.IsNull() && !place.nullable {
		return fmt.Errorf("%s: missing field %s (a pointer may be null)", e.EventType, f.declared[i].Path)
	}
	if err := place.set(unsafe.Add(into, place.offset), v); err != nil {
		return fmt.Errorf("%s: field %s: %w", e.EventType, f.declared[i].Path, err)
	}
	return nil
}
