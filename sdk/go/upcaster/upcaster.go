// Package upcaster makes a main package an upcaster plugin: importing it exports what the host calls.
//
//	func init() { upcaster.Export(newUpcaster) }
//	func main() {}
//
// Built for another machine than the sandbox, as for tests, it does nothing.
package upcaster

import lamphouse "github.com/lamphouse/lamphouse/sdk/go"

// made makes the plugin's upcaster.
var made func() *lamphouse.Upcaster

// Export makes an upcaster the plugin's entry point. Call it once, from an init function of the main package.
func Export(newUpcaster func() *lamphouse.Upcaster) {
	if made != nil {
		panic("lamphouse: a plugin has one upcaster, and Export was called twice")
	}
	made = newUpcaster
}
