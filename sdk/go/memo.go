package lamphouse

import (
	"errors"
	"slices"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// memo has the rows that one call has read or changed.
//
// Every row is answered from here once it is known, with all changes of the call in it; what it became goes to the host
// once, at the end: a row that a batch touches a hundred times crosses the boundary once. A row that is only changed, never
// read, is never asked for: its changes are merged instead.
//
// The same rows come of it as of one change after the other, with one exception that no real log meets: a sum of integers
// or decimals that overflows and comes back within one call faults in one way only when the call is smaller.
type memo struct {
	tables []contract.Table
	host   contract.Host
	rows   []memoRow
	// By table, then by the bytes of the key.
	places []map[string]int
	// By table: the text that was looked for last. A handler mostly does several things to one row.
	last []lastPlace
	// The bytes of the key that is looked for.
	scratch []byte
}

// What is known of a row.
type rowState uint8

const (
	// Never read, or handed over since.
	unknown rowState = iota
	// The row as it is now; nil where there is none.
	known
	// Merged changes of a row that was never read: of an upsert, or, where it must exist, of a patch.
	pending
)

type lastPlace struct {
	text  string
	at    int
	isSet bool
}

type memoRow struct {
	table uint32
	state rowState
	// About to be read.
	asked bool
	// Known, and other than what the host has.
	dirty bool
	// Pending, and a patch.
	mustExist bool
	// Conformed, so that there is one form of each key.
	key   []contract.Value
	row   []contract.Value
	cells []contract.Cell
}

func (m *memo) begin(tables []contract.Table, host contract.Host) {
	*m = memo{tables: tables, host: host, rows: m.rows[:0], scratch: m.scratch[:0]}
	m.places = make([]map[string]int, len(tables))
	m.last = make([]lastPlace, len(tables))
	for i := range m.places {
		m.places[i] = map[string]int{}
	}
}

// place is the place of a row; made where there is none. The key must be conformed; it is copied where it is kept.
func (m *memo) place(table uint32, key []contract.Value) int {
	places := m.places[table]
	// All keys of a table have the same types, so that a text may stand for itself.
	if len(key) == 1 && key[0].Kind() == contract.Text {
		text, last := key[0].Str(), &m.last[table]
		if last.text == text && last.isSet {
			return last.at
		}
		at, ok := places[text]
		if !ok {
			at = m.insert(table, text, key)
		}
		*last = lastPlace{text, at, true}
		return at
	}
	m.scratch = contract.AppendValues(m.scratch[:0], key)
	if at, ok := places[string(m.scratch)]; ok {
		return at
	}
	return m.insert(table, string(m.scratch), key)
}

func (m *memo) insert(table uint32, bytes string, key []contract.Value) int {
	at := len(m.rows)
	m.places[table][bytes] = at
	m.rows = append(m.rows, memoRow{table: table, key: slices.Clone(key)})
	return at
}

// isUnread says whether the row must be read before it can be answered.
func (m *memo) isUnread(at int) bool { return m.rows[at].state != known }

// read makes the rows at these places known, with one read.
func (m *memo) read(places ...int) error {
	wanted := make([]int, 0, len(places))
	for _, at := range places {
		if r := &m.rows[at]; r.state != known && !r.asked {
			r.asked = true
			wanted = append(wanted, at)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	var reads []byte
	for _, at := range wanted {
		reads = contract.AppendRead(reads, m.rows[at].table, m.rows[at].key)
	}
	bytes, err := m.host.Read(reads)
	if err != nil {
		return err
	}
	answers := contract.NewReader(stringOf(bytes))
	for _, at := range wanted {
		m.rows[at].asked = false
		if !answers.More() {
			return errors.Join(errors.New("the host answered fewer rows than were asked for"), answers.Err())
		}
		row := answers.Answer()
		if err := answers.Err(); err != nil {
			return err
		}
		if err := m.learn(at, row); err != nil {
			return err
		}
	}
	return nil
}

// learn takes in what the host has, with the changes that were made meanwhile.
func (m *memo) learn(at int, row []contract.Value) (err error) {
	r := &m.rows[at]
	table := &m.tables[r.table]
	if r.state == pending {
		switch {
		case row != nil:
			err = contract.PatchRow(table, row, r.cells)
		case r.mustExist:
			err = contract.Absent(table, r.key)
		default:
			row, err = contract.UpsertRow(table, r.key, r.cells)
		}
		r.dirty, r.cells = true, nil
	}
	r.state, r.row = known, row
	return err
}

// found takes in a row that the host found.
func (m *memo) found(at int, row []contract.Value) {
	if r := &m.rows[at]; r.state == unknown {
		r.state, r.row, r.dirty = known, row, false
	}
}

// replace puts or, with nil, removes a whole row.
func (m *memo) replace(at int, row []contract.Value) error {
	// A patch of an absent row faults, even if another row comes after it.
	if r := &m.rows[at]; r.state == pending && r.mustExist {
		if err := m.read(at); err != nil {
			return err
		}
	}
	r := &m.rows[at]
	// A row known to be absent need not be removed again.
	r.dirty = row != nil || r.state != known || r.row != nil || r.dirty
	r.state, r.row, r.cells = known, row, nil
	return nil
}

// change changes cells of a row: an upsert, or, where the row must exist, a patch. The cells are the memo's from now on.
func (m *memo) change(at int, cells []contract.Cell, mustExist bool) error {
	r := &m.rows[at]
	table := &m.tables[r.table]
	switch {
	case r.state == known && r.row != nil:
		r.dirty = true
		return contract.PatchRow(table, r.row, cells)
	case r.state == known && mustExist:
		return contract.Absent(table, r.key)
	case r.state == known:
		row, err := contract.UpsertRow(table, r.key, cells)
		r.row, r.dirty = row, true
		return err
	case r.state == pending:
		// Behind either change the row exists, so that an upsert and a patch are the same now.
		merged, left, err := contract.MergeCells(table, r.cells, cells)
		if err != nil {
			return err
		}
		r.cells = merged
		if len(left) == 0 {
			return nil
		}
		cells = left
	default:
		if err := contract.ConformCells(table, cells); err != nil {
			return err
		}
		if mustExist || contract.NamesAllRequired(table, cells) {
			r.state, r.cells, r.mustExist = pending, slices.Clone(cells), mustExist
			return nil
		}
		// Only right if the row is there already, which only the host knows.
	}
	if err := m.read(at); err != nil {
		return err
	}
	return m.change(at, cells, mustExist)
}

// handOver writes what became of the rows, of one table or, below 0, of all, as packed changes; they then count as handed
// over.
func (m *memo) handOver(only int, out []byte) []byte {
	for i := range m.rows {
		r := &m.rows[i]
		if only >= 0 && int(r.table) != only {
			continue
		}
		switch {
		case r.state == pending:
			operation := contract.Upsert
			if r.mustExist {
				operation = contract.Patch
			}
			out = contract.AppendCells(out, operation, r.table, r.key, r.cells)
			r.state, r.cells = unknown, nil
		case r.state == known && r.dirty && r.row != nil:
			out = contract.AppendPut(out, r.table, r.row)
			r.dirty = false
		case r.state == known && r.dirty:
			out = contract.AppendRemove(out, r.table, r.key)
			r.dirty = false
		}
	}
	return out
}
