package lamphouse

import (
	"fmt"
	"strings"

	"github.com/lamphouse/lamphouse/sdk/go/internal/hostlog"
)

// Log writes lines to the host's log. They are shown with the projection's status, and are capped for each call. A line has
// no effect on rows. Log is also an [io.Writer]: log.SetOutput(lamphouse.Log) sends the lines of package log there.
var Log Logger

// Logger is the type of [Log].
type Logger struct{}

// Trace writes a line for following every step, as fmt.Sprintf makes it.
func (Logger) Trace(format string, args ...any) { hostlog.Write(0, fmt.Sprintf(format, args...)) }

// Debug writes a line for finding mistakes.
func (Logger) Debug(format string, args ...any) { hostlog.Write(1, fmt.Sprintf(format, args...)) }

// Info writes a line worth knowing.
func (Logger) Info(format string, args ...any) { hostlog.Write(2, fmt.Sprintf(format, args...)) }

// Warn writes a line that looks wrong.
func (Logger) Warn(format string, args ...any) { hostlog.Write(3, fmt.Sprintf(format, args...)) }

// Error writes a line that is wrong. It does not fail the call.
func (Logger) Error(format string, args ...any) { hostlog.Write(4, fmt.Sprintf(format, args...)) }

// Write writes a line worth knowing.
func (Logger) Write(line []byte) (int, error) {
	hostlog.Write(2, strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}
