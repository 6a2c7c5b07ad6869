package contract

import (
	"reflect"
	"testing"
)

func TestGoldenRules(t *testing.T) {
	type vector struct {
		Table  *jsonTable            `json:"table"`
		Rows   [][]jsonValue         `json:"rows"`
		Change map[string]jsonChange `json:"change"`
		Fault  *string               `json:"fault"`
	}
	var table Table
	var start [][]Value
	for _, v := range golden[vector](t, "rules.json") {
		var rows [][]Value
		for _, row := range v.Rows {
			rows = append(rows, values(t, row))
		}
		if v.Table != nil {
			table, start = v.Table.table(t), rows
			continue
		}
		m := NewMemory([]Table{table})
		for _, row := range start {
			m.set(0, KeyOf(&table, row), row)
		}
		made := change(t, v.Change)
		written := AppendChange(nil, &made)
		err := m.Apply(written)
		if (err != nil) != (v.Fault != nil) {
			t.Errorf("%v gave %v", made, err)
			continue
		}
		if err != nil {
			continue
		}
		if got := m.Rows(0); !reflect.DeepEqual(got, rows) && len(got)+len(rows) > 0 {
			t.Errorf("%v gave\n%v not\n%v", made, got, rows)
		}
	}
}

func TestUndo(t *testing.T) {
	table := Table{Name: "t", Columns: []Column{{Name: "k", Kind: Integer}, {Name: "n", Kind: Integer}}, PrimaryKey: []uint32{0}}
	m := NewMemory([]Table{table})
	put := func(k, n int64) []byte { return AppendPut(nil, 0, []Value{IntegerOf(k), IntegerOf(n)}) }
	if err := m.Apply(put(1, 1)); err != nil {
		t.Fatal(err)
	}
	before := m.Rows(0)
	m.Begin()
	if err := m.Apply(append(append(put(1, 2), put(2, 2)...), AppendRemove(nil, 0, []Value{IntegerOf(1)})...)); err != nil {
		t.Fatal(err)
	}
	m.Undo()
	if !reflect.DeepEqual(m.Rows(0), before) {
		t.Error(m.Rows(0))
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0x93, 0, 0, 0x91, 1})
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		text := string(bytes)
		for r := NewReader(text); r.More(); {
			var e Event
			r.Event(&e)
		}
		for r := NewReader(text); r.More(); {
			r.Lifted()
		}
		for r := NewReader(text); r.More(); {
			r.Answer()
		}
		for r := NewReader(text); r.More(); {
			change := r.Change()
			if r.Err() != nil {
				break
			}
			// What is read can be written, and is then read as the same.
			again := NewReader(string(AppendChange(nil, &change)))
			if back := again.Change(); again.Err() != nil || !same(back, change) {
				t.Fatalf("%v %v %v", change, back, again.Err())
			}
		}
	})
}

// same compares by bytes, for a NaN is not equal to itself.
func same(one, other Change) bool {
	return string(AppendChange(nil, &one)) == string(AppendChange(nil, &other))
}

func FuzzExtract(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":[null,"2.50"]}}`)
	plan, err := NewFieldPlan([]Field{{"/data/a", Integer}, {"/data/b/c/1", DecimalKind}, {"/data/d", JSON}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := plan.Extract(text, "{}", nil)
		if err == nil && len(values) != 3 {
			t.Fatal(values)
		}
	})
}
