//go:build wasm

package projector

import (
	"runtime"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/abi"
	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

//go:wasmimport lamphouse:plugin/tables@0.1.0 apply
func apply(changes unsafe.Pointer, length uint32)

//go:wasmimport lamphouse:plugin/tables@0.1.0 read
func read(keys unsafe.Pointer, length uint32, answer unsafe.Pointer)

//go:wasmimport lamphouse:plugin/tables@0.1.0 find
func find(table, index uint32, prefix unsafe.Pointer, prefixLength uint32, hasAfter uint32, after unsafe.Pointer,
	afterLength uint32, limit uint32, answer unsafe.Pointer)

// sandbox is the host as it is behind the imports. What it refuses traps.
type sandbox struct{}

func (sandbox) Apply(changes []byte) error {
	apply(unsafe.Pointer(unsafe.SliceData(changes)), uint32(len(changes)))
	runtime.KeepAlive(changes)
	return nil
}

func (sandbox) Read(keys []byte) ([]byte, error) {
	answer := abi.NewWriter(8)
	read(unsafe.Pointer(unsafe.SliceData(keys)), uint32(len(keys)), answer.Pointer())
	runtime.KeepAlive(keys)
	return abi.Bytes(abi.ReadList(answer.Pointer())), nil
}

func (sandbox) Find(table, index uint32, prefix, after []contract.Value, limit uint32) ([][]contract.Value, error) {
	// Three lists, one after the other: the values to look for, those of the key to go on after, and the answer.
	w := abi.NewWriter(24)
	abi.List(w, 0, prefix, abi.ValueBytes, abi.Value)
	abi.List(w, 8, after, abi.ValueBytes, abi.Value)
	prefixAt, prefixLength := abi.ReadList(w.Pointer())
	afterAt, afterLength := abi.ReadList(unsafe.Add(w.Pointer(), 8))
	hasAfter := uint32(0)
	if after != nil {
		hasAfter = 1
	}
	find(table, index, prefixAt, prefixLength, hasAfter, afterAt, afterLength, limit, unsafe.Add(w.Pointer(), 16))
	rowsAt, count := abi.ReadList(unsafe.Add(w.Pointer(), 16))
	rows := make([][]contract.Value, count)
	for i := range rows {
		valuesAt, columns := abi.ReadList(unsafe.Add(rowsAt, 8*i))
		rows[i] = make([]contract.Value, columns)
		for column := range rows[i] {
			var err error
			if rows[i][column], err = abi.ReadValue(unsafe.Add(valuesAt, abi.ValueBytes*column)); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}
