package lamphouse

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

type thing struct {
	ID    string   `lamphouse:"id,key"`
	Group *string  `lamphouse:"group,index"`
	N     int64    `lamphouse:"n,initial=0"`
	Sum   Decimal  `lamphouse:"sum,scale=2,initial=1"`
	Real  *float64 `lamphouse:"real"`
	Must  int64    `lamphouse:"must"`
}

// TestTheMemoMakesWhatSingleChangesMake does the same random things to tables through the memo, and to tables without.
func TestTheMemoMakesWhatSingleChangesMake(t *testing.T) {
	faults := 0
	for seed := range int64(4000) {
		random := rand.New(rand.NewSource(seed))
		p := NewProjector("things", "1.0.0")
		Table[thing](p, "things")
		table := &p.descriptor.Tables[0]
		one, other := contract.NewMemory(p.descriptor.Tables), contract.NewMemory(p.descriptor.Tables)
		tables := p.Open(one)
		direct := func(change contract.Change) error { return other.Apply(contract.AppendChange(nil, &change)) }
		var history []string
		for range 12 {
			id := fmt.Sprint("t", random.Intn(3))
			key := []contract.Value{contract.TextOf(id)}
			group := fmt.Sprint("g", random.Intn(2))
			number := random.Int63n(9) - 4
			var cells []Cell
			var plain []contract.Cell
			add := func(cell Cell) {
				column, _ := p.rows[0].column(cell.column)
				made := contract.Cell{Column: uint32(column), Adds: cell.adds, Value: cell.value}
				cells, plain = append(cells, cell), append(plain, made)
			}
			if random.Intn(2) == 0 {
				add(Add("n", number))
			}
			if random.Intn(3) == 0 {
				add(Add("sum", NewDecimal(number, uint8(random.Intn(3)))))
			}
			if random.Intn(3) == 0 {
				add(Add("real", float64(number)/3))
			}
			if random.Intn(3) == 0 {
				add(Set("group", group))
			}
			if random.Intn(2) == 0 {
				add(Set("must", number))
			}
			if random.Intn(40) == 0 {
				add(Set("n", "seven"))
			}
			var err, plainErr error
			what := random.Intn(7)
			history = append(history, fmt.Sprint(what, id, cells))
			switch what {
			case 0:
				row := thing{ID: id, Group: &group, N: number, Must: 1}
				values, _ := p.rows[0].values(pointerTo(&row))
				err, plainErr = Put(tables, row), direct(contract.Change{Operation: contract.Put, Values: values})
			case 1:
				err = Patch[thing](tables, id, cells...)
				plainErr = direct(contract.Change{Operation: contract.Patch, Values: key, Cells: plain})
			case 2, 3:
				err = Upsert[thing](tables, id, cells...)
				plainErr = direct(contract.Change{Operation: contract.Upsert, Values: key, Cells: plain})
			case 4:
				err = Remove[thing](tables, id)
				plainErr = direct(contract.Change{Operation: contract.Remove, Values: key})
			case 5:
				var row *thing
				row, err = Get[thing](tables, id)
				values, _ := other.Row(0, key)
				if err == nil && (row == nil) != (values == nil) {
					t.Fatalf("seed %d: %v %v after %v", seed, row, values, history)
				}
			case 6:
				var rows []*thing
				rows, err = FindPage[thing](tables, "group", group, nil, 2)
				found, _ := other.Find(0, 0, []contract.Value{contract.TextOf(group)}, nil, 2)
				if err == nil && len(rows) != len(found) {
					t.Fatalf("seed %d: %v %v after %v", seed, rows, found, history)
				}
			}
			if plainErr != nil || err != nil {
				// A patch of a row that is not there may be told later, but the call fails.
				if err == nil {
					changes := tables.memo.handOver(-1, nil)
					err = one.Apply(changes)
				}
				if (err == nil) != (plainErr == nil) && !(plainErr == nil && contains(err, "no row with key")) {
					t.Fatalf("seed %d: %v, not %v, after %v", seed, err, plainErr, history)
				}
				faults++
				history = nil
				break
			}
		}
		if history == nil {
			continue
		}
		if err := one.Apply(tables.memo.handOver(-1, nil)); err != nil {
			t.Fatalf("seed %d: %v after %v", seed, err, history)
		}
		if difference := contract.Difference(other.Rows(0), one.Rows(0)); difference != "" {
			t.Fatalf("seed %d: %s in table %s after %v", seed, difference, table.Name, history)
		}
	}
	if faults < 100 || faults > 3900 {
		t.Errorf("%d of 4000 runs ended with a fault", faults)
	}
}

func pointerTo(row *thing) unsafe.Pointer { return unsafe.Pointer(row) }

func contains(err error, part string) bool { return err != nil && strings.Contains(err.Error(), part) }
