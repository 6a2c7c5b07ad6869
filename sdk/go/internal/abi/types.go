//go:build wasm

package abi

import (
	"strings"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// ValueBytes is the size of a value.
const ValueBytes = 16

// Value writes a value. Its cases are the kinds, in their order.
func Value(w *Writer, at int, v *contract.Value) {
	w.Byte(at, byte(v.Kind()))
	switch v.Kind() {
	case contract.Null:
	case contract.Boolean, contract.Integer, contract.Real, contract.TimestampKind:
		w.Uint64(at+8, v.Word())
	case contract.DecimalKind:
		w.String(at+8, v.Decimal().String())
	default:
		w.String(at+8, v.Str())
	}
}

// ReadValue reads a value; its text is not copied.
func ReadValue(at unsafe.Pointer) (contract.Value, error) {
	word := *(*uint64)(unsafe.Add(at, 8))
	text := func() string { return unsafe.String((*byte)(pointer(uint32(word))), uint32(word>>32)) }
	switch contract.Kind(*(*byte)(at)) {
	case contract.Boolean:
		return contract.BooleanOf(word&0xff != 0), nil
	case contract.Integer:
		return contract.IntegerOf(int64(word)), nil
	case contract.Real:
		return contract.RealBits(word), nil
	case contract.DecimalKind:
		number, err := contract.ParseDecimal(text())
		return contract.DecimalOf(number), err
	case contract.Text:
		return contract.TextOf(text()), nil
	case contract.Bytes:
		return contract.BytesOf(text()), nil
	case contract.TimestampKind:
		return contract.TimestampValue(contract.Timestamp(word)), nil
	case contract.JSON:
		return contract.JSONOf(text()), nil
	default:
		return contract.Value{}, nil
	}
}

// pointer is an address that the host wrote: of memory that [Alloc] gave, and that is held.
func pointer(address uint32) unsafe.Pointer {
	number := uintptr(address)
	return *(*unsafe.Pointer)(unsafe.Pointer(&number))
}

// ReadList reads pointer and length of a list.
func ReadList(at unsafe.Pointer) (unsafe.Pointer, uint32) {
	return pointer(*(*uint32)(at)), *(*uint32)(unsafe.Add(at, 4))
}

// Options writes a list of options.
func Options(w *Writer, at int, options []contract.Option) {
	List(w, at, options, 16, func(w *Writer, at int, option *contract.Option) {
		w.String(at, option.Name)
		w.String(at+8, option.Value)
	})
}

// Result gives the result<list<u8>, failure> of a call.
func Result(bytes []byte, failure *contract.Failure) unsafe.Pointer {
	w := NewWriter(28)
	if failure == nil {
		w.Memory(4, unsafe.Pointer(unsafe.SliceData(bytes)), len(bytes))
		return w.Pointer()
	}
	w.Byte(0, 1)
	if failure.Index >= 0 {
		w.Byte(4, 1)
		w.Uint32(8, uint32(failure.Index))
	}
	// The host ends a call that hands it other bytes as text.
	w.String(12, strings.ToValidUTF8(failure.Message, "\ufffd"))
	w.String(20, strings.ToValidUTF8(failure.Trace, "\ufffd"))
	return w.Pointer()
}
