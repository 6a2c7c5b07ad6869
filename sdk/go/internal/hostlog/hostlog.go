// Package hostlog writes to the log of whoever runs the plugin: the host, or a test.
package hostlog

import "sync"

// Levels are the names of the levels, from trace to error.
var Levels = [...]string{"trace", "debug", "info", "warn", "error"}

// Line is what a plugin under test wrote.
type Line struct {
	Level   int
	Message string
}

var (
	mutex sync.Mutex
	lines []Line
)

// Take gives the lines of a test since it was last called.
func Take() []Line {
	mutex.Lock()
	defer mutex.Unlock()
	taken := lines
	lines = nil
	return taken
}
