package main

import lamphouse "github.com/lamphouse/lamphouse/sdk/go"

// Digits of a pound after the point.
const penceDigits = 2

// Header is OrderPlaced, OrderCancelled (CreditNoteIssued), and the head of AdjustmentPosted (AdjustmentOpened).
type Header struct {
	// Nil for sales to nobody in particular.
	CustomerID *string `json:"customer_id"`
	Country    string  `json:"country"`
}

// Line is LineAdded, LineReturned (its quantity is negative), and the line of AdjustmentPosted (LineAdjusted).
type Line struct {
	Quantity int64 `json:"quantity"`
	// In pounds: the stored form.
	UnitPrice *lamphouse.Decimal `json:"unit_price"`
	// In pence: what order-upcasters makes of it.
	UnitPriceMinor *int64 `json:"unit_price_minor"`
	// Digits after the point of UnitPriceMinor, where they are not two.
	MinorDigits *uint8 `json:"minor_digits"`
}

// Adjustment is AdjustmentPosted: header and line in one.
type Adjustment struct {
	Header
	Line
}

// price is that of one piece, in pounds.
func (l *Line) price() (lamphouse.Decimal, error) {
	switch {
	case l.UnitPrice != nil:
		return *l.UnitPrice, nil
	case l.UnitPriceMinor != nil && l.MinorDigits != nil:
		return lamphouse.NewDecimal(*l.UnitPriceMinor, *l.MinorDigits), nil
	case l.UnitPriceMinor != nil:
		return lamphouse.NewDecimal(*l.UnitPriceMinor, penceDigits), nil
	default:
		return lamphouse.Decimal{}, lamphouse.Errorf("a line has neither unit_price nor unit_price_minor")
	}
}
