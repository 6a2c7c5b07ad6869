// Writes what its clock and its random source say, fails, and breaks.
package main

import (
	"math/rand"
	"strconv"
	"time"

	lamphouse "github.com/lamphouse/lamphouse/sdk/go"
	"github.com/lamphouse/lamphouse/sdk/go/projector"
)

func init() { projector.Export(newProjector) }

func main() {}

// Reading is a row.
type Reading struct {
	StreamID string `lamphouse:"stream_id,key"`
	Clock    string `lamphouse:"clock"`
	Chance   string `lamphouse:"chance"`
}

// Nothing is what the events carry.
type Nothing struct{}

func newProjector() *lamphouse.Projector {
	p := lamphouse.NewProjector("restless", "0.1.0")
	lamphouse.Table[Reading](p, "readings")
	lamphouse.On(p, "Ticked", ticked)
	lamphouse.On(p, "Erred", erred)
	lamphouse.On(p, "Broke", broke)
	return p
}

func ticked(e *lamphouse.Event[Nothing], t *lamphouse.Tables) error {
	return lamphouse.Put(t, Reading{
		StreamID: e.StreamID,
		Clock:    time.Now().UTC().Format(time.RFC3339Nano),
		Chance:   strconv.FormatInt(rand.Int63(), 10),
	})
}

func erred(e *lamphouse.Event[Nothing], _ *lamphouse.Tables) error {
	return lamphouse.Errorf("the weather in %s is bad", e.StreamID)
}

func broke(e *lamphouse.Event[Nothing], _ *lamphouse.Tables) error {
	return deeper(nil, e.StreamID)
}

func deeper(readings map[string]int, name string) error {
	readings[name]++
	return nil
}
