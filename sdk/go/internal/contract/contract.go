// Package contract is what the host and this SDK agree on: exact values, declarations, changes and what they make of
// rows, and the byte format of wit/PACKED.md. It does no input or output.
//
// The Rust crate lamphouse-contract is the reference; wit/golden holds both to the same results.
package contract

import "errors"

// A Violation says how a value or a change breaks what a table declares. Its text names table and column.
type Violation struct{ What string }

func (v *Violation) Error() string { return v.What }

// ErrOverflow is returned for numbers of more than 38 digits.
var ErrOverflow = errors.New("more than 38 digits")
