//go:build wasm

package projector

import (
	"os"
	"strings"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/abi"
	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
	"github.com/lamphouse/lamphouse/sdk/go/internal/hostlog"
)

//go:wasmexport lamphouse:plugin/packed-projector@0.1.0#describe
func describe() unsafe.Pointer {
	if made == nil {
		refuse("the plugin exports no projector: call projector.Export in an init function")
	}
	descriptor, mistakes := made().Describe()
	if len(mistakes) > 0 {
		refuse("the projector cannot be:\n- " + strings.Join(mistakes, "\n- "))
	}
	return lower(descriptor)
}

// refuse ends the call; the host shows what it wrote to its log.
func refuse(why string) {
	hostlog.Write(4, why)
	os.Exit(1)
}

//go:wasmexport lamphouse:plugin/packed-projector@0.1.0#project
func project(events unsafe.Pointer, length uint32) unsafe.Pointer {
	return abi.Result(made().Call(abi.Bytes(events, length), sandbox{}))
}

//go:wasmexport cabi_post_lamphouse:plugin/packed-projector@0.1.0#describe
func describeDone(unsafe.Pointer) { abi.Release() }

//go:wasmexport cabi_post_lamphouse:plugin/packed-projector@0.1.0#project
func projectDone(unsafe.Pointer) { abi.Release() }

// lower gives the descriptor as the host reads it: see package abi.
func lower(d *contract.Descriptor) unsafe.Pointer {
	w := abi.NewWriter(40)
	w.String(0, d.Name)
	w.String(8, d.Version)
	abi.List(w, 16, d.Subscriptions, 32, func(w *abi.Writer, at int, s *contract.Subscription) {
		for i, name := range []*string{s.EventType, s.StreamType} {
			if name != nil {
				w.Byte(at+12*i, 1)
				w.String(at+12*i+4, *name)
			}
		}
		abi.List(w, at+24, s.SchemaVersions, 4, number)
	})
	abi.List(w, 24, d.Tables, 32, func(w *abi.Writer, at int, t *contract.Table) {
		w.String(at, t.Name)
		abi.List(w, at+8, t.Columns, 40, column)
		abi.List(w, at+16, t.PrimaryKey, 4, number)
		abi.List(w, at+24, t.Indexes, 8, func(w *abi.Writer, at int, index *[]uint32) {
			abi.List(w, at, *index, 4, number)
		})
	})
	abi.Options(w, 32, d.Options)
	return w.Pointer()
}

func number(w *abi.Writer, at int, number *uint32) { w.Uint32(at, *number) }

func column(w *abi.Writer, at int, c *contract.Column) {
	w.String(at, c.Name)
	// The kinds of columns are those of values, without null.
	w.Byte(at+8, byte(c.Kind)-1)
	w.Byte(at+9, c.Scale)
	if c.Nullable {
		w.Byte(at+10, 1)
	}
	if c.Initial != nil {
		w.Byte(at+16, 1)
		abi.Value(w, at+24, c.Initial)
	}
}
