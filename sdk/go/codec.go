package lamphouse

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// codec moves values between a Go variable of one type and a contract value. It is worked out once for a type; after that,
// no reflection is left but for pointers and JSON.
type codec struct {
	kind     contract.Kind
	nullable bool
	viaJSON  bool
	// make gives a new variable.
	make func() unsafe.Pointer
	get  func(from unsafe.Pointer, v *contract.Value) error
	set  func(to unsafe.Pointer, v *contract.Value) error
}

var (
	decimalType   = reflect.TypeFor[Decimal]()
	timestampType = reflect.TypeFor[Timestamp]()
	jsonType      = reflect.TypeFor[JSON]()
	bytesType     = reflect.TypeFor[[]byte]()
)

// codecFor finds the codec of a type; false where only JSON could hold it.
func codecFor(t reflect.Type) (codec, bool) {
	switch t {
	case decimalType:
		return plain(contract.DecimalKind, contract.DecimalOf, (*contract.Value).Decimal), true
	case timestampType:
		return plain(contract.TimestampKind, contract.TimestampValue, (*contract.Value).Timestamp), true
	case jsonType:
		return plain(contract.JSON, func(j JSON) contract.Value { return contract.JSONOf(string(j)) },
			func(v *contract.Value) JSON { return JSON(v.Str()) }), true
	case bytesType:
		return plain(contract.Bytes, func(b []byte) contract.Value { return contract.BytesOf(string(b)) },
			func(v *contract.Value) []byte { return []byte(v.Str()) }), true
	}
	switch t.Kind() {
	case reflect.Pointer:
		return pointer(t.Elem())
	case reflect.Bool:
		return plain(contract.Boolean, contract.BooleanOf, (*contract.Value).Bool), true
	case reflect.String:
		return plain(contract.Text, contract.TextOf, (*contract.Value).Str), true
	case reflect.Float64:
		return plain(contract.Real, contract.RealOf, (*contract.Value).Float), true
	case reflect.Float32:
		return plain(contract.Real, func(f float32) contract.Value { return contract.RealOf(float64(f)) },
			func(v *contract.Value) float32 { return float32(v.Float()) }), true
	case reflect.Int, reflect.Int64:
		return plain(contract.Integer, contract.IntegerOf, (*contract.Value).Int), true
	case reflect.Int32:
		return narrow[int32](math.MinInt32, math.MaxInt32), true
	case reflect.Int16:
		return narrow[int16](math.MinInt16, math.MaxInt16), true
	case reflect.Int8:
		return narrow[int8](math.MinInt8, math.MaxInt8), true
	case reflect.Uint, reflect.Uint64:
		return narrow[uint64](0, math.MaxInt64), true
	case reflect.Uint32:
		return narrow[uint32](0, math.MaxUint32), true
	case reflect.Uint16:
		return narrow[uint16](0, math.MaxUint16), true
	case reflect.Uint8:
		return narrow[uint8](0, math.MaxUint8), true
	}
	return codec{}, false
}

// plain is for a type that holds every value of the kind.
func plain[T any](kind contract.Kind, to func(T) contract.Value, from func(*contract.Value) T) codec {
	return codec{
		kind: kind,
		make: func() unsafe.Pointer { return unsafe.Pointer(new(T)) },
		get: func(p unsafe.Pointer, v *contract.Value) error {
			*v = to(*(*T)(p))
			return nil
		},
		set: func(p unsafe.Pointer, v *contract.Value) error {
			if v.Kind() != kind {
				return unexpected(v, kind)
			}
			*(*T)(p) = from(v)
			return nil
		},
	}
}

// narrow is for integers that hold less, or other, than 64 bits with sign.
func narrow[T int32 | int16 | int8 | uint64 | uint32 | uint16 | uint8](least, most int64) codec {
	return codec{
		kind: contract.Integer,
		make: func() unsafe.Pointer { return unsafe.Pointer(new(T)) },
		get: func(p unsafe.Pointer, v *contract.Value) error {
			number := *(*T)(p)
			if uint64(number) > math.MaxInt64 && number > 0 {
				return fmt.Errorf("%d does not fit 64 bits with a sign", number)
			}
			*v = contract.IntegerOf(int64(number))
			return nil
		},
		set: func(p unsafe.Pointer, v *contract.Value) error {
			if v.Kind() != contract.Integer {
				return unexpected(v, contract.Integer)
			}
			if v.Int() < least || v.Int() > most {
				return fmt.Errorf("%d does not fit %T", v.Int(), *(*T)(p))
			}
			*(*T)(p) = T(v.Int())
			return nil
		},
	}
}

// pointer is for what may be null.
func pointer(elem reflect.Type) (codec, bool) {
	inner, ok := codecFor(elem)
	if !ok || inner.nullable {
		return codec{}, false
	}
	return codec{
		kind:     inner.kind,
		nullable: true,
		get: func(p unsafe.Pointer, v *contract.Value) error {
			at := *(*unsafe.Pointer)(p)
			if at == nil {
				*v = contract.Value{}
				return nil
			}
			return inner.get(at, v)
		},
		set: func(p unsafe.Pointer, v *contract.Value) error {
			if v.IsNull() {
				*(*unsafe.Pointer)(p) = nil
				return nil
			}
			at := inner.make()
			*(*unsafe.Pointer)(p) = at
			return inner.set(at, v)
		},
	}, true
}

// viaJSON is for any type that encoding/json reads and writes.
func viaJSON(t reflect.Type) codec {
	kind := t.Kind()
	read := readerOf(t)
	nullable := kind == reflect.Pointer || kind == reflect.Slice || kind == reflect.Map || kind == reflect.Interface
	return codec{
		kind:     contract.JSON,
		nullable: nullable,
		viaJSON:  true,
		get: func(p unsafe.Pointer, v *contract.Value) error {
			if nullable && reflect.NewAt(t, p).Elem().IsNil() {
				*v = contract.Value{}
				return nil
			}
			text, err := marshal(reflect.NewAt(t, p).Interface())
			*v = contract.JSONOf(text)
			return err
		},
		set: func(p unsafe.Pointer, v *contract.Value) error {
			switch v.Kind() {
			case contract.Null:
				reflect.NewAt(t, p).Elem().SetZero()
				return nil
			case contract.JSON:
				return read(v.Str(), reflect.NewAt(t, p).Interface())
			default:
				return unexpected(v, contract.JSON)
			}
		},
	}
}

func unexpected(v *contract.Value, due contract.Kind) error {
	if v.IsNull() {
		return fmt.Errorf("null or not there, where a value of type %s is due", due)
	}
	return fmt.Errorf("%s, where a value of type %s is due", v, due)
}

// marshal writes JSON texts as they are: json.Marshal would escape what is special in HTML.
func marshal(value any) (string, error) {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}

// jsonInto reads JSON into a pointer to a variable.
type jsonInto func(text string, into any) error

// readerOf reads JSON into variables of a type without losing a digit: a number without a type of its own becomes a
// json.Number.
func readerOf(t reflect.Type) jsonInto {
	if holdsAny(t, nil) {
		return func(text string, into any) error {
			decoder := json.NewDecoder(strings.NewReader(text))
			decoder.UseNumber()
			return decoder.Decode(into)
		}
	}
	return func(text string, into any) error {
		// It neither changes nor keeps the bytes.
		return json.Unmarshal(unsafe.Slice(unsafe.StringData(text), len(text)), into)
	}
}

// holdsAny says whether a type has a place for values of any type.
func holdsAny(t reflect.Type, seen []reflect.Type) bool {
	for _, before := range seen {
		if before == t {
			return false
		}
	}
	seen = append(seen, t)
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return holdsAny(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsAny(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

var (
	jsonReader = reflect.TypeFor[json.Unmarshaler]()
	textReader = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// readsItself says whether a type has its own way to be read from JSON.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonReader) || p.Implements(textReader)
}
