package lamphouse

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// Rows that one page of [Find] asks the host for.
const findPageRows = 1_000

// Tables are the projector's own tables, for the time of one call: [Get], [GetMany], [Find], [FindPage], [Put], [Patch],
// [Upsert] and [Remove] take them.
//
// Reads see every change made before them. All changes of the call go in together, or, if the call fails, not at all. A
// change that the table's declaration does not allow fails the call, even if its error is ignored.
type Tables struct {
	projector *Projector
	memo      memo
	// The first change that was not allowed.
	broken error
	// Room for the key and the cells of one change.
	key   []contract.Value
	cells []contract.Cell
}

// Key is a key, or the first values of an index, of several columns: Key{"order-1", 3}. A single column's value stands for
// itself.
type Key []any

// Cell is a change of one cell: made by [Set], [Clear] and [Add], taken by [Patch] and [Upsert].
type Cell struct {
	column string
	value  contract.Value
	// Where the value depends on its column.
	other any
	adds  bool
}

// Number is what [Add] adds.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64 | Decimal
}

// Set replaces the value of a column.
func Set[T any](column string, value T) Cell { return newCell(column, value, false) }

// Clear makes the value of a column null.
func Clear(column string) Cell { return Cell{column: column} }

// Add adds to the value of a column: an integer, a float64 or a [Decimal]. Null counts as 0. A sum that does not fit fails
// the call.
func Add[T Number](column string, value T) Cell { return newCell(column, value, true) }

func newCell[T any](column string, value T, adds bool) Cell {
	cell := Cell{column: column, adds: adds}
	if !plainValue(value, &cell.value) {
		cell.other = value
	}
	return cell
}

// Get gives a row by its key; nil where there is none.
func Get[R, K any](t *Tables, key K) (*R, error) {
	r, at, err := place[R](t, key)
	if err != nil {
		return nil, t.fail(err)
	}
	if t.memo.isUnread(at) {
		if err := t.memo.read(at); err != nil {
			return nil, t.fail(err)
		}
	}
	return rowAt[R](t, r, at)
}

// GetMany gives rows by their keys, read together: in the order of the keys, nil where there is none.
func GetMany[R, K any](t *Tables, keys []K) ([]*R, error) {
	var r *rowType
	places := make([]int, 0, len(keys))
	for _, key := range keys {
		of, at, err := place[R](t, key)
		if err != nil {
			return nil, t.fail(err)
		}
		r, places = of, append(places, at)
	}
	if err := t.memo.read(places...); err != nil {
		return nil, t.fail(err)
	}
	rows := make([]*R, len(places))
	for i, at := range places {
		row, err := rowAt[R](t, r, at)
		if err != nil {
			return nil, err
		}
		rows[i] = row
	}
	return rows, nil
}

// Find gives all rows whose first indexed columns have these values (one, or a [Key]), in the order of their keys. The
// index has the name of its column, unless its tag says another. For groups too large to hold at once, use [FindPage].
func Find[R any](t *Tables, index string, values any) ([]*R, error) {
	var rows []*R
	for {
		var after *R
		if len(rows) > 0 {
			after = rows[len(rows)-1]
		}
		page, err := FindPage(t, index, values, after, findPageRows)
		if err != nil {
			return nil, err
		}
		rows = append(rows, page...)
		if len(page) < findPageRows {
			return rows, nil
		}
	}
}

// FindPage gives one page of [Find]: at most limit rows, those after the row after in the order of their keys; nil begins
// with the first.
func FindPage[R any](t *Tables, index string, values any, after *R, limit int) ([]*R, error) {
	r, found, err := t.find(rowOf[R](), index, values, unsafe.Pointer(after), limit)
	if err != nil {
		return nil, t.fail(err)
	}
	rows := make([]*R, len(found))
	for i, values := range found {
		rows[i] = new(R)
		if err := r.fill(unsafe.Pointer(rows[i]), values); err != nil {
			return nil, t.fail(err)
		}
	}
	return rows, nil
}

// Put inserts a row, or replaces the one with its key.
func Put[R any](t *Tables, row R) error {
	return t.fail(t.put(rowOf[R](), unsafe.Pointer(&row)))
}

// Patch changes cells of a row that must be there; an absent one fails the call.
func Patch[R, K any](t *Tables, key K, cells ...Cell) error {
	return change[R](t, key, cells, true)
}

// Upsert changes cells of a row; an absent one is made first, from each column's initial value. The row need not be read
// before: sums over rows that nobody looks at cost least this way.
func Upsert[R, K any](t *Tables, key K, cells ...Cell) error {
	return change[R](t, key, cells, false)
}

// Remove removes a row, if it is there.
func Remove[R, K any](t *Tables, key K) error {
	_, at, err := place[R](t, key)
	if err == nil {
		err = t.memo.replace(at, nil)
	}
	return t.fail(err)
}

// rowOf names the type of a row: that of a pointer to it, which is the quickest to come by.
func rowOf[R any]() reflect.Type { return reflect.TypeOf((*R)(nil)) }

// place is the place of a row in the memo.
func place[R, K any](t *Tables, key K) (*rowType, int, error) {
	t.key = append(t.key[:0], contract.Value{})
	if plainValue(key, &t.key[0]) {
		return t.place(rowOf[R](), nil)
	}
	return t.place(rowOf[R](), key)
}

func change[R, K any](t *Tables, key K, cells []Cell, mustExist bool) error {
	r, at, err := place[R](t, key)
	if err != nil {
		return t.fail(err)
	}
	return t.fail(t.change(r, at, cells, mustExist))
}

func rowAt[R any](t *Tables, r *rowType, at int) (*R, error) {
	values := t.memo.rows[at].row
	if values == nil {
		return nil, nil
	}
	row := new(R)
	if err := r.fill(unsafe.Pointer(row), values); err != nil {
		return nil, t.fail(err)
	}
	return row, nil
}

// fail remembers the first failure, so that the call fails even if the projector goes on.
func (t *Tables) fail(err error) error {
	if err == nil {
		return nil
	}
	err = madeHere(err)
	if t.broken == nil {
		t.broken = err
	}
	return err
}

// of finds the table whose rows have this type.
func (t *Tables) of(of reflect.Type) (*rowType, error) { return t.projector.rowType(of) }

// place is the place of a row in the memo. Its key is in t.key, unless another is given.
func (t *Tables) place(of reflect.Type, key any) (*rowType, int, error) {
	r, err := t.of(of)
	if err != nil {
		return nil, 0, err
	}
	table := &t.memo.tables[r.number]
	if key != nil {
		if t.key, err = appendKey(t.key[:0], r, table.PrimaryKey, key); err != nil {
			return nil, 0, err
		}
	}
	if err := contract.ConformKey(table, t.key); err != nil {
		return nil, 0, err
	}
	return r, t.memo.place(r.number, t.key), nil
}

// appendKey gives the values that a key, or the first values of an index, stands for.
func appendKey(values []contract.Value, r *rowType, columns []uint32, key any) ([]contract.Value, error) {
	single := [1]any{key}
	parts := single[:]
	if several, ok := key.(Key); ok {
		parts = several
	}
	for i, part := range parts {
		var of *column
		if i < len(columns) {
			of = &r.columns[columns[i]]
		}
		values = append(values, contract.Value{})
		value := &values[len(values)-1]
		if part == nil || plainValue(part, value) {
			continue
		}
		if err := columnValue(part, of, value); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (t *Tables) put(of reflect.Type, row unsafe.Pointer) error {
	r, err := t.of(of)
	if err != nil {
		return err
	}
	values, err := r.values(row)
	if err != nil {
		return err
	}
	table := &t.memo.tables[r.number]
	if err := contract.ConformRow(table, values); err != nil {
		return err
	}
	t.key = t.key[:0]
	for _, column := range table.PrimaryKey {
		t.key = append(t.key, values[column])
	}
	return t.memo.replace(t.memo.place(r.number, t.key), values)
}

func (t *Tables) change(r *rowType, at int, cells []Cell, mustExist bool) error {
	t.cells = t.cells[:0]
	for i := range cells {
		cell := &cells[i]
		number, err := r.column(cell.column)
		if err != nil {
			return err
		}
		t.cells = append(t.cells, contract.Cell{Column: uint32(number), Adds: cell.adds, Value: cell.value})
		column := &r.columns[number]
		if cell.other != nil || column.viaJSON {
			if err := columnValue(cell.other, column, &t.cells[i].Value); err != nil {
				return fmt.Errorf("column '%s': %w", cell.column, err)
			}
		}
	}
	return t.memo.change(at, t.cells, mustExist)
}

func (t *Tables) find(of reflect.Type, index string, values any, after unsafe.Pointer, limit int) (*rowType, [][]contract.Value, error) {
	r, err := t.of(of)
	if err != nil {
		return nil, nil, err
	}
	number, err := r.index(index)
	if err != nil {
		return nil, nil, err
	}
	table := &t.memo.tables[r.number]
	prefix, err := appendKey(nil, r, table.Indexes[number], values)
	if err != nil {
		return nil, nil, err
	}
	if err := contract.ConformPrefix(table, number, prefix); err != nil {
		return nil, nil, err
	}
	var afterKey []contract.Value
	if after != nil {
		row, err := r.values(after)
		if err != nil {
			return nil, nil, err
		}
		afterKey = contract.KeyOf(table, row)
		if err := contract.ConformKey(table, afterKey); err != nil {
			return nil, nil, err
		}
	}
	if limit < 1 {
		return nil, nil, fmt.Errorf("a page of %d rows was asked for", limit)
	}
	// Only the host has the index, so it has to know what this call changed.
	if changes := t.memo.handOver(int(r.number), nil); len(changes) > 0 {
		if err := t.memo.host.Apply(changes); err != nil {
			return nil, nil, err
		}
	}
	found, err := t.memo.host.Find(r.number, number, prefix, afterKey, uint32(min(limit, 1<<31)))
	if err != nil {
		return nil, nil, err
	}
	for _, row := range found {
		t.memo.found(t.memo.place(r.number, contract.KeyOf(table, row)), row)
	}
	return r, found, nil
}

// Wanted are the rows that a batch will read, named ahead by [Want].
type Wanted struct {
	tables *Tables
	places []int
}

// Want names a row that the handler of this event will read: those of a whole batch are read together. It saves time, and
// changes no row.
func Want[R, K any](w *Wanted, key K) {
	// A table that is not declared is told when it is used, and so is a key that cannot be one.
	if _, at, err := place[R](w.tables, key); err == nil {
		w.places = append(w.places, at)
	}
}
