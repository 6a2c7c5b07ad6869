//go:build wasm

package hostlog

import (
	"runtime"
	"strings"
	"unsafe"
)

//go:wasmimport lamphouse:plugin/log@0.1.0 write
func write(level uint32, message unsafe.Pointer, length uint32)

// Write writes a line to the host's log.
func Write(level int, message string) {
	// The host ends a call that hands it other bytes as text.
	message = strings.ToValidUTF8(message, "\ufffd")
	write(uint32(level), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
	runtime.KeepAlive(message)
}

// What Go's runtime says last (a deadlock, a panic of a goroutine, memory at its end) goes to standard error, which nobody
// sees; it also lets itself be told where to write.
//
//go:linkname overrideWrite runtime.overrideWrite
var overrideWrite func(fd uintptr, text unsafe.Pointer, length int32) int32

func init() { overrideWrite = writeLine }

var (
	line       [1 << 10]byte
	lineLength int
)

// writeLine gathers pieces until a line is whole. The runtime may be in any state: so no memory is taken, and no stack is
// grown.
//
//go:nosplit
func writeLine(_ uintptr, text unsafe.Pointer, length int32) int32 {
	for i := range int(length) {
		letter := *(*byte)(unsafe.Add(text, i))
		if letter >= 0x80 {
			letter = '?' // a line may end within a letter of several bytes
		}
		if letter != '\n' && lineLength < len(line) {
			line[lineLength] = letter
			lineLength++
		}
		if letter == '\n' || lineLength == len(line) {
			if lineLength > 0 {
				write(4, unsafe.Pointer(&line), uint32(lineLength))
			}
			lineLength = 0
		}
	}
	return length
}
