// Keeps what a shop wants to know of its orders: one row an order, one a customer.
//
// It takes the events as they are stored, and in the form that the plugin order-upcasters lifts them to: with or without it
// the rows are the same.
//
// Credit notes and adjustments are streams of their own and have rows of their own. A line names no customer, so the
// projector looks at the row of the line's order.
package main

import (
	lamphouse "github.com/lamphouse/lamphouse/sdk/go"
	"github.com/lamphouse/lamphouse/sdk/go/projector"
)

func init() { projector.Export(newProjector) }

func main() {}

// What kind of stream a row stands for.
const (
	placed   = "placed"
	credited = "credited"
	adjusted = "adjusted"
)

func newProjector() *lamphouse.Projector {
	p := lamphouse.NewProjector("order-summary-go", "1.0.0")
	lamphouse.Table[Order](p, "orders")
	lamphouse.Table[Customer](p, "customers")

	lamphouse.OnFields(p, "OrderPlaced", opens(placed))
	lamphouse.OnFields(p, "OrderCancelled", opens(credited))
	lamphouse.OnFields(p, "CreditNoteIssued", opens(credited))
	lamphouse.OnFields(p, "AdjustmentOpened", opens(adjusted))
	lamphouse.OnFields(p, "LineAdded", lineOf(placed)).Prefetch(itsOrder)
	lamphouse.OnFields(p, "LineReturned", lineOf(credited)).Prefetch(itsOrder)
	lamphouse.OnFields(p, "LineAdjusted", lineOf(adjusted)).Prefetch(itsOrder)
	// One event that is header and line in one.
	lamphouse.OnFields(p, "AdjustmentPosted", func(e *lamphouse.Event[Adjustment], t *lamphouse.Tables) error {
		if err := open(e.Header, e.Data.Header, adjusted, t); err != nil {
			return err
		}
		return addLine(e.StreamID, e.Data.Line, adjusted, t)
	})
	return p
}

func opens(status string) func(*lamphouse.Event[Header], *lamphouse.Tables) error {
	return func(e *lamphouse.Event[Header], t *lamphouse.Tables) error {
		return open(e.Header, e.Data, status, t)
	}
}

func lineOf(status string) func(*lamphouse.Event[Line], *lamphouse.Tables) error {
	return func(e *lamphouse.Event[Line], t *lamphouse.Tables) error {
		return addLine(e.StreamID, e.Data, status, t)
	}
}

func itsOrder(e *lamphouse.Event[Line], w *lamphouse.Wanted) {
	lamphouse.Want[Order](w, e.StreamID)
}

// open begins a stream: its row, and one more stream of its customer.
func open(e *lamphouse.Header, header Header, status string, t *lamphouse.Tables) error {
	if header.CustomerID != nil {
		if err := lamphouse.Upsert[Customer](t, *header.CustomerID, lamphouse.Add("orders", 1)); err != nil {
			return err
		}
	}
	return lamphouse.Put(t, Order{
		OrderID:    e.StreamID,
		CustomerID: header.CustomerID,
		Country:    header.Country,
		Status:     status,
		PlacedAt:   e.OccurredAt,
	})
}

// addLine counts a line for its order, and for the order's customer where it is known.
func addLine(orderID string, line Line, status string, t *lamphouse.Tables) error {
	price, err := line.price()
	if err != nil {
		return err
	}
	value, err := price.Times(line.Quantity)
	if err != nil {
		return lamphouse.Errorf("value of the line: %w", err)
	}
	order, err := lamphouse.Get[Order](t, orderID)
	if err != nil {
		return err
	}
	if order == nil {
		return lamphouse.Errorf("a line came before its order")
	}
	err = lamphouse.Patch[Order](t, orderID,
		lamphouse.Add("lines", 1),
		lamphouse.Add("quantity", line.Quantity),
		lamphouse.Add("total", value))
	if err != nil || order.CustomerID == nil {
		return err
	}
	cells := make([]lamphouse.Cell, 0, 4)
	cells = append(cells,
		lamphouse.Add("lines", 1),
		lamphouse.Add("quantity", line.Quantity),
		lamphouse.Add("net", value))
	switch status {
	case placed:
		cells = append(cells, lamphouse.Add("ordered", value))
	case credited:
		cells = append(cells, lamphouse.Add("returned", value))
	}
	return lamphouse.Upsert[Customer](t, *order.CustomerID, cells...)
}
