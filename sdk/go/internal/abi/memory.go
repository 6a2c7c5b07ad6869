//go:build wasm

package abi

import "runtime/debug"

// An instance lives for one call, and most calls end before a collection would have been worth it: so the first one comes at
// 16 MiB instead of 4. Where much is held, the limit brings them closer together again, well below what hosts allow
// (256 MiB unless told otherwise).
const (
	gcPercent        = 400
	memoryBytesAimed = 160 << 20
)

func init() {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryBytesAimed)
}
