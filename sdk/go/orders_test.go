package lamphouse_test

import (
	"reflect"
	"strings"
	"testing"

	lamphouse "github.com/lamphouse/lamphouse/sdk/go"
	"github.com/lamphouse/lamphouse/sdk/go/lamphousetest"
)

type M = lamphousetest.M

type Order struct {
	OrderID    string              `lamphouse:"order_id,key"`
	CustomerID *string             `lamphouse:"customer_id,index"`
	Status     string              `lamphouse:"status"`
	Lines      int64               `lamphouse:"lines,initial=0"`
	Total      lamphouse.Decimal   `lamphouse:"total,scale=2,initial=0"`
	PlacedAt   lamphouse.Timestamp `lamphouse:"placed_at"`
}

type Placed struct {
	CustomerID *string `json:"customer_id"`
}

type Line struct {
	Quantity  int64             `json:"quantity"`
	UnitPrice lamphouse.Decimal `json:"unit_price"`
}

func placed(e *lamphouse.Event[Placed], t *lamphouse.Tables) error {
	return lamphouse.Put(t, Order{
		OrderID: e.StreamID, CustomerID: e.Data.CustomerID, Status: "placed", PlacedAt: e.OccurredAt,
	})
}

func lineAdded(e *lamphouse.Event[Line], t *lamphouse.Tables) error {
	value, err := e.Data.UnitPrice.Times(e.Data.Quantity)
	if err != nil {
		return err
	}
	return lamphouse.Patch[Order](t, e.StreamID, lamphouse.Add("lines", 1), lamphouse.Add("total", value))
}

func shipped(e *lamphouse.Event[struct{}], t *lamphouse.Tables) error {
	return lamphouse.Patch[Order](t, e.StreamID, lamphouse.Set("status", "shipped"))
}

func orders() *lamphouse.Projector {
	p := lamphouse.NewProjector("orders", "1.0.0")
	lamphouse.Table[Order](p, "orders")
	lamphouse.On(p, "OrderPlaced", placed)
	lamphouse.On(p, "LineAdded", lineAdded)
	lamphouse.On(p, "OrderShipped", shipped)
	return p
}

// declared is the same with declared fields.
func declared() *lamphouse.Projector {
	p := lamphouse.NewProjector("orders", "1.0.0")
	lamphouse.Table[Order](p, "orders")
	lamphouse.OnFields(p, "OrderPlaced", placed)
	lamphouse.OnFields(p, "LineAdded", lineAdded).Prefetch(func(e *lamphouse.Event[Line], w *lamphouse.Wanted) {
		lamphouse.Want[Order](w, e.StreamID)
	})
	lamphouse.OnFields(p, "OrderShipped", shipped)
	return p
}

func given(h *lamphousetest.Harness) {
	h.Given("order-1", "OrderPlaced", M{"customer_id": "c-7"})
	h.Given("order-1", "LineAdded", M{"quantity": 3, "unit_price": "2.50"})
	h.Given("order-2", "OrderPlaced", M{"customer_id": nil})
	h.Given("order-2", "LineAdded", M{"quantity": 1, "unit_price": 4})
	h.Given("order-1", "LineAdded", M{"quantity": 1, "unit_price": "0.05"})
	h.Given("order-1", "OrderShipped", nil)
	h.Given("order-1", "Noise", nil)
}

func TestOrders(t *testing.T) {
	for name, make := range map[string]func() *lamphouse.Projector{"parsed": orders, "declared": declared} {
		t.Run(name, func(t *testing.T) {
			h := lamphousetest.New(t, make())
			given(h)
			want := []Order{
				{"order-1", lamphouse.Ptr("c-7"), "shipped", 2, lamphouse.MustDecimal("7.55"),
					lamphouse.MustTimestamp("2024-01-01T00:00:01Z")},
				{"order-2", nil, "placed", 1, lamphouse.MustDecimal("4.00"),
					lamphouse.MustTimestamp("2024-01-01T00:00:03Z")},
			}
			if got := lamphousetest.Rows[Order](h); !reflect.DeepEqual(got, want) {
				t.Errorf("%+v", got)
			}
			if got := lamphousetest.Row[Order](h, "order-2"); !reflect.DeepEqual(*got, want[1]) {
				t.Errorf("%+v", got)
			}
			if got := lamphousetest.Row[Order](h, "order-3"); got != nil {
				t.Errorf("%+v", got)
			}
			if got := lamphousetest.Find[Order](h, "customer_id", "c-7"); len(got) != 1 || got[0].OrderID != "order-1" {
				t.Errorf("%+v", got)
			}
			h.AssertSameAtAnyBatchSize()
		})
	}
}

// failure runs a projector that is to fail.
func failure(t *testing.T, h *lamphousetest.Harness) *lamphousetest.Failure {
	t.Helper()
	failure := lamphousetest.AsFailure(h.Run())
	if failure == nil {
		t.Fatal("it did not fail")
	}
	return failure
}

func TestFailuresSayWhatAndWhere(t *testing.T) {
	for _, test := range []struct {
		name, message, trace string
		handle               func(*lamphouse.Event[struct{}], *lamphouse.Tables) error
	}{
		{"absent row", "table 'orders' has no row with key [text 'order-1'] to patch (upsert makes one)", "orders_test.go:",
			func(e *lamphouse.Event[struct{}], t *lamphouse.Tables) error {
				if _, err := lamphouse.Get[Order](t, e.StreamID); err != nil {
					return err
				}
				return lamphouse.Patch[Order](t, e.StreamID, lamphouse.Add("lines", 1))
			}},
		{"own error", "no luck: 7", "at github.com/lamphouse/lamphouse/sdk/go_test.helper (",
			func(*lamphouse.Event[struct{}], *lamphouse.Tables) error { return helper(7) }},
		{"error of others", "invalid", "returned by github.com/lamphouse/lamphouse/sdk/go_test.TestFailures",
			func(*lamphouse.Event[struct{}], *lamphouse.Tables) error { return reflectError{} }},
		{"panic", "panic: runtime error: index out of range [3] with length 0", "at github.com/lamphouse/lamphouse/sdk/go_test.panics (",
			func(e *lamphouse.Event[struct{}], _ *lamphouse.Tables) error { return panics(nil) }},
		{"went on", "the projector went on after a failure of its tables: Order has no column 'line'", "orders_test.go:",
			func(e *lamphouse.Event[struct{}], t *lamphouse.Tables) error {
				_ = lamphouse.Upsert[Order](t, e.StreamID, lamphouse.Add("line", 1))
				return nil
			}},
		{"panic after a failure", "orders.lines: cannot add real 0.5 to a column of type integer", "orders_test.go:",
			func(e *lamphouse.Event[struct{}], t *lamphouse.Tables) error {
				_ = lamphouse.Upsert[Order](t, e.StreamID, lamphouse.Add("lines", 0.5))
				panic("later")
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := lamphouse.NewProjector("orders", "1.0.0")
			lamphouse.Table[Order](p, "orders")
			lamphouse.On(p, "OrderPlaced", placed)
			lamphouse.On(p, "Bad", test.handle)
			h := lamphousetest.New(t, p)
			h.Given("order-9", "OrderPlaced", nil)
			h.Given("order-1", "Bad", nil)
			failure := failure(t, h)
			if failure.Event != 2 || failure.Message != test.message || !strings.Contains(failure.Trace, test.trace) {
				t.Errorf("%#v", failure)
			}
			if strings.Contains(failure.Trace, "sdk/go.") || strings.Contains(failure.Trace, "runtime.") {
				t.Errorf("the trace is not trimmed:\n%s", failure.Trace)
			}
		})
	}
}

func helper(number int) error { return lamphouse.Errorf("no luck: %d", number) }

func panics(list []int) error {
	if list[3] > 0 {
		return nil
	}
	return nil
}

type reflectError struct{}

func (reflectError) Error() string { return "invalid" }

func TestDataThatCannotBeReadIsNamed(t *testing.T) {
	h := lamphousetest.New(t, orders())
	h.Given("order-1", "LineAdded", M{"quantity": 1, "unit_price": "1,00"})
	if got := failure(t, h).Message; got != "data of LineAdded: '1,00' is not a decimal of the form [-]digits[.digits]" {
		t.Error(got)
	}
}

func TestDeclaredFieldsSayWhatIsWrong(t *testing.T) {
	for data, message := range map[lamphouse.JSON]string{
		`{"unit_price":"1"}`:              "LineAdded: missing field /data/quantity (a pointer may be null)",
		`{"quantity":1.5,"unit_price":1}`: "LineAdded: data of the event: 1.5, where an integer of 64 bits is due at byte 15",
		`{"payload":{}}`:                  "LineAdded: missing field /data/quantity (a pointer may be null)",
	} {
		h := lamphousetest.New(t, declared())
		h.Given("order-1", "LineAdded", data)
		if got := failure(t, h).Message; got != message {
			t.Errorf("%s: %s", data, got)
		}
	}
	p := lamphouse.NewProjector("orders", "1.0.0")
	lamphouse.Table[Order](p, "orders")
	lamphouse.OnFields(p, "OrderPlaced", func(e *lamphouse.Event[Placed], t *lamphouse.Tables) error {
		return lamphouse.Errorf("%s", e.DataJSON())
	})
	h := lamphousetest.New(t, p)
	h.Given("order-1", "OrderPlaced", nil)
	if got := failure(t, h).Message; !strings.HasPrefix(got, "panic: DataJSON of OrderPlaced was asked for, but OnFields") {
		t.Error(got)
	}
}

func TestLog(t *testing.T) {
	p := lamphouse.NewProjector("orders", "1.0.0")
	lamphouse.Table[Order](p, "orders")
	lamphouse.On(p, "OrderPlaced", func(e *lamphouse.Event[Placed], t *lamphouse.Tables) error {
		lamphouse.Log.Warn("%s has no customer", e.StreamID)
		_, err := lamphouse.Log.Write([]byte("a line\n"))
		return err
	})
	h := lamphousetest.New(t, p)
	h.Given("order-1", "OrderPlaced", nil)
	want := []lamphousetest.LogLine{
		{Level: "warn", Message: "order-1 has no customer"},
		{Level: "info", Message: "a line"},
	}
	if got := h.Log(); !reflect.DeepEqual(got, want) {
		t.Error(got)
	}
}
