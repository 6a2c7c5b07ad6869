package lamphouse

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// Frames of a trace that are shown.
const traceFramesMax = 32

// Errorf makes an error as [fmt.Errorf] does, which remembers the place in the source where it was made: the host shows it.
func Errorf(format string, args ...any) error { return madeHere(fmt.Errorf(format, args...)) }

// located is an error with the stack that it was made on.
type located struct {
	error
	pcs []uintptr
}

func (l *located) Unwrap() error { return l.error }

// madeHere remembers the stack, unless the error has one.
func madeHere(err error) error {
	var before *located
	if errors.As(err, &before) {
		return err
	}
	return &located{error: err, pcs: stack()}
}

func stack() []uintptr {
	pcs := make([]uintptr, 2*traceFramesMax)
	return pcs[:runtime.Callers(2, pcs)]
}

// failureOf is what the host is told of a handler's error.
func failureOf(index int, err error, handler any) *contract.Failure {
	failure := &contract.Failure{Index: index, Message: err.Error()}
	var made *located
	if errors.As(err, &made) {
		failure.Trace = trace(made.pcs)
	}
	if failure.Trace == "" && handler != nil {
		// An error of others does not say where it was made: the handler that returned it is the next best.
		if f := runtime.FuncForPC(reflect.ValueOf(handler).Pointer()); f != nil && !isSDK(f.Name()) {
			file, line := f.FileLine(f.Entry())
			failure.Trace = "returned by " + frame(f.Name(), file, line)
		}
	}
	return failure
}

// failureOfPanic is what the host is told of a panic; it is called by the function that is deferred.
func failureOfPanic(index int, panicked any) *contract.Failure {
	failure := &contract.Failure{Index: index, Trace: trace(stack())}
	if err, ok := panicked.(error); ok {
		failure.Message = "panic: " + err.Error()
	} else {
		failure.Message = fmt.Sprintf("panic: %v", panicked)
	}
	return failure
}

// trace gives the frames of the plugin's own source: those between Go's runtime and this SDK.
func trace(pcs []uintptr) string {
	var lines []string
	frames := runtime.CallersFrames(pcs)
	for {
		next, more := frames.Next()
		isOurs := isSDK(next.Function) || strings.HasPrefix(next.Function, "runtime.")
		switch {
		case !isOurs && len(lines) < traceFramesMax:
			lines = append(lines, "at "+frame(next.Function, next.File, next.Line))
		case isSDK(next.Function) && len(lines) > 0:
			return strings.Join(lines, "\n")
		}
		if !more {
			return strings.Join(lines, "\n")
		}
	}
}

func frame(function, file string, line int) string {
	return fmt.Sprintf("%s (%s:%d)", function, file, line)
}

const sdkPath = "github.com/lamphouse/lamphouse/sdk/go"

// isSDK says whether a function is of this module; its tests are not.
func isSDK(function string) bool {
	rest, ok := strings.CutPrefix(function, sdkPath)
	return ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/"))
}
