package lamphouse_test

import (
	"reflect"
	"strings"
	"testing"

	lamphouse "github.com/lamphouse/lamphouse/sdk/go"
	"github.com/lamphouse/lamphouse/sdk/go/lamphousetest"
)

type Kind string

type Thing struct {
	Group  string               `lamphouse:",key"`
	Number int32                `lamphouse:",key"`
	Flag   bool                 `lamphouse:",initial=true"`
	Kind   Kind                 `lamphouse:",index=by_kind,initial=new"`
	Weight *float64             ``
	Part   uint8                `lamphouse:",initial=7"`
	Big    uint64               `lamphouse:",initial=0"`
	Raw    []byte               `lamphouse:",index=by_kind,index=by_raw"`
	Sum    *lamphouse.Decimal   `lamphouse:",scale=38"`
	SeenAt *lamphouse.Timestamp ``
	Body   lamphouse.JSON       `lamphouse:",initial={}"`
	Tags   []string             `lamphouse:",json"`
	Other  *lamphouse.Decimal   `lamphouse:",scale=0"`
	Maybe  []string             `lamphouse:",json"`
	Cache  map[string]int       `lamphouse:"-"`
	hidden int
}

func things(handle func(*lamphouse.Event[lamphouse.JSON], *lamphouse.Tables) error) *lamphouse.Projector {
	p := lamphouse.NewProjector("things", "1.0.0")
	lamphouse.Table[Thing](p, "things")
	lamphouse.OnEvery(p, handle)
	return p
}

func TestEveryTypeOfColumnSurvives(t *testing.T) {
	whole := Thing{
		Group: "größe", Number: -5, Flag: true, Kind: "k", Weight: lamphouse.Ptr(1e300), Part: 255, Big: 1<<63 - 1,
		Raw: []byte{0, 255}, Sum: lamphouse.Ptr(lamphouse.MustDecimal("-0.12345678901234567890123456789012345678")),
		SeenAt: lamphouse.Ptr(lamphouse.MustTimestamp("0001-01-01T00:00:00.000001Z")), Body: `{"n": 9007199254740993}`,
		Tags: []string{"<a>", "b"}, Other: lamphouse.Ptr(lamphouse.MustDecimal("99999999999999999999999999999999999999")),
	}
	bare := Thing{Group: "bare", Number: 1, Flag: true, Kind: "new", Part: 7, Raw: []byte{}, Body: "{}"}
	h := lamphousetest.New(t, things(func(e *lamphouse.Event[lamphouse.JSON], tables *lamphouse.Tables) error {
		if e.Data != `{"n":[1, 9007199254740993]}` || e.DataJSON() != string(e.Data) {
			t.Errorf("data is %s", e.Data)
		}
		if err := lamphouse.Put(tables, whole); err != nil {
			return err
		}
		if err := lamphouse.Upsert[Thing](tables, lamphouse.Key{"bare", 1}, lamphouse.Set("raw", []byte{})); err != nil {
			return err
		}
		return lamphouse.Upsert[Thing](tables, lamphouse.Key{"full", int32(2)}, lamphouse.Set("flag", false),
			lamphouse.Set("kind", Kind("k")), lamphouse.Clear("weight"), lamphouse.Add("part", uint8(1)),
			lamphouse.Set("raw", []byte("x")), lamphouse.Add("sum", lamphouse.MustDecimal("0.5")),
			lamphouse.Set("seen_at", lamphouse.Timestamp(1)), lamphouse.Set("tags", []string{"t"}), lamphouse.Set("maybe", []string(nil)),
			lamphouse.Set("body", lamphouse.JSON("[]")), lamphouse.Add("other", 3))
	}))
	h.Given("thing-1", "Anything", lamphouse.JSON(`{"n":[1, 9007199254740993]}`))
	full := Thing{Group: "full", Number: 2, Kind: "k", Part: 8, Raw: []byte("x"),
		Sum:    lamphouse.Ptr(lamphouse.MustDecimal("0.50000000000000000000000000000000000000")),
		SeenAt: lamphouse.Ptr(lamphouse.Timestamp(1)), Body: "[]", Tags: []string{"t"},
		Other: lamphouse.Ptr(lamphouse.NewDecimal(3, 0))}
	if got := lamphousetest.Rows[Thing](h); !reflect.DeepEqual(got, []Thing{bare, full, whole}) {
		t.Errorf("%+v", got)
	}
	if got := lamphousetest.Find[Thing](h, "by_kind", lamphouse.Key{"k", []byte("x")}); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	if got := lamphousetest.Find[Thing](h, "by_kind", "k"); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	h.AssertSameAtAnyBatchSize()
}

func TestWrongTagsAreTold(t *testing.T) {
	type Wrong struct {
		ID     string            `lamphouse:"id"`
		Total  lamphouse.Decimal `lamphouse:"total"`
		Lines  int64             `lamphouse:"lines,initial=none,unique"`
		Tags   []string          `lamphouse:"tags"`
		Price  int64             `lamphouse:"price,scale=2"`
		hidden int64             `lamphouse:"hidden"`
	}
	p := lamphouse.NewProjector("wrong", "1.0.0")
	lamphouse.Table[Wrong](p, "wrongs")
	lamphouse.On(p, "A", shipped)
	lamphouse.On(p, "A", shipped)
	_, mistakes := p.Describe()
	all := strings.Join(mistakes, "\n")
	for _, part := range []string{
		"table 'wrongs': no field of Wrong has the option key",
		"Wrong.Total: a lamphouse.Decimal needs the number of digits",
		"Wrong.Lines: initial=none: strconv.ParseInt",
		"Wrong.Lines: 'unique' is no option",
		"Wrong.Tags: a column cannot be a []string",
		"Wrong.Price: scale= is",
		"Wrong.hidden: it is not exported",
		"a second handler of A would never be called",
	} {
		if !strings.Contains(all, part) {
			t.Errorf("not told: %s\nin %s", part, all)
		}
	}
	p = lamphouse.NewProjector("Orders", "1.0.0")
	lamphouse.Table[Order](p, "pg_orders")
	if _, mistakes := p.Describe(); len(mistakes) != 3 {
		t.Errorf("%q", mistakes)
	}
}

func TestFiltersChooseTheHandler(t *testing.T) {
	type Count struct {
		Name string `lamphouse:",key"`
		N    int    `lamphouse:",initial=0"`
	}
	count := func(name string) func(*lamphouse.Event[struct{}], *lamphouse.Tables) error {
		return func(e *lamphouse.Event[struct{}], t *lamphouse.Tables) error {
			return lamphouse.Upsert[Count](t, name, lamphouse.Add("n", 1))
		}
	}
	p := lamphouse.NewProjector("counts", "1.0.0")
	lamphouse.Table[Count](p, "counts")
	lamphouse.On(p, "A", count("A 1"), lamphouse.SchemaVersions(1))
	lamphouse.On(p, "A", count("A of s"), lamphouse.StreamType("s"))
	lamphouse.OnEvery(p, count("all of o"), lamphouse.StreamType("o"))
	h := lamphousetest.New(t, p)
	for _, event := range []lamphousetest.Event{
		{StreamID: "s-1", EventType: "A"},
		{StreamID: "s-1", EventType: "A", SchemaVersion: 2},
		{StreamID: "o-1", EventType: "A", SchemaVersion: 2},
		{StreamID: "o-1", EventType: "B"},
		{StreamID: "x-1", EventType: "A", SchemaVersion: 2},
		{StreamID: "x-1", StreamType: "o", EventType: "C"},
	} {
		h.GivenEvent(event)
	}
	want := []Count{{"A 1", 1}, {"A of s", 1}, {"all of o", 3}}
	if got := lamphousetest.Rows[Count](h); !reflect.DeepEqual(got, want) {
		t.Error(got)
	}
}

func TestNumbersOfAnyTypeKeepTheirDigits(t *testing.T) {
	p := lamphouse.NewProjector("orders", "1.0.0")
	lamphouse.Table[Order](p, "orders")
	lamphouse.On(p, "Any", func(e *lamphouse.Event[map[string]any], _ *lamphouse.Tables) error {
		var by struct {
			User any `json:"user"`
		}
		if err := e.Metadata(&by); err != nil {
			return err
		}
		return lamphouse.Errorf("%v %v", e.Data["n"], by.User)
	})
	h := lamphousetest.New(t, p)
	h.GivenEvent(lamphousetest.Event{StreamID: "o-1", EventType: "Any", Data: lamphouse.JSON(`{"n":9007199254740993}`),
		Metadata: M{"user": 12345678901234567890 - uint64(1)}})
	if got := failure(t, h).Message; got != "9007199254740993 12345678901234567889" {
		t.Error(got)
	}
}
