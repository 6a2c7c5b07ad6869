package lamphouse

import (
	"fmt"
	"reflect"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// Event is one event with its data read into a D. The fields of its [Header] are its own: e.StreamID, e.OccurredAt.
type Event[D any] struct {
	*Header
	// Data is what the event carries, as far as D has places for it.
	Data   D
	stored *contract.Event
	// Whether nothing but declared fields may be looked at.
	declared bool
}

// DataJSON is the event's data as JSON text, to the letter. It panics in a handler of [OnFields], which has nothing but
// the fields.
func (e *Event[D]) DataJSON() string {
	e.whole("DataJSON")
	return e.stored.Data
}

// MetadataJSON is the event's metadata as JSON text of an object, to the letter. It panics in a handler of [OnFields].
func (e *Event[D]) MetadataJSON() string {
	e.whole("MetadataJSON")
	return e.stored.Metadata
}

// Metadata reads the event's metadata into what into points to. It panics in a handler of [OnFields].
func (e *Event[D]) Metadata(into any) error {
	e.whole("Metadata")
	t := reflect.TypeOf(into)
	if t == nil || t.Kind() != reflect.Pointer {
		return Errorf("Metadata reads into a pointer, not into a %T", into)
	}
	if err := readerOf(t.Elem())(e.stored.Metadata, into); err != nil {
		return madeHere(fmt.Errorf("metadata of %s: %w", e.EventType, err))
	}
	return nil
}

func (e *Event[D]) whole(what string) {
	if e.declared {
		panic(fmt.Sprintf("%s of %s was asked for, but OnFields declares all that is read of it: give the field a "+
			"path in the tag, such as `lamphouse:\"/metadata/user\"`, or use On", what, e.EventType))
	}
}

// Random gives random numbers that are the same whenever this event is projected, on every machine.
func (e *Event[D]) Random() *Random { return newRandom(e.ID, e.Part) }

// jsonDecoder is encoding/json's way to read data into a D.
func jsonDecoder[D any]() func(e *contract.Event, into *D) error {
	t := reflect.TypeFor[D]()
	if t.Kind() == reflect.Struct && t.NumField() == 0 {
		return func(*contract.Event, *D) error { return nil }
	}
	read := readerOf(t)
	return func(e *contract.Event, into *D) error {
		if err := read(e.Data, into); err != nil {
			return fmt.Errorf("data of %s: %w", e.EventType, err)
		}
		return nil
	}
}
