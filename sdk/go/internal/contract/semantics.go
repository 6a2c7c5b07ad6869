package contract

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Bytes of one key in all, and of the columns of one declared index: texts and bytes as they are, every other value 8,
// decimals 16.
const (
	KeyBytesMax   = 1_000
	IndexBytesMax = 2_000
)

func violation(format string, args ...any) error {
	return &Violation{What: fmt.Sprintf(format, args...)}
}

// KeyOf gives the values of a row's key columns.
func KeyOf(table *Table, row []Value) []Value {
	key := make([]Value, len(table.PrimaryKey))
	for i, column := range table.PrimaryKey {
		key[i] = row[column]
	}
	return key
}

// ConformKey checks a key and brings it to its one form, in place: types, not null, at most 1,000 bytes.
func ConformKey(table *Table, key []Value) error {
	if len(key) != len(table.PrimaryKey) {
		values := "values"
		if len(table.PrimaryKey) == 1 {
			values = "value"
		}
		return violation("table '%s': a key has %d %s (%s), but %d came",
			table.Name, len(table.PrimaryKey), values, names(table, table.PrimaryKey), len(key))
	}
	bytes := 0
	for i, column := range table.PrimaryKey {
		if err := Conform(table, int(column), &key[i]); err != nil {
			return err
		}
		bytes += sortBytes(&key[i])
	}
	return withinKey(table, bytes)
}

// ConformPrefix checks the first values of a declared index, and brings them to their one form, in place.
func ConformPrefix(table *Table, index uint32, prefix []Value) error {
	if int(index) >= len(table.Indexes) {
		return violation("table '%s' declares %d indexes; there is none with number %d (they count from 0)",
			table.Name, len(table.Indexes), index)
	}
	columns := table.Indexes[index]
	if len(prefix) == 0 || len(prefix) > len(columns) {
		return violation("table '%s': find by index (%s) takes 1 to %d values, but %d came",
			table.Name, names(table, columns), len(columns), len(prefix))
	}
	for i := range prefix {
		column := int(columns[i])
		if prefix[i].IsNull() {
			return violation("%s: find looks for a value, and null is none", at(table, column))
		}
		if err := Conform(table, column, &prefix[i]); err != nil {
			return err
		}
	}
	return nil
}

// ConformRow checks a whole row and brings it to its one form, in place: number of columns, types (an integer widens to
// a decimal, decimals get the declared scale, -0 becomes 0), nulls, key and indexed text within their bytes.
func ConformRow(table *Table, row []Value) error {
	if len(row) != len(table.Columns) {
		return violation("table '%s' has %d columns, but a row of %d values came",
			table.Name, len(table.Columns), len(row))
	}
	for column := range row {
		if err := Conform(table, column, &row[column]); err != nil {
			return err
		}
	}
	bytes := 0
	for _, column := range table.PrimaryKey {
		bytes += sortBytes(&row[column])
	}
	if err := withinKey(table, bytes); err != nil {
		return err
	}
	return withinIndexes(table, row)
}

// UpsertRow is the row that an upsert makes of an absent one: it starts from each column's initial value. The key must be
// conformed.
func UpsertRow(table *Table, key []Value, cells []Cell) ([]Value, error) {
	row := make([]Value, len(table.Columns))
	for i, column := range table.PrimaryKey {
		row[column] = key[i]
	}
	for column := range table.Columns {
		if initial := table.Columns[column].Initial; initial != nil {
			row[column] = *initial
			if err := Conform(table, column, &row[column]); err != nil {
				return nil, err
			}
		}
	}
	if err := applyCells(table, row, cells); err != nil {
		return nil, err
	}
	for column := range table.Columns {
		if !table.Columns[column].Nullable && row[column].IsNull() {
			return nil, violation("%s: an upsert of a new row must set it, for it is not nullable and declares no "+
				"initial value", at(table, column))
		}
	}
	return row, withinIndexes(table, row)
}

// PatchRow changes a row in place. On a violation the row is left half changed, and the caller drops it.
func PatchRow(table *Table, row []Value, cells []Cell) error {
	if err := applyCells(table, row, cells); err != nil {
		return err
	}
	return withinIndexes(table, row)
}

func applyCells(table *Table, row []Value, cells []Cell) error {
	var seen seen
	for i := range cells {
		cell := &cells[i]
		column, err := seen.column(table, cell.Column)
		if err != nil {
			return err
		}
		if cell.Adds {
			if err := add(table, column, &row[column], &cell.Value); err != nil {
				return err
			}
			continue
		}
		value := cell.Value
		if err := Conform(table, column, &value); err != nil {
			return err
		}
		row[column] = value
	}
	return nil
}

// seen has the columns that one change has named so far: one bit a column.
type seen [4]uint64

// column refuses a column that is not there, is of the key, or was named before.
func (s *seen) column(table *Table, number uint32) (int, error) {
	column := int(number)
	if column >= len(table.Columns) {
		return 0, violation("table '%s' has %d columns; there is none with number %d (they count from 0)",
			table.Name, len(table.Columns), number)
	}
	for _, key := range table.PrimaryKey {
		if key == number {
			return 0, violation("%s: it is a key column, and a row keeps its key (remove the row and put another)",
				at(table, column))
		}
	}
	word, bit := &s[min(column/64, 3)], uint64(1)<<(column%64)
	if *word&bit != 0 {
		return 0, violation("%s: one change names it twice", at(table, column))
	}
	*word |= bit
	return column, nil
}

// Conform checks one value against its column and brings it to its one form.
func Conform(table *Table, column int, v *Value) error {
	declared := &table.Columns[column]
	if v.kind == Null && declared.Nullable {
		return nil
	}
	if v.kind != declared.Kind {
		if declared.Kind != DecimalKind || v.kind != Integer {
			return mismatch(table, column, *v)
		}
		*v = DecimalOf(NewDecimal(v.Int(), 0))
	}
	switch declared.Kind {
	case TimestampKind:
		if t := v.Timestamp(); t < TimestampMin || t > TimestampMax {
			return violation("%s: %d microseconds since 1970 lie outside the years 1 to 9999, which both databases can "+
				"keep", at(table, column), int64(t))
		}
	case Text:
		if !isPlain(v.text) && (strings.IndexByte(v.text, 0) >= 0 || !utf8.ValidString(v.text)) {
			return mismatch(table, column, *v)
		}
	case Real:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return mismatch(table, column, *v)
		}
		if f == 0 {
			v.word = 0 // -0 too
		}
	case DecimalKind:
		if v.scale != declared.Scale {
			number, err := v.Decimal().Rescale(declared.Scale)
			if err != nil {
				return noFit(table, column, v.Decimal(), err)
			}
			*v = DecimalOf(number)
		}
	case JSON:
		if err := CheckJSON(v.text); err != nil {
			return violation("%s: not JSON that can be kept: %v", at(table, column), err)
		}
	}
	return nil
}

// isPlain says whether a text is of ASCII letters and the like: most are, and this is the quickest way to say that they may
// be kept.
func isPlain(text string) bool {
	for i := range len(text) {
		if letter := text[i]; letter-1 >= 0x7f {
			return false
		}
	}
	return true
}

func mismatch(table *Table, column int, v Value) error {
	declared := &table.Columns[column]
	place := at(table, column)
	switch {
	case v.kind == Null:
		return violation("%s: null came, but the column is not nullable", place)
	case v.kind == Real && declared.Kind == Real:
		return violation("%s: %v is not a finite number", place, v.Float())
	case v.kind == Text && declared.Kind == Text && !utf8.ValidString(v.text):
		return violation("%s: text must be UTF-8 (keep other bytes in a column of type bytes)", place)
	case v.kind == Text && declared.Kind == Text:
		return violation("%s: text may not contain U+0000", place)
	default:
		return violation("%s: the column is %s, but %s came", place, declared.TypeName(), v)
	}
}

func noFit(table *Table, column int, number Decimal, err error) error {
	return violation("%s: %s does not fit %s: %v", at(table, column), number, table.Columns[column].TypeName(), err)
}

// sortBytes is what a value counts in a key or an index.
func sortBytes(v *Value) int {
	switch v.kind {
	case Text, JSON, Bytes:
		return len(v.text)
	case DecimalKind:
		return 16
	default:
		return 8
	}
}

func withinKey(table *Table, bytes int) error {
	if bytes > KeyBytesMax {
		return violation("table '%s': a key (%s) has %d bytes; at most %d are allowed",
			table.Name, names(table, table.PrimaryKey), bytes, KeyBytesMax)
	}
	return nil
}

func withinIndexes(table *Table, row []Value) error {
	for _, index := range table.Indexes {
		bytes := 0
		for _, column := range index {
			bytes += sortBytes(&row[column])
		}
		if bytes > IndexBytesMax {
			return violation("table '%s': the indexed columns (%s) have %d bytes; at most %d are allowed",
				table.Name, names(table, index), bytes, IndexBytesMax)
		}
	}
	return nil
}

// at is the column as messages name it: orders.total.
func at(table *Table, column int) string {
	return named(table.Name) + "." + named(table.Columns[column].Name)
}

// named is a name, whole where it is one. Initial values are judged before the names are known to be right.
func named(name string) string { return ShownTo(name, NameBytesMax) }

func names(table *Table, columns []uint32) string {
	list := make([]string, len(columns))
	for i, column := range columns {
		list[i] = named(table.Columns[column].Name)
	}
	return strings.Join(list, ", ")
}

// Absent says that a row is not there to be patched.
func Absent(table *Table, key []Value) error {
	return violation("table '%s' has no row with key %v to patch (upsert makes one)", table.Name, key)
}
