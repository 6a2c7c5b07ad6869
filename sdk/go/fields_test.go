package lamphouse_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	lamphouse "github.com/lamphouse/lamphouse/sdk/go"
	"github.com/lamphouse/lamphouse/sdk/go/lamphousetest"
)

type Address struct {
	City string  `json:"city"`
	Zip  *string `json:"zip"`
}

type Base struct {
	ID int32 `json:"id"`
}

type Everything struct {
	Base
	Flag    bool                `json:"flag"`
	Count   uint16              `json:"count"`
	Rate    float64             `json:"rate"`
	Price   lamphouse.Decimal   `json:"price"`
	At      lamphouse.Timestamp `json:"at"`
	Day     time.Time           `json:"day"`
	Maybe   *int64              `json:"maybe"`
	Address Address             `json:"address"`
	Tags    []string            `json:"tags"`
	Raw     lamphouse.JSON      `json:"raw"`
	Bytes   []byte              `json:"bytes"`
	More    map[string]any      `json:"more"`
	Odd     string              `json:"a/b~c"`
	User    *string             `lamphouse:"/metadata/by/user"`
	Second  string              `lamphouse:"/data/tags2/1"`
	Skipped string              `json:"-"`
	Plain   string
}

// TestDeclaredFieldsAreWhatJSONSays reads the same event by encoding/json and by declared fields, whole and handed over.
func TestDeclaredFieldsAreWhatJSONSays(t *testing.T) {
	data := lamphouse.JSON(`{"id": -7, "flag": true, "count": 65535, "rate": 2, "price": "-0.10", "at": "2024-02-29T12:00:00.5+01:00",
		"day": "2024-01-01T00:00:00Z", "maybe": 9007199254740993, "address": {"city": "K\u00f6ln", "zip": null}, "tags": ["a", "b"],
		"raw": {"x": [1 ,2]}, "bytes": "AP8=", "more": {"n": 9007199254740993}, "a/b~c": "odd", "tags2": ["x", "y"],
		"Skipped": "no", "Plain": "plain", "unknown": [{}]}`)
	type Seen struct {
		ID   string `lamphouse:",key"`
		Text string `lamphouse:"text"`
	}
	var parsed, declared []Everything
	see := func(into *[]Everything) func(*lamphouse.Event[Everything], *lamphouse.Tables) error {
		return func(e *lamphouse.Event[Everything], tables *lamphouse.Tables) error {
			*into = append(*into, e.Data)
			text, err := json.Marshal(e.Data.More)
			if err != nil {
				return err
			}
			return lamphouse.Put(tables, Seen{e.ID, string(text)})
		}
	}
	p := lamphouse.NewProjector("seen", "1.0.0")
	lamphouse.Table[Seen](p, "seen")
	lamphouse.On(p, "A", see(&parsed))
	lamphouse.OnFields(p, "B", see(&declared))
	h := lamphousetest.New(t, p)
	for _, eventType := range []string{"A", "B"} {
		h.GivenEvent(lamphousetest.Event{StreamID: "s-1", EventType: eventType, Data: data,
			Metadata: M{"by": M{"user": "ann"}}})
	}
	h.AssertSameAtAnyBatchSize()
	// What encoding/json does not know of.
	want := parsed[0]
	want.User, want.Second = lamphouse.Ptr("ann"), "y"
	if len(declared) != 3 {
		t.Fatal(len(declared))
	}
	for _, got := range declared {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nnot %+v", got, want)
		}
	}
	if got := lamphousetest.Rows[Seen](h)[1].Text; got != `{"n":9007199254740993}` {
		t.Error(got)
	}
}
