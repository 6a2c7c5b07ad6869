package contract

// add adds to one value; null counts as 0.
func add(table *Table, column int, old, more *Value) error {
	declared := &table.Columns[column]
	overflow := func() error {
		return violation("%s: the sum does not fit %s", at(table, column), declared.TypeName())
	}
	switch declared.Kind {
	case Integer:
		if more.kind != Integer || old.kind != Integer && old.kind != Null {
			return notAddable(table, column, *more)
		}
		var sum int64
		if old.kind == Integer {
			sum = old.Int()
		}
		total := sum + more.Int()
		if (total > sum) != (more.Int() > 0) && more.Int() != 0 {
			return overflow()
		}
		*old = IntegerOf(total)
	case Real:
		if more.kind != Real || old.kind != Real && old.kind != Null {
			return notAddable(table, column, *more)
		}
		sum := RealOf(more.Float())
		if old.kind == Real {
			sum = RealOf(old.Float() + more.Float())
		}
		if Conform(table, column, &sum) != nil {
			return overflow()
		}
		*old = sum
	case DecimalKind:
		var number Decimal
		switch more.kind {
		case Integer:
			number = NewDecimal(more.Int(), 0)
		case DecimalKind:
			number = more.Decimal()
		default:
			return notAddable(table, column, *more)
		}
		number, err := number.Rescale(declared.Scale)
		if err != nil {
			if more.kind == Integer {
				return noFit(table, column, NewDecimal(more.Int(), 0), err)
			}
			return noFit(table, column, more.Decimal(), err)
		}
		if old.kind == DecimalKind {
			if number, err = old.Decimal().Add(number); err != nil {
				return overflow()
			}
		}
		*old = DecimalOf(number)
	default:
		return notAddable(table, column, *more)
	}
	return nil
}

func notAddable(table *Table, column int, v Value) error {
	declared := &table.Columns[column]
	switch declared.Kind {
	case Integer, Real, DecimalKind:
		return violation("%s: cannot add %s to a column of type %s", at(table, column), v, declared.TypeName())
	default:
		return violation("%s: the column is %s, which is only set, never added to", at(table, column), declared.TypeName())
	}
}

// ConformCells checks the cells of one change and brings them to their one form, in place, as far as that goes without
// their row: an addition may still overflow there.
func ConformCells(table *Table, cells []Cell) error {
	var seen seen
	for i := range cells {
		column, err := seen.column(table, cells[i].Column)
		if err != nil {
			return err
		}
		if err := conformCell(table, column, &cells[i]); err != nil {
			return err
		}
	}
	return nil
}

func conformCell(table *Table, column int, cell *Cell) error {
	if !cell.Adds {
		return Conform(table, column, &cell.Value)
	}
	// What it would make of nothing is what it adds, in the column's form.
	var sum Value
	if err := add(table, column, &sum, &cell.Value); err != nil {
		return err
	}
	cell.Value = sum
	return nil
}

// NamesAllRequired says whether the cells name every column that a new row must be given: not nullable, without an
// initial value.
func NamesAllRequired(table *Table, cells []Cell) bool {
	for i := range table.Columns {
		column := &table.Columns[i]
		if column.Nullable || column.Initial != nil {
			continue
		}
		named := false
		for _, key := range table.PrimaryKey {
			named = named || int(key) == i
		}
		for c := range cells {
			named = named || int(cells[c].Column) == i
		}
		if !named {
			return false
		}
	}
	return true
}

// MergeCells makes one list of two: the same row comes of it as of earlier and then later. Earlier must be conformed;
// later is checked on the way, and on a violation both are of no use. It also gives, conformed, those of later that do not
// merge, for the row must be known: two sums of reals (their order counts), and sums that overflow.
func MergeCells(table *Table, earlier, later []Cell) (merged, left []Cell, err error) {
	var seen seen
	for place := range later {
		cell := later[place]
		column, err := seen.column(table, cell.Column)
		if err != nil {
			return nil, nil, err
		}
		// Changes of one row mostly name the same columns in the same order.
		at := -1
		if place < len(earlier) && earlier[place].Column == cell.Column {
			at = place
		} else {
			for i := range earlier {
				if earlier[i].Column == cell.Column {
					at = i
					break
				}
			}
		}
		if at < 0 {
			if err := conformCell(table, column, &cell); err != nil {
				return nil, nil, err
			}
			earlier = append(earlier, cell)
			continue
		}
		before := &earlier[at]
		if !cell.Adds {
			if err := conformCell(table, column, &cell); err != nil {
				return nil, nil, err
			}
			*before = cell
			continue
		}
		// Two sums of reals depend on their order.
		merges := !before.Adds || table.Columns[column].Kind != Real
		if !merges || add(table, column, &before.Value, &cell.Value) != nil {
			if err := conformCell(table, column, &cell); err != nil {
				return nil, nil, err
			}
			left = append(left, cell)
		}
	}
	return earlier, left, nil
}
