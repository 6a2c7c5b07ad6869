package contract

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
)

// golden reads a file of wit/golden, which the SDKs of all languages share.
func golden[T any](t *testing.T, name string) []T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "wit", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []T
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	return vectors
}

type jsonValue struct {
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

func (j jsonValue) value(t *testing.T) Value {
	t.Helper()
	var text string
	if j.Type != "null" && j.Type != "boolean" && j.Type != "real" {
		if err := json.Unmarshal(j.Value, &text); err != nil {
			t.Fatalf("%s: %v", j.Value, err)
		}
	}
	number := func() int64 {
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return number
	}
	switch j.Type {
	case "null":
		return Value{}
	case "boolean":
		return BooleanOf(string(j.Value) == "true")
	case "integer":
		return IntegerOf(number())
	case "real":
		var f float64
		if err := json.Unmarshal(j.Value, &f); err != nil {
			t.Fatal(err)
		}
		if string(j.Value) == "-0.0" {
			f = math.Copysign(0, -1)
		}
		return RealOf(f)
	case "decimal":
		return DecimalOf(MustDecimal(text))
	case "text":
		return TextOf(text)
	case "bytes":
		return BytesOf(string(unhex(t, text)))
	case "timestamp":
		return TimestampValue(Timestamp(number()))
	case "json":
		return JSONOf(text)
	}
	t.Fatalf("type %s is unknown", j.Type)
	return Value{}
}

func values(t *testing.T, list []jsonValue) []Value {
	out := []Value{}
	for _, j := range list {
		out = append(out, j.value(t))
	}
	return out
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	bytes, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

type jsonCell struct {
	Column uint32     `json:"column"`
	Set    *jsonValue `json:"set"`
	Add    *jsonValue `json:"add"`
}

type jsonChange struct {
	Table uint32      `json:"table"`
	Row   []jsonValue `json:"row"`
	Key   []jsonValue `json:"key"`
	Cells []jsonCell  `json:"cells"`
}

func change(t *testing.T, j map[string]jsonChange) Change {
	operations := map[string]Operation{"put": Put, "patch": Patch, "upsert": Upsert, "remove": Remove}
	for name, body := range j {
		made := Change{Operation: operations[name], Table: body.Table, Values: values(t, append(body.Row, body.Key...))}
		for _, cell := range body.Cells {
			if cell.Add != nil {
				made.Cells = append(made.Cells, Cell{cell.Column, true, cell.Add.value(t)})
			} else {
				made.Cells = append(made.Cells, Cell{cell.Column, false, cell.Set.value(t)})
			}
		}
		if made.Cells == nil && (name == "patch" || name == "upsert") {
			made.Cells = []Cell{}
		}
		return made
	}
	t.Fatal("no change")
	return Change{}
}

type jsonEvent struct {
	Position      uint64 `json:"position,string"`
	Part          uint32 `json:"part"`
	ID            string `json:"id"`
	StreamID      string `json:"stream_id"`
	StreamType    string `json:"stream_type"`
	StreamVersion uint64 `json:"stream_version,string"`
	EventType     string `json:"event_type"`
	SchemaVersion uint32 `json:"schema_version"`
	Data          string `json:"data"`
	Metadata      string `json:"metadata"`
	OccurredAt    int64  `json:"occurred_at,string"`
	RecordedAt    int64  `json:"recorded_at,string"`
}

func (j jsonEvent) event() Event {
	header := Header{Position: j.Position, Part: j.Part, ID: j.ID, StreamID: j.StreamID, StreamType: j.StreamType,
		StreamVersion: j.StreamVersion, EventType: j.EventType, SchemaVersion: j.SchemaVersion,
		OccurredAt: Timestamp(j.OccurredAt), RecordedAt: Timestamp(j.RecordedAt)}
	return Event{Header: header, Data: j.Data, Metadata: j.Metadata}
}

// check compares what was written and what was read.
func check(t *testing.T, written, due []byte, read, want any, r *Reader) {
	t.Helper()
	if string(written) != string(due) {
		t.Errorf("%v\nis written %x\n       not %x", want, written, due)
	}
	if r.Err() != nil || r.More() {
		t.Errorf("%x: %v", due, r.Err())
	}
	if !reflect.DeepEqual(read, want) {
		t.Errorf("%x is read as\n%#v not\n%#v", due, read, want)
	}
}

func TestGoldenValues(t *testing.T) {
	type vector struct {
		Value jsonValue `json:"value"`
		Hex   string    `json:"hex"`
	}
	for _, v := range golden[vector](t, "values.json") {
		due, want := unhex(t, v.Hex), v.Value.value(t)
		r := NewReader(string(due))
		var read Value
		r.Value(&read)
		check(t, AppendValue(nil, &want), due, read, want, r)
	}
}

func TestGoldenEvents(t *testing.T) {
	type vector struct {
		Event jsonEvent `json:"event"`
		Hex   string    `json:"hex"`
	}
	for _, v := range golden[vector](t, "events.json") {
		due, want := unhex(t, v.Hex), v.Event.event()
		r := NewReader(string(due))
		var read Event
		r.Event(&read)
		check(t, AppendEvent(nil, &want), due, read, want, r)
	}
}

func TestGoldenFields(t *testing.T) {
	type vector struct {
		Option string      `json:"option"`
		Event  jsonEvent   `json:"event"`
		Values []jsonValue `json:"values"`
		Hex    string      `json:"hex"`
	}
	type spelled struct {
		EventType string `json:"event_type"`
		Fields    []struct {
			Path string `json:"path"`
			Type string `json:"type"`
		} `json:"fields"`
	}
	for _, v := range golden[vector](t, "fields.json") {
		var option []spelled
		if err := json.Unmarshal([]byte(v.Option), &option); err != nil {
			t.Fatal(err)
		}
		event := v.Event.event()
		due := unhex(t, v.Hex)
		var declared []EventFields
		for _, of := range option {
			one := EventFields{EventType: of.EventType}
			for _, field := range of.Fields {
				for kind, name := range kindNames {
					if name == field.Type {
						one.Fields = append(one.Fields, Field{field.Path, Kind(kind)})
					}
				}
			}
			declared = append(declared, one)
			if of.EventType != event.EventType {
				continue
			}
			plan, err := NewFieldPlan(one.Fields)
			if err != nil {
				t.Fatal(err)
			}
			values_, err := plan.Extract(event.Data, event.Metadata, nil)
			if (err != nil) != (v.Values == nil) {
				t.Errorf("%s of %s: %v", v.Option, event.Data, err)
			}
			if err == nil && v.Values != nil {
				if want := values(t, v.Values); !reflect.DeepEqual(append([]Value{}, values_...), want) {
					t.Errorf("%s of %s gave %v, not %v", v.Option, event.Data, values_, want)
				}
				var fields []byte
				for i := range values_ {
					fields = AppendValue(fields, &values_[i])
				}
				event.Data, event.Metadata, event.Fields, event.HasFields = "", "", string(fields), true
			}
		}
		if got := SpellFields(declared); got != v.Option {
			t.Errorf("spelled %s, not %s", got, v.Option)
		}
		r := NewReader(string(due))
		var read Event
		r.Event(&read)
		check(t, AppendEvent(nil, &event), due, read, event, r)
	}
}

func TestGoldenChanges(t *testing.T) {
	type vector struct {
		Change map[string]jsonChange `json:"change"`
		Hex    string                `json:"hex"`
	}
	for _, v := range golden[vector](t, "changes.json") {
		due, want := unhex(t, v.Hex), change(t, v.Change)
		r := NewReader(string(due))
		read := r.Change()
		check(t, AppendChange(nil, &want), due, read, want, r)
	}
}

func TestGoldenLifted(t *testing.T) {
	type vector struct {
		Lifted []struct {
			EventType     string  `json:"event_type"`
			SchemaVersion uint32  `json:"schema_version"`
			Data          *string `json:"data"`
			Metadata      *string `json:"metadata"`
		} `json:"lifted"`
		Hex string `json:"hex"`
	}
	for _, v := range golden[vector](t, "lifted.json") {
		due, want := unhex(t, v.Hex), []Lifted{}
		for _, l := range v.Lifted {
			want = append(want, Lifted{Schema{l.EventType, l.SchemaVersion}, l.Data, l.Metadata})
		}
		r := NewReader(string(due))
		read := r.Lifted()
		check(t, AppendLifted(nil, want), due, read, want, r)
	}
}

func TestGoldenReads(t *testing.T) {
	type vector struct {
		Read      jsonChange   `json:"read"`
		Hex       string       `json:"hex"`
		Answer    *[]jsonValue `json:"answer"`
		AnswerHex string       `json:"answer_hex"`
	}
	for _, v := range golden[vector](t, "reads.json") {
		due, want := unhex(t, v.Hex), values(t, v.Read.Key)
		r := NewReader(string(due))
		table, key := r.Read()
		check(t, AppendRead(nil, v.Read.Table, want), due, key, want, r)
		if table != v.Read.Table {
			t.Errorf("table %d, not %d", table, v.Read.Table)
		}
		due = unhex(t, v.AnswerHex)
		var row []Value
		if v.Answer != nil {
			row = values(t, *v.Answer)
		}
		r = NewReader(string(due))
		answer := r.Answer()
		check(t, AppendAnswer(nil, row), due, answer, row, r)
	}
}

func TestGoldenDecimals(t *testing.T) {
	type vector struct {
		Parse   *string           `json:"parse"`
		Add     []string          `json:"add"`
		Times   []string          `json:"times"`
		Rescale []json.RawMessage `json:"rescale"`
		Compare []string          `json:"compare"`
		Is      json.RawMessage   `json:"is"`
	}
	for _, v := range golden[vector](t, "decimals.json") {
		var d Decimal
		var err error
		switch {
		case v.Parse != nil:
			d, err = ParseDecimal(*v.Parse)
		case v.Add != nil:
			d, err = MustDecimal(v.Add[0]).Add(MustDecimal(v.Add[1]))
		case v.Times != nil:
			count, parseErr := strconv.ParseInt(v.Times[1], 10, 64)
			if parseErr != nil {
				t.Fatal(parseErr)
			}
			d, err = MustDecimal(v.Times[0]).Times(count)
		case v.Rescale != nil:
			var number string
			var scale uint8
			if json.Unmarshal(v.Rescale[0], &number) != nil || json.Unmarshal(v.Rescale[1], &scale) != nil {
				t.Fatal(v)
			}
			d, err = MustDecimal(number).Rescale(scale)
		case v.Compare != nil:
			if got := MustDecimal(v.Compare[0]).Cmp(MustDecimal(v.Compare[1])); strconv.Itoa(got) != string(v.Is) {
				t.Errorf("%v compare as %d, not %s", v.Compare, got, v.Is)
			}
			continue
		}
		got := "null"
		if err == nil {
			got = `"` + d.String() + `"`
		}
		if got != string(v.Is) {
			t.Errorf("%+v is %s, not %s (%v)", v, got, v.Is, err)
		}
	}
}

func TestGoldenTimestamps(t *testing.T) {
	type vector struct {
		Text      string  `json:"text"`
		Micros    *string `json:"micros"`
		Canonical *string `json:"canonical"`
	}
	for _, v := range golden[vector](t, "timestamps.json") {
		moment, err := ParseTimestamp(v.Text)
		if v.Micros == nil {
			if err == nil {
				t.Errorf("%s was taken as %s", v.Text, moment)
			}
			continue
		}
		if err != nil || strconv.FormatInt(int64(moment), 10) != *v.Micros || moment.String() != *v.Canonical {
			t.Errorf("%s is %d, %s (%v), not %s, %s", v.Text, moment, moment, err, *v.Micros, *v.Canonical)
		}
	}
}

type jsonTable struct {
	Name    string `json:"name"`
	Columns []struct {
		Name     string     `json:"name"`
		Type     string     `json:"type"`
		Scale    *uint8     `json:"scale"`
		Nullable bool       `json:"nullable"`
		Initial  *jsonValue `json:"initial"`
	} `json:"columns"`
	PrimaryKey []uint32   `json:"primary_key"`
	Indexes    [][]uint32 `json:"indexes"`
}

func (j jsonTable) table(t *testing.T) Table {
	made := Table{Name: j.Name, PrimaryKey: j.PrimaryKey, Indexes: j.Indexes}
	for _, c := range j.Columns {
		column := Column{Name: c.Name, Nullable: c.Nullable}
		for kind, name := range kindNames {
			if name == c.Type {
				column.Kind = Kind(kind)
			}
		}
		if c.Scale != nil {
			column.Scale = *c.Scale
		}
		if c.Initial != nil {
			initial := c.Initial.value(t)
			column.Initial = &initial
		}
		made.Columns = append(made.Columns, column)
	}
	return made
}

func TestGoldenDeclarations(t *testing.T) {
	type vector struct {
		Plugin struct {
			Name          string `json:"name"`
			Version       string `json:"version"`
			Subscriptions []struct {
				EventType      *string  `json:"event_type"`
				StreamType     *string  `json:"stream_type"`
				SchemaVersions []uint32 `json:"schema_versions"`
			} `json:"subscriptions"`
			Tables []jsonTable `json:"tables"`
		} `json:"plugin"`
		Errors []string `json:"errors"`
	}
	for _, v := range golden[vector](t, "declarations.json") {
		d := Descriptor{Name: v.Plugin.Name, Version: v.Plugin.Version}
		for _, s := range v.Plugin.Subscriptions {
			d.Subscriptions = append(d.Subscriptions, Subscription(s))
		}
		for _, table := range v.Plugin.Tables {
			d.Tables = append(d.Tables, table.table(t))
		}
		got := Check(&d)
		if len(got) != len(v.Errors) {
			t.Errorf("%q\nnot %q", got, v.Errors)
		}
	}
}
