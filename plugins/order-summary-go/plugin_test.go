package main

import (
	"reflect"
	"strings"
	"testing"

	lamphouse "github.com/lamphouse/lamphouse/sdk/go"
	"github.com/lamphouse/lamphouse/sdk/go/lamphousetest"
)

type M = lamphousetest.M

func header(customer any) M {
	return M{"invoice_no": "1", "customer_id": customer, "country": "EIRE", "currency": "GBP"}
}

func line(quantity int, unitPrice string) M {
	return M{"line_no": 1, "sku": "22423", "description": "CAKE \"STAND\"", "quantity": quantity, "unit_price": unitPrice}
}

func both(one, other M) M {
	all := M{}
	for _, part := range []M{one, other} {
		for name, value := range part {
			all[name] = value
		}
	}
	return all
}

func pounds(text string) lamphouse.Decimal { return lamphouse.MustDecimal(text) }

func TestAnOrderAndItsCreditNoteAreTwoRowsOfOneCustomer(t *testing.T) {
	h := lamphousetest.New(t, newProjector())
	h.Given("order-1", "OrderPlaced", header("17850"))
	h.Given("order-1", "LineAdded", line(6, "2.55"))
	h.Given("order-1", "LineAdded", line(1, "0.001"))
	h.Given("order-C2", "OrderCancelled", header("17850"))
	h.Given("order-C2", "LineReturned", line(-2, "2.55"))

	customer := lamphouse.Ptr("17850")
	want := []Order{
		{"order-1", customer, "EIRE", 2, 7, pounds("15.301"), "placed", lamphouse.MustTimestamp("2024-01-01T00:00:01Z")},
		{"order-C2", customer, "EIRE", 1, -2, pounds("-5.100"), "credited", lamphouse.MustTimestamp("2024-01-01T00:00:04Z")},
	}
	if got := lamphousetest.Rows[Order](h); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	sums := Customer{"17850", 2, 3, 5, pounds("10.201"), pounds("15.301"), pounds("-5.100")}
	if got := lamphousetest.Row[Customer](h, "17850"); *got != sums {
		t.Errorf("%+v", got)
	}
	h.AssertSameAtAnyBatchSize()
}

func TestLiftedEventsGiveTheSameRowsAsStoredOnes(t *testing.T) {
	stored := lamphousetest.New(t, newProjector())
	stored.Given("order-1", "OrderPlaced", header("17850"))
	stored.Given("order-1", "LineAdded", line(6, "2.55"))
	stored.Given("order-1", "LineAdded", line(1, "0.001"))
	stored.Given("order-C2", "OrderCancelled", header("17850"))
	stored.Given("order-A3", "AdjustmentPosted", both(header(nil), line(1, "-11062.06")))

	// Siblings share a position, so that both come of one moment.
	at := "2024-01-01T00:00:05Z"
	lifted := lamphousetest.New(t, newProjector())
	lifted.Given("order-1", "OrderPlaced", header("17850"))
	lifted.Given("order-1", "LineAdded", M{"quantity": 6, "unit_price_minor": 255, "currency": "GBP"})
	lifted.Given("order-1", "LineAdded", M{"quantity": 1, "unit_price_minor": 1, "minor_digits": 3, "currency": "GBP"})
	lifted.Given("order-C2", "CreditNoteIssued", header("17850"))
	lifted.GivenEvent(lamphousetest.Event{StreamID: "order-A3", EventType: "AdjustmentOpened", Data: header(nil), At: at})
	lifted.GivenEvent(lamphousetest.Event{StreamID: "order-A3", EventType: "LineAdjusted",
		Data: M{"quantity": 1, "unit_price_minor": -1_106_206, "currency": "GBP"}, At: at})

	if one, other := lamphousetest.Rows[Order](stored), lamphousetest.Rows[Order](lifted); !reflect.DeepEqual(one, other) {
		t.Errorf("%+v\n%+v", one, other)
	}
	if one, other := lamphousetest.Rows[Customer](stored), lamphousetest.Rows[Customer](lifted); !reflect.DeepEqual(one, other) {
		t.Errorf("%+v\n%+v", one, other)
	}
}

func TestSalesToNobodyInParticularHaveAnOrderAndNoCustomer(t *testing.T) {
	h := lamphousetest.New(t, newProjector())
	h.Given("order-1", "OrderPlaced", header(nil))
	h.Given("order-1", "LineAdded", line(1, "2.00"))
	if got := len(lamphousetest.Rows[Order](h)); got != 1 {
		t.Error(got)
	}
	if got := lamphousetest.Rows[Customer](h); len(got) != 0 {
		t.Error(got)
	}
}

func TestAnAdjustmentIsHeaderAndLineInOne(t *testing.T) {
	h := lamphousetest.New(t, newProjector())
	h.Given("order-A1", "AdjustmentPosted", both(header("c"), line(1, "-11062.06")))
	order := lamphousetest.Row[Order](h, "order-A1")
	if order.Status != "adjusted" || order.Lines != 1 || order.Total != pounds("-11062.060") {
		t.Errorf("%+v", order)
	}
	sums := Customer{"c", 1, 1, 1, pounds("-11062.060"), pounds("0.000"), pounds("0.000")}
	if got := lamphousetest.Row[Customer](h, "c"); *got != sums {
		t.Errorf("%+v", got)
	}
}

func TestAFailureSaysWhatAndWhere(t *testing.T) {
	for message, event := range map[string]lamphousetest.Event{
		"a line came before its order":                        {StreamID: "order-2", Data: line(1, "2.00")},
		"LineAdded: missing field /data/quantity":             {StreamID: "order-1", Data: M{"payload": line(1, "2.00")}},
		"a line has neither unit_price nor unit_price_minor":  {StreamID: "order-1", Data: M{"quantity": 1}},
		"LineAdded: data of the event: '2,00' is not a decim": {StreamID: "order-1", Data: line(1, "2,00")},
	} {
		h := lamphousetest.New(t, newProjector())
		h.Given("order-1", "OrderPlaced", header(nil))
		event.EventType = "LineAdded"
		h.GivenEvent(event)
		failure := lamphousetest.AsFailure(h.Run())
		if failure == nil || failure.Event != 2 || !strings.HasPrefix(failure.Message, message) ||
			!strings.Contains(failure.Trace, "plugin.go:") && !strings.Contains(failure.Trace, "events.go:") {
			t.Errorf("%s: %#v", message, failure)
		}
	}
}
