package lamphouse_test

import (
	"strings"
	"testing"

	lamphouse "github.com/lamphouse/lamphouse/sdk/go"
	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
	"github.com/lamphouse/lamphouse/sdk/go/lamphousetest"
)

type LineV1 struct {
	SKU   string            `json:"sku"`
	Price lamphouse.Decimal `json:"price"`
}

type LineV2 struct {
	SKU        string `json:"sku"`
	PriceMinor int64  `json:"price_minor"`
}

func prices() *lamphouse.Upcaster {
	u := lamphouse.NewUpcaster("prices", "1.0.0")
	lamphouse.Rule(u, lamphouse.V("LineAdded", 1), lamphouse.Gives(lamphouse.V("LineAdded", 2)), lift)
	lamphouse.Rule(u, lamphouse.V("Posted", 1), lamphouse.Gives(lamphouse.V("Opened", 1), lamphouse.V("LineAdded", 1)), split)
	u.Renames(lamphouse.V("CustomerSignedUp", 1), lamphouse.V("CustomerRegistered", 1))
	u.Drops(lamphouse.V("CartViewed", 1))
	return u
}

func lift(e *lamphouse.Event[LineV1], today *lamphouse.Today) error {
	price, err := e.Data.Price.Rescale(2)
	if err != nil {
		return err
	}
	minor, err := price.Unscaled()
	if err != nil {
		return err
	}
	return today.Give("LineAdded", 2, LineV2{e.Data.SKU, minor})
}

func split(e *lamphouse.Event[lamphouse.JSON], today *lamphouse.Today) error {
	if err := today.GiveWithMetadata("Opened", 1, struct{}{}, M{"of": e.ID}); err != nil {
		return err
	}
	today.GiveJSON("LineAdded", 1, e.DataJSON(), e.MetadataJSON())
	return nil
}

func TestEventsAreLifted(t *testing.T) {
	h := lamphousetest.NewUpcaster(t, prices())
	event := func(eventType string, data any) lamphousetest.Event {
		return lamphousetest.Event{StreamID: "order-1", EventType: eventType, Data: data}
	}
	h.Then(h.Given(event("LineAdded", M{"sku": "<A>", "price": "2.5"})),
		lamphousetest.Event{EventType: "LineAdded", SchemaVersion: 2, Data: M{"sku": "<A>", "price_minor": 250}})
	// What comes out is lifted again.
	today := h.Given(event("Posted", M{"sku": "B", "price": 3}))
	h.Then(today,
		lamphousetest.Event{EventType: "Opened", Data: M{}},
		lamphousetest.Event{EventType: "LineAdded", SchemaVersion: 2, Data: M{"sku": "B", "price_minor": 300}})
	if !strings.Contains(today[0].Metadata, `"of":"00000000-0000-7000-8000-000000000001"`) {
		t.Error(today[0].Metadata)
	}
	text := lamphouse.JSON(`{"n": 9007199254740993, "s": "<"}`)
	if today := h.Given(event("CustomerSignedUp", text)); len(today) != 1 || today[0].Data != string(text) {
		t.Error(today)
	}
	h.Then(h.Given(event("CartViewed", nil)))
	h.Then(h.Given(event("Unknown", nil)), lamphousetest.Event{EventType: "Unknown", Data: M{}})
	_, err := h.Run(event("LineAdded", M{"price": "2.505"}))
	failure := lamphousetest.AsFailure(err)
	if failure == nil || failure.Message != "3 digits after the point where 2 are kept (nothing is rounded)" ||
		!strings.Contains(failure.Trace, "go_test.lift (") {
		t.Errorf("%#v", failure)
	}
}

func TestACallOfAnUpcasterIsPacked(t *testing.T) {
	var bytes []byte
	for _, eventType := range []string{"CartViewed", "CustomerSignedUp", "LineAdded"} {
		event := contract.Event{Data: `{"sku":"A","price":1}`, Metadata: "{}"}
		event.EventType, event.SchemaVersion = eventType, 1
		bytes = contract.AppendEvent(bytes, &event)
	}
	out, failure := prices().Call(bytes)
	if failure != nil {
		t.Fatal(failure)
	}
	r := contract.NewReader(string(out))
	if got := r.Lifted(); len(got) != 0 {
		t.Error(got)
	}
	if got := r.Lifted(); len(got) != 1 || got[0].Data != nil || got[0].Schema != lamphouse.V("CustomerRegistered", 1) {
		t.Error(got)
	}
	if got := r.Lifted(); len(got) != 1 || *got[0].Data != `{"sku":"A","price_minor":100}` || got[0].Metadata != nil {
		t.Error(got)
	}
	if r.More() || r.Err() != nil {
		t.Error(r.Err())
	}
	if _, failure := prices().Call(bytes[:len(bytes)-1]); failure == nil || failure.Index != -1 {
		t.Error(failure)
	}
}

func TestAnIgnoredFailureFailsTheCall(t *testing.T) {
	u := lamphouse.NewUpcaster("bad", "1.0.0")
	lamphouse.Rule(u, lamphouse.V("A", 1), nil, func(_ *lamphouse.Event[struct{}], today *lamphouse.Today) error {
		_ = today.Give("B", 1, func() {})
		return nil
	})
	_, err := lamphousetest.NewUpcaster(t, u).Run(lamphousetest.Event{StreamID: "s", EventType: "A"})
	if err == nil || !strings.Contains(err.Error(), "writing an event as JSON: json: unsupported type: func()") {
		t.Error(err)
	}
}
