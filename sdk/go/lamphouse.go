// Package lamphouse writes Lamphouse plugins in Go: projectors (events in, rows out) and upcasters (old events in, today's
// out). A plugin is a main package that exports one of them, by package projector or package upcaster:
//
//	func init() { projector.Export(newProjector) }
//	func main() {} // never called: the host calls what is exported
//
// A projector declares its tables by structs and its events by handlers:
//
//	type Order struct {
//		OrderID    string              `lamphouse:"order_id,key"`
//		CustomerID *string             `lamphouse:"customer_id,index"`
//		Lines      int64               `lamphouse:"lines,initial=0"`
//		Total      lamphouse.Decimal   `lamphouse:"total,scale=2,initial=0"`
//		PlacedAt   lamphouse.Timestamp `lamphouse:"placed_at"`
//	}
//
//	func newProjector() *lamphouse.Projector {
//		p := lamphouse.NewProjector("orders", "1.0.0")
//		lamphouse.Table[Order](p, "orders")
//		lamphouse.On(p, "OrderPlaced", placed)
//		lamphouse.On(p, "LineAdded", lineAdded)
//		return p
//	}
//
//	type LineAdded struct {
//		Quantity  int64             `json:"quantity"`
//		UnitPrice lamphouse.Decimal `json:"unit_price"`
//	}
//
//	func lineAdded(e *lamphouse.Event[LineAdded], t *lamphouse.Tables) error {
//		value, err := e.Data.UnitPrice.Times(e.Data.Quantity)
//		if err != nil {
//			return err
//		}
//		return lamphouse.Patch[Order](t, e.StreamID, lamphouse.Add("lines", 1), lamphouse.Add("total", value))
//	}
//
// Package lamphousetest runs it in a test, without host and database.
//
// # What a plugin may not do
//
// The same log must give the same rows, on every machine, at any batch size. Nothing is kept from call to call: what
// should be remembered goes into a row. There is no clock and no randomness but the event's own ([Header].OccurredAt,
// [Event.Random]), and no file or socket. Go's maps are walked in an order that depends on what the call did before: sort
// the keys where the order counts. Values are exact: what does not fit its column fails the call.
package lamphouse

import "github.com/lamphouse/lamphouse/sdk/go/internal/contract"

type (
	// Decimal is an exact decimal number of at most 38 digits.
	Decimal = contract.Decimal
	// Timestamp is a moment: microseconds since 1970-01-01T00:00:00Z.
	Timestamp = contract.Timestamp
	// Header is what is known of every event beside its data and metadata.
	Header = contract.Header
	// Schema is a type of event in one version: what upcasters take and give. See [V].
	Schema = contract.Schema
)

// JSON is JSON text as it is: a column of type json, or the data of an event that is to be read by other means.
type JSON string

// UnmarshalJSON keeps the text.
func (j *JSON) UnmarshalJSON(text []byte) error {
	*j = JSON(text)
	return nil
}

// MarshalJSON gives the text.
func (j JSON) MarshalJSON() ([]byte, error) { return []byte(j), nil }

// NewDecimal gives unscaled / 10^scale: NewDecimal(1250, 2) is 12.50. It panics if scale is above 38.
func NewDecimal(unscaled int64, scale uint8) Decimal { return contract.NewDecimal(unscaled, scale) }

// ParseDecimal reads [-]digits[.digits]; the digits after the point become the scale.
func ParseDecimal(text string) (Decimal, error) { return contract.ParseDecimal(text) }

// MustDecimal is [ParseDecimal] for constants of the source: it panics where the text is no decimal.
func MustDecimal(text string) Decimal { return contract.MustDecimal(text) }

// ParseTimestamp reads RFC 3339: 2011-08-12T14:50:00.123456+01:00. Digits beyond microseconds are cut off.
func ParseTimestamp(text string) (Timestamp, error) { return contract.ParseTimestamp(text) }

// MustTimestamp is [ParseTimestamp] for constants of the source: it panics where the text is no timestamp.
func MustTimestamp(text string) Timestamp { return contract.MustTimestamp(text) }

// Ptr gives a pointer to a value: for a column or a field that may be null.
func Ptr[T any](value T) *T { return &value }
