// Package projector makes a main package a projector plugin: importing it exports what the host calls.
//
//	func init() { projector.Export(newProjector) }
//	func main() {}
//
// Built for another machine than the sandbox, as for tests, it does nothing.
package projector

import lamphouse "github.com/lamphouse/lamphouse/sdk/go"

// made makes the plugin's projector.
var made func() *lamphouse.Projector

// Export makes a projector the plugin's entry point. Call it once, from an init function of the main package.
func Export(newProjector func() *lamphouse.Projector) {
	if made != nil {
		panic("lamphouse: a plugin has one projector, and Export was called twice")
	}
	made = newProjector
}
