package contract

import (
	"fmt"
	"slices"
	"strings"
)

// What a plugin may declare at the most.
const (
	// NameBytesMax leaves room for what the host adds within PostgreSQL's 63.
	NameBytesMax       = 48
	tablesMax          = 64
	columnsMax         = 200
	indexesMax         = 32
	keyColumnsMax      = 8
	indexColumnsMax    = 8
	subscriptionsMax   = 1_000
	schemaVersionsMax  = 1_000
	initialBytesMax    = 10_000
	rulesMax           = 1_000
	givesMax           = 100
	eventTypeBytesMax  = 256
	versionBytesMax    = 64
	declarationsEnough = 1_000
)

// Names that a database gives columns of its own.
var reservedColumns = []string{"cmax", "cmin", "ctid", "oid", "rowid", "tableoid", "xmax", "xmin"}

// mistakes gathers what is wrong with a declaration.
type mistakes []string

func (m *mistakes) add(format string, args ...any) { *m = append(*m, fmt.Sprintf(format, args...)) }

// Check says what is wrong with a projector's descriptor, all of it within reason; nothing where all is right. Options are
// the host's matter, but for the declared fields.
func Check(d *Descriptor) []string {
	var m mistakes
	m.name("plugin", d.Name, true)
	m.version(d.Version)
	if len(d.Subscriptions) == 0 {
		m.add("no subscription is declared, so no event would ever come (one without event type and stream type takes " +
			"every event)")
	}
	if len(d.Subscriptions) > subscriptionsMax {
		m.add("%d subscriptions are declared; at most %d are allowed", len(d.Subscriptions), subscriptionsMax)
	} else {
		for i := range d.Subscriptions {
			m.subscription(&d.Subscriptions[i])
		}
	}
	if len(d.Tables) == 0 {
		m.add("no table is declared")
	}
	if len(d.Tables) > tablesMax {
		m.add("%d tables are declared; at most %d are allowed", len(d.Tables), tablesMax)
		return m
	}
	var tables []string
	for i := range d.Tables {
		tables = append(tables, d.Tables[i].Name)
	}
	for _, name := range twice(tables) {
		m.add("table '%s' is declared twice", shown(name))
	}
	for i := range d.Tables {
		if len(m) >= declarationsEnough {
			break
		}
		m.table(&d.Tables[i])
	}
	return m
}

func (m *mistakes) subscription(s *Subscription) {
	types := []struct {
		what string
		name *string
	}{{"event type", s.EventType}, {"stream type", s.StreamType}}
	for _, t := range types {
		if t.name == nil {
			continue
		}
		if *t.name == "" {
			m.add("a subscription names an empty %s (leave it out to take any)", t.what)
		} else if isNoType(*t.name) {
			m.add("a subscription names %s '%s', which has more than %d bytes or a U+0000, as no event's has",
				t.what, shown(*t.name), eventTypeBytesMax)
		}
	}
	if len(s.SchemaVersions) > schemaVersionsMax {
		m.add("a subscription names %d schema versions; at most %d are allowed", len(s.SchemaVersions), schemaVersionsMax)
	}
	if slices.Contains(s.SchemaVersions, 0) {
		m.add("a subscription names schema version 0 (they count from 1)")
	}
}

// isNoType says whether no event can have this type, nor a stream.
func isNoType(name string) bool {
	return len(name) > eventTypeBytesMax || strings.IndexByte(name, 0) >= 0
}

func (m *mistakes) version(version string) {
	legal := version != "" && len(version) <= versionBytesMax
	for _, c := range []byte(version) {
		legal = legal && c > ' ' && c < 0x7f
	}
	if !legal {
		m.add("version '%s' must be 1 to %d visible ASCII characters", shown(version), versionBytesMax)
	}
}

// CheckUpcaster says what is wrong with an upcaster's descriptor by itself; nothing where all is right.
func CheckUpcaster(d *UpcasterDescriptor) []string {
	var m mistakes
	m.name("plugin", d.Name, true)
	m.version(d.Version)
	if len(d.Rules) == 0 {
		m.add("no rule is declared, so no event would ever come")
	}
	if len(d.Rules) > rulesMax {
		m.add("%d rules are declared; at most %d are allowed", len(d.Rules), rulesMax)
		return m
	}
	taken := map[Schema]bool{}
	for _, rule := range d.Rules {
		if len(m) >= declarationsEnough {
			break
		}
		takes := shownSchema(rule.Takes)
		if taken[rule.Takes] {
			m.add("two rules take %s", takes)
			continue
		}
		taken[rule.Takes] = true
		if len(rule.Gives) > givesMax {
			m.add("the rule that takes %s gives %d schemas; at most %d are allowed", takes, len(rule.Gives), givesMax)
			continue
		}
		m.schema(takes, rule.Takes)
		given := map[Schema]bool{}
		for _, schema := range rule.Gives {
			m.schema(takes, schema)
			if given[schema] {
				m.add("the rule that takes %s names %s twice among what it gives", takes, shownSchema(schema))
			}
			given[schema] = true
		}
	}
	return m
}

func shownSchema(s Schema) string { return fmt.Sprintf("%s %d", shown(s.EventType), s.Version) }

func (m *mistakes) schema(takes string, s Schema) {
	switch {
	case s.EventType == "":
		m.add("the rule that takes %s: an event type is empty", takes)
	case isNoType(s.EventType):
		m.add("the rule that takes %s: event type '%s' has more than %d bytes or a U+0000",
			takes, shown(s.EventType), eventTypeBytesMax)
	case s.Version == 0:
		m.add("the rule that takes %s: '%s' has schema version 0 (they count from 1)", takes, shown(s.EventType))
	}
}

func (m *mistakes) table(t *Table) {
	m.name("table", t.Name, false)
	here := fmt.Sprintf("table '%s'", shown(t.Name))
	if len(t.Columns) == 0 || len(t.Columns) > columnsMax {
		m.add("%s declares %d columns; 1 to %d are allowed", here, len(t.Columns), columnsMax)
		return
	}
	var columns []string
	for i := range t.Columns {
		m.column(here, &t.Columns[i])
		columns = append(columns, t.Columns[i].Name)
	}
	for _, name := range twice(columns) {
		m.add("%s declares column '%s' twice", here, shown(name))
	}
	m.columns(t, here, "primary key", t.PrimaryKey, keyColumnsMax)
	for _, number := range t.PrimaryKey[:min(len(t.PrimaryKey), keyColumnsMax)] {
		if int(number) >= len(t.Columns) {
			continue
		}
		column := &t.Columns[number]
		name := shown(column.Name)
		if column.Nullable {
			m.add("%s: key column '%s' is nullable; a key has no null", here, name)
		}
		if column.Kind == Real || column.Kind == JSON {
			m.add("%s: key column '%s' is real or json, which cannot be a key", here, name)
		}
		if column.Initial != nil {
			m.add("%s: key column '%s' has an initial value; a key is always given", here, name)
		}
	}
	m.indexes(t, here)
	for i := range t.Columns {
		initial := t.Columns[i].Initial
		if initial == nil {
			continue
		}
		if len(initial.text) > initialBytesMax {
			m.add("%s: the initial value of column '%s' has %d bytes; at most %d are allowed",
				here, shown(t.Columns[i].Name), len(initial.text), initialBytesMax)
			continue
		}
		value := *initial
		if err := Conform(t, i, &value); err != nil {
			m.add("initial value of %v", err)
		}
	}
}

func (m *mistakes) column(here string, c *Column) {
	name := *m
	m.name("column", c.Name, false)
	if len(name) == len(*m) && slices.Contains(reservedColumns, c.Name) {
		m.add("column name '%s' is one that databases give columns of their own", c.Name)
	}
	for i := len(name); i < len(*m); i++ {
		(*m)[i] = here + ": " + (*m)[i]
	}
	if c.Kind == DecimalKind && c.Scale > DecimalDigitsMax {
		m.add("%s: column '%s' is decimal(%d); at most %d digits after the point are allowed",
			here, shown(c.Name), c.Scale, DecimalDigitsMax)
	}
}

func (m *mistakes) indexes(t *Table, here string) {
	if len(t.Indexes) > indexesMax {
		m.add("%s declares %d indexes; at most %d are allowed", here, len(t.Indexes), indexesMax)
	}
	for number, index := range t.Indexes[:min(len(t.Indexes), indexesMax)] {
		m.columns(t, here, fmt.Sprintf("index %d", number), index, indexColumnsMax)
		if len(index) > indexColumnsMax {
			continue
		}
		isThere, hasJSON := true, false
		for _, column := range index {
			isThere = isThere && int(column) < len(t.Columns)
			hasJSON = hasJSON || int(column) < len(t.Columns) && t.Columns[column].Kind == JSON
		}
		if hasJSON {
			m.add("%s: index %d has a json column, which cannot be indexed", here, number)
		}
		same := func(other []uint32) bool { return slices.Equal(other, index) }
		if isThere && slices.ContainsFunc(t.Indexes[:number], same) {
			m.add("%s declares the index (%s) twice", here, names(t, index))
		}
	}
}

func (m *mistakes) columns(t *Table, here, what string, columns []uint32, columnsMax int) {
	if len(columns) == 0 || len(columns) > columnsMax {
		m.add("%s: the %s has %d columns; 1 to %d are allowed", here, what, len(columns), columnsMax)
		return
	}
	for _, column := range columns {
		if int(column) >= len(t.Columns) {
			m.add("%s: the %s names column %d, but there are %d (they count from 0)", here, what, column, len(t.Columns))
		}
	}
	if len(twice(columns)) > 0 {
		m.add("%s: the %s names a column twice", here, what)
	}
}

// twice gives what comes more than once, each once.
func twice[T comparable](items []T) (found []T) {
	times := map[T]int{}
	for _, item := range items {
		times[item]++
		if times[item] == 2 {
			found = append(found, item)
		}
	}
	return found
}

// name refuses what is no name: a lower-case ASCII letter first, then letters, digits and '_' (and, for plugins, '-'); at
// most 48 bytes; not of the forms that the host keeps for itself.
func (m *mistakes) name(what, name string, dashes bool) {
	legal := true
	for i, c := range []byte(name) {
		isLetter := c >= 'a' && c <= 'z'
		isSign := c >= '0' && c <= '9' || c == '_' || dashes && c == '-'
		legal = legal && (isLetter || isSign && i > 0)
	}
	switch {
	case name == "":
		m.add("a %s name is empty", what)
	case len(name) > NameBytesMax:
		m.add("%s name '%s' has %d bytes; at most %d are allowed", what, shown(name), len(name), NameBytesMax)
	case !legal:
		signs := "digits and '_'"
		if dashes {
			signs = "digits, '_' and '-'"
		}
		m.add("%s name '%s' must be lower-case ASCII: a letter first, then letters, %s", what, shown(name), signs)
	case strings.HasPrefix(name, "lamphouse"), strings.HasPrefix(name, "sqlite_"), strings.HasPrefix(name, "pg_"),
		strings.Contains(name, "__g"):
		m.add("%s name '%s' uses a reserved form ('lamphouse…', 'sqlite_…', 'pg_…', '…__g…')", what, shown(name))
	}
}
