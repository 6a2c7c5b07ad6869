package contract

import (
	"fmt"
	"maps"
	"slices"
)

// Memory holds tables in memory, with the rules of the host: for tests.
type Memory struct {
	tables []Table
	// By the bytes of the keys that sort.
	rows []map[string][]Value
	// What the changes since Begin replaced.
	undo []func()
}

// NewMemory makes empty tables.
func NewMemory(tables []Table) *Memory {
	m := &Memory{tables: tables}
	for range tables {
		m.rows = append(m.rows, map[string][]Value{})
	}
	return m
}

// Begin forgets what could be undone.
func (m *Memory) Begin() { m.undo = nil }

// Undo takes back all changes since Begin.
func (m *Memory) Undo() {
	for _, undo := range slices.Backward(m.undo) {
		undo()
	}
	m.undo = nil
}

func (m *Memory) table(number uint32) (*Table, error) {
	if int(number) >= len(m.tables) {
		return nil, fmt.Errorf("there is no table %d", number)
	}
	return &m.tables[number], nil
}

// Row gives a row by its key, which is conformed on the way; nil where there is none.
func (m *Memory) Row(table uint32, key []Value) ([]Value, error) {
	t, err := m.table(table)
	if err != nil {
		return nil, err
	}
	key = slices.Clone(key)
	if err := ConformKey(t, key); err != nil {
		return nil, err
	}
	return m.rows[table][string(AppendOrdered(nil, key))], nil
}

// Rows gives all rows of a table, in the order of their keys.
func (m *Memory) Rows(table int) [][]Value {
	rows := make([][]Value, 0, len(m.rows[table]))
	for _, key := range slices.Sorted(maps.Keys(m.rows[table])) {
		rows = append(rows, m.rows[table][key])
	}
	return rows
}

func (m *Memory) set(table uint32, key []Value, row []Value) {
	rows, at := m.rows[table], string(AppendOrdered(nil, key))
	old, was := rows[at]
	m.undo = append(m.undo, func() {
		if was {
			rows[at] = old
		} else {
			delete(rows, at)
		}
	})
	if row == nil {
		delete(rows, at)
	} else {
		rows[at] = row
	}
}

// Apply makes packed changes, in order.
func (m *Memory) Apply(changes []byte) error {
	r := NewReader(string(changes))
	for r.More() {
		change := r.Change()
		if r.Err() != nil {
			break
		}
		if err := m.change(&change); err != nil {
			return err
		}
	}
	return r.Err()
}

func (m *Memory) change(change *Change) error {
	t, err := m.table(change.Table)
	if err != nil {
		return err
	}
	if change.Operation == Put {
		if err := ConformRow(t, change.Values); err != nil {
			return err
		}
		m.set(change.Table, KeyOf(t, change.Values), change.Values)
		return nil
	}
	old, err := m.Row(change.Table, change.Values)
	if err != nil {
		return err
	}
	if err := ConformKey(t, change.Values); err != nil {
		return err
	}
	switch {
	case change.Operation == Remove:
		m.set(change.Table, change.Values, nil)
		return nil
	case old != nil:
		row := slices.Clone(old)
		if err := PatchRow(t, row, change.Cells); err != nil {
			return err
		}
		m.set(change.Table, change.Values, row)
		return nil
	case change.Operation == Patch:
		return Absent(t, change.Values)
	default:
		row, err := UpsertRow(t, change.Values, change.Cells)
		if err != nil {
			return err
		}
		m.set(change.Table, change.Values, row)
		return nil
	}
}

// Read answers packed reads.
func (m *Memory) Read(reads []byte) ([]byte, error) {
	var answers []byte
	r := NewReader(string(reads))
	for r.More() {
		table, key := r.Read()
		if r.Err() != nil {
			break
		}
		row, err := m.Row(table, key)
		if err != nil {
			return nil, err
		}
		answers = AppendAnswer(answers, row)
	}
	return answers, r.Err()
}

// Find gives the rows of one page, in key order.
func (m *Memory) Find(table, index uint32, prefix, after []Value, limit uint32) ([][]Value, error) {
	t, err := m.table(table)
	if err != nil {
		return nil, err
	}
	prefix = slices.Clone(prefix)
	if err := ConformPrefix(t, index, prefix); err != nil {
		return nil, err
	}
	first := ""
	if after != nil {
		first = string(AppendOrdered(nil, after))
	}
	var found [][]Value
	for _, key := range slices.Sorted(maps.Keys(m.rows[table])) {
		row := m.rows[table][key]
		matches := after == nil || key > first
		for i := range prefix {
			matches = matches && row[t.Indexes[index][i]] == prefix[i]
		}
		if matches && uint32(len(found)) < limit {
			found = append(found, slices.Clone(row))
		}
	}
	return found, nil
}

// Difference says how the rows of one table differ from those of another; empty where they do not.
func Difference(one, other [][]Value) string {
	for i := range max(len(one), len(other)) {
		switch {
		case i >= len(one):
			return fmt.Sprintf("%v is not there", other[i])
		case i >= len(other):
			return fmt.Sprintf("%v is gone", one[i])
		case !slices.Equal(one[i], other[i]):
			return fmt.Sprintf("%v is %v", one[i], other[i])
		}
	}
	return ""
}
