package lamphouse

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// rowType is a table and the struct that its rows are.
type rowType struct {
	goType  reflect.Type
	pointer reflect.Type
	number  uint32
	columns []column
	// In the order of the table's indexes.
	indexes []string
}

// column is one field of the struct.
type column struct {
	name   string
	offset uintptr
	codec
}

// newRowType reads the tags of a struct. What is wrong with them is told, all of it.
func newRowType(t reflect.Type, name string) (rowType, contract.Table, []string) {
	made := rowType{goType: t, pointer: reflect.PointerTo(t)}
	table := contract.Table{Name: name}
	var mistakes []string
	if t.Kind() != reflect.Struct {
		return made, table, []string{fmt.Sprintf("table '%s': rows are structs, and %s is none", name, t)}
	}
	places := map[string][]uint32{}
	for i := range t.NumField() {
		field := t.Field(i)
		tag, tagged := field.Tag.Lookup("lamphouse")
		if tag == "-" || !field.IsExported() && !tagged {
			continue
		}
		wrong := func(format string, args ...any) {
			mistakes = append(mistakes, fmt.Sprintf("table '%s', field %s.%s: %s", name, t.Name(), field.Name,
				fmt.Sprintf(format, args...)))
		}
		if !field.IsExported() {
			wrong("it is not exported")
			continue
		}
		columnName, options, _ := strings.Cut(tag, ",")
		if columnName == "" {
			columnName = snake(field.Name)
		}
		number := uint32(len(made.columns))
		made.columns = append(made.columns, column{name: columnName, offset: field.Offset})
		at := &made.columns[number]
		known := false
		at.codec, known = codecFor(field.Type)
		declared := contract.Column{Name: columnName}
		var initial *string
		for _, option := range strings.Split(options, ",") {
			key, value, hasValue := strings.Cut(option, "=")
			switch {
			case option == "":
			case option == "key":
				table.PrimaryKey = append(table.PrimaryKey, number)
			case key == "index":
				if !hasValue {
					value = columnName
				}
				if places[value] == nil {
					made.indexes = append(made.indexes, value)
				}
				places[value] = append(places[value], number)
			case option == "json":
				at.codec, known = viaJSON(field.Type), true
			case key == "scale" && hasValue:
				scale, err := strconv.ParseUint(value, 10, 8)
				if err != nil || at.kind != contract.DecimalKind {
					wrong("scale= is the number of digits after the point of a lamphouse.Decimal")
				}
				declared.Scale = uint8(scale)
			case key == "initial" && hasValue:
				initial = &value
			default:
				wrong("'%s' is no option: there are key, index, index=NAME, scale=N, initial=VALUE and json", option)
			}
		}
		if !known {
			wrong("a column cannot be a %s (option json keeps whatever encoding/json writes)", field.Type)
			continue
		}
		if at.kind == contract.DecimalKind && !strings.Contains(","+options, ",scale=") {
			wrong("a lamphouse.Decimal needs the number of digits after the point: scale=2")
		}
		declared.Kind, declared.Nullable = at.kind, at.nullable
		if initial != nil {
			value, err := initialValue(at.kind, *initial)
			if err != nil {
				wrong("initial=%s: %v", *initial, err)
			} else {
				declared.Initial = &value
			}
		}
		table.Columns = append(table.Columns, declared)
	}
	if len(table.PrimaryKey) == 0 {
		mistakes = append(mistakes, fmt.Sprintf("table '%s': no field of %s has the option key", name, t.Name()))
	}
	for _, index := range made.indexes {
		table.Indexes = append(table.Indexes, places[index])
	}
	return made, table, mistakes
}

func initialValue(kind contract.Kind, text string) (contract.Value, error) {
	switch kind {
	case contract.Boolean:
		value, err := strconv.ParseBool(text)
		return contract.BooleanOf(value), err
	case contract.Integer:
		value, err := strconv.ParseInt(text, 10, 64)
		return contract.IntegerOf(value), err
	case contract.Real:
		value, err := strconv.ParseFloat(text, 64)
		return contract.RealOf(value), err
	case contract.DecimalKind:
		value, err := contract.ParseDecimal(text)
		return contract.DecimalOf(value), err
	case contract.Text:
		return contract.TextOf(text), nil
	case contract.TimestampKind:
		value, err := contract.ParseTimestamp(text)
		return contract.TimestampValue(value), err
	case contract.JSON:
		return contract.JSONOf(text), nil
	default:
		return contract.Value{}, fmt.Errorf("a column of type %s has no initial value", kind)
	}
}

// snake is the column's name of a field: CustomerID is customer_id.
func snake(name string) string {
	var out strings.Builder
	letters := []rune(name)
	isUpper := func(i int) bool { return letters[i] >= 'A' && letters[i] <= 'Z' }
	for i, letter := range letters {
		ends := i+1 < len(letters) && !isUpper(i+1)
		if isUpper(i) && i > 0 && (!isUpper(i-1) || ends) {
			out.WriteByte('_')
		}
		if isUpper(i) {
			letter += 'a' - 'A'
		}
		out.WriteRune(letter)
	}
	return out.String()
}

// values gives all columns of a row.
func (r *rowType) values(row unsafe.Pointer) ([]contract.Value, error) {
	values := make([]contract.Value, len(r.columns))
	for i := range r.columns {
		c := &r.columns[i]
		if err := c.get(unsafe.Add(row, c.offset), &values[i]); err != nil {
			return nil, fmt.Errorf("column '%s': %w", c.name, err)
		}
	}
	return values, nil
}

// fill makes a row of all columns.
func (r *rowType) fill(row unsafe.Pointer, values []contract.Value) error {
	if len(values) != len(r.columns) {
		return fmt.Errorf("a row of %d values came for %d columns", len(values), len(r.columns))
	}
	for i := range r.columns {
		c := &r.columns[i]
		if err := c.set(unsafe.Add(row, c.offset), &values[i]); err != nil {
			return fmt.Errorf("column '%s': %w", c.name, err)
		}
	}
	return nil
}

// column finds a column by its name.
func (r *rowType) column(name string) (int, error) {
	for i := range r.columns {
		if r.columns[i].name == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s has no column '%s'", r.goType.Name(), name)
}

// index finds an index by its name.
func (r *rowType) index(name string) (uint32, error) {
	if i := slices.Index(r.indexes, name); i >= 0 {
		return uint32(i), nil
	}
	return 0, fmt.Errorf("%s has no index '%s' (option index makes one)", r.goType.Name(), name)
}

// plainValue is the value that a Go value stands for in any column; false where that depends on the column, or on
// reflection.
func plainValue(value any, v *contract.Value) bool {
	switch value := value.(type) {
	case string:
		*v = contract.TextOf(value)
	case int:
		*v = contract.IntegerOf(int64(value))
	case int64:
		*v = contract.IntegerOf(value)
	case Decimal:
		*v = contract.DecimalOf(value)
	case Timestamp:
		*v = contract.TimestampValue(value)
	case bool:
		*v = contract.BooleanOf(value)
	case float64:
		*v = contract.RealOf(value)
	case JSON:
		*v = contract.JSONOf(string(value))
	default:
		return false
	}
	return true
}

// columnValue is the value that any other Go value stands for in a column, which may be nil. With nil, the value is there
// already, as a plain one.
func columnValue(value any, column *column, v *contract.Value) error {
	if column != nil && column.viaJSON {
		if value == nil {
			value = v.Plain()
		}
		if value == nil || column.nullable && isNil(reflect.ValueOf(value)) {
			*v = contract.Value{}
			return nil
		}
		text, err := marshal(value)
		*v = contract.JSONOf(text)
		return err
	}
	held := reflect.ValueOf(value)
	own, known := codecFor(held.Type())
	if !known {
		return fmt.Errorf("a %T is no value of a column", value)
	}
	at := reflect.New(held.Type())
	at.Elem().Set(held)
	return own.get(at.UnsafePointer(), v)
}

func isNil(value reflect.Value) bool {
	switch value.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return value.IsNil()
	default:
		return false
	}
}
