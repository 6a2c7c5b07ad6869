//go:build wasm

package upcaster

import (
	"os"
	"strings"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/abi"
	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
	"github.com/lamphouse/lamphouse/sdk/go/internal/hostlog"
)

//go:wasmexport lamphouse:plugin/packed-upcaster@0.1.0#describe
func describe() unsafe.Pointer {
	if made == nil {
		refuse("the plugin exports no upcaster: call upcaster.Export in an init function")
	}
	descriptor, mistakes := made().Describe()
	if len(mistakes) > 0 {
		refuse("the upcaster cannot be:\n- " + strings.Join(mistakes, "\n- "))
	}
	w := abi.NewWriter(32)
	w.String(0, descriptor.Name)
	w.String(8, descriptor.Version)
	abi.List(w, 16, descriptor.Rules, 20, func(w *abi.Writer, at int, rule *contract.Rule) {
		schema(w, at, &rule.Takes)
		abi.List(w, at+12, rule.Gives, 12, schema)
	})
	abi.Options(w, 24, descriptor.Options)
	return w.Pointer()
}

func schema(w *abi.Writer, at int, s *contract.Schema) {
	w.String(at, s.EventType)
	w.Uint32(at+8, s.Version)
}

// refuse ends the call; the host shows what it wrote to its log.
func refuse(why string) {
	hostlog.Write(4, why)
	os.Exit(1)
}

//go:wasmexport lamphouse:plugin/packed-upcaster@0.1.0#upcast
func upcast(events unsafe.Pointer, length uint32) unsafe.Pointer {
	return abi.Result(made().Call(abi.Bytes(events, length)))
}

//go:wasmexport cabi_post_lamphouse:plugin/packed-upcaster@0.1.0#describe
func describeDone(unsafe.Pointer) { abi.Release() }

//go:wasmexport cabi_post_lamphouse:plugin/packed-upcaster@0.1.0#upcast
func upcastDone(unsafe.Pointer) { abi.Release() }
