//go:build wasm

// Package abi is the part of the component model's canonical ABI that the packed worlds need, by hand: a host's call
// brings a list of bytes, and takes a record.
//
// Layout, in the guest's memory (all numbers little-endian, pointers and lengths of 32 bits):
//
//	string, list<T>     pointer, length                                  8 bytes, align 4
//	option<T>           a byte 0 or 1, then T at its alignment
//	variant, result     a byte for the case, then its payload at the largest alignment of all cases
//	record, tuple       its fields one after the other, each at its alignment
//	value               case at 0, payload at 8 (null, bool, s64, f64, string, string, list<u8>, s64, string)  16, align 8
//	failure             option<u32> at 0, message at 8, trace at 16                                            24, align 4
//	result<list<u8>, failure>  case at 0, list or failure at 4                                                 28, align 4
//
// Memory of arguments and of answers comes from cabi_realloc; memory of results is ours, and the host says when it is done
// with it (cabi_post_…). The garbage collector sees neither the host's pointers nor those that are written as numbers, so
// that all of it is held by a list until then. It does not move what is on the heap.
package abi

import (
	"encoding/binary"
	"unsafe"
)

// held keeps memory that only the host, or a number in other memory, points to.
var held []unsafe.Pointer

// Alloc makes memory for so many bytes, aligned for every type, that stays until [Release].
func Alloc(bytes uint32) unsafe.Pointer {
	// Words, for their alignment; one at least, for an address of its own.
	words := make([]uint64, max(1, (bytes+7)/8))
	at := unsafe.Pointer(unsafe.SliceData(words))
	held = append(held, at)
	return at
}

// Release lets go of all that was held.
func Release() { held = held[:0:0] }

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldBytes, _, bytes uint32) unsafe.Pointer {
	at := Alloc(bytes)
	copy(Bytes(at, bytes), Bytes(old, min(oldBytes, bytes)))
	return at
}

// Bytes is memory as a slice.
func Bytes(at unsafe.Pointer, length uint32) []byte { return unsafe.Slice((*byte)(at), length) }

// A Writer lowers values into memory of its own.
type Writer struct{ bytes []byte }

// NewWriter makes room for a record of so many bytes, all 0.
func NewWriter(bytes uint32) *Writer { return &Writer{Bytes(Alloc(bytes), bytes)} }

// Pointer is where the memory begins.
func (w *Writer) Pointer() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(w.bytes)) }

// Byte writes a byte: a case, a flag.
func (w *Writer) Byte(at int, b byte) { w.bytes[at] = b }

// Uint32 writes a number.
func (w *Writer) Uint32(at int, number uint32) { binary.LittleEndian.PutUint32(w.bytes[at:], number) }

// Uint64 writes a number.
func (w *Writer) Uint64(at int, number uint64) { binary.LittleEndian.PutUint64(w.bytes[at:], number) }

// String writes pointer and length of a text, which is held.
func (w *Writer) String(at int, text string) {
	w.Memory(at, unsafe.Pointer(unsafe.StringData(text)), len(text))
}

// Memory writes a pointer and a length; what is there is held.
func (w *Writer) Memory(at int, to unsafe.Pointer, length int) {
	held = append(held, to)
	w.Uint32(at, uint32(uintptr(to)))
	w.Uint32(at+4, uint32(length))
}

// List writes pointer and length of a list, each element of so many bytes and written by each.
func List[T any](w *Writer, at int, items []T, bytes uint32, each func(w *Writer, at int, item *T)) {
	inner := NewWriter(bytes * uint32(len(items)))
	for i := range items {
		each(inner, i*int(bytes), &items[i])
	}
	w.Memory(at, inner.Pointer(), len(items))
}
