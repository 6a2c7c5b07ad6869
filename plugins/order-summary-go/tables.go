package main

import lamphouse "github.com/lamphouse/lamphouse/sdk/go"

// Order is one row a stream: an order, a credit note or an adjustment. Prices have up to three digits after the point, so
// sums do too.
type Order struct {
	OrderID    string              `lamphouse:"order_id,key"`
	CustomerID *string             `lamphouse:"customer_id"`
	Country    string              `lamphouse:"country"`
	Lines      int64               `lamphouse:"lines"`
	Quantity   int64               `lamphouse:"quantity"`
	Total      lamphouse.Decimal   `lamphouse:"total,scale=3"`
	Status     string              `lamphouse:"status"`
	PlacedAt   lamphouse.Timestamp `lamphouse:"placed_at"`
}

// Customer is one row a known customer.
type Customer struct {
	CustomerID string `lamphouse:"customer_id,key"`
	// Streams: orders, credit notes and adjustments.
	Orders   int64             `lamphouse:"orders,initial=0"`
	Lines    int64             `lamphouse:"lines,initial=0"`
	Quantity int64             `lamphouse:"quantity,initial=0"`
	Net      lamphouse.Decimal `lamphouse:"net,scale=3,initial=0"`
	// The lines of orders.
	Ordered lamphouse.Decimal `lamphouse:"ordered,scale=3,initial=0"`
	// The lines of credit notes: negative.
	Returned lamphouse.Decimal `lamphouse:"returned,scale=3,initial=0"`
}
