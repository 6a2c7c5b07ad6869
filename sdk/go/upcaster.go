package lamphouse

import (
	"fmt"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// Upcaster is what an upcaster says of itself, and its handlers: it lifts events of old schemas to newer ones, between the
// log and the projectors; the log itself stays as it is. What comes out of an event may depend on that event alone.
type Upcaster struct {
	descriptor contract.UpcasterDescriptor
	rules      map[Schema]lifter
}

// lifter hides the type of an event's data.
type lifter struct {
	lift func(e *contract.Event, today *Today) error
	// The author's function; nil where there is none.
	function any
}

// NewUpcaster begins an upcaster. A new version builds the projections anew that it reaches: raise it whenever other events
// would come out.
func NewUpcaster(name, version string) *Upcaster {
	return &Upcaster{
		descriptor: contract.UpcasterDescriptor{Name: name, Version: version},
		rules:      map[Schema]lifter{},
	}
}

// V is a type of event in one version: V("LineAdded", 2).
func V(eventType string, version uint32) Schema {
	return Schema{EventType: eventType, Version: version}
}

// Gives lists what a rule may give.
func Gives(schemas ...Schema) []Schema { return schemas }

// Rule takes events of one schema and gives events of others: nothing, one or several, each of a schema that gives names.
// What comes out is lifted again, by this upcaster or another, until nothing takes it. Only one upcaster of a host may take
// a schema, and no chain of rules may come back to where it was. The event's data is read into a D as by [On].
func Rule[D any](u *Upcaster, takes Schema, gives []Schema, lift func(*Event[D], *Today) error) {
	decode := jsonDecoder[D]()
	u.rule(takes, gives, lifter{function: lift, lift: func(e *contract.Event, today *Today) error {
		event := &Event[D]{Header: &e.Header, stored: e}
		if err := decode(e, &event.Data); err != nil {
			return err
		}
		return lift(event, today)
	}})
}

// Renames takes events of one schema and gives them under another; data and metadata stay as they are, to the letter.
func (u *Upcaster) Renames(takes, gives Schema) {
	u.rule(takes, []Schema{gives}, lifter{lift: func(_ *contract.Event, today *Today) error {
		today.Rename(gives.EventType, gives.Version)
		return nil
	}})
}

// Drops takes events of one schema and gives none.
func (u *Upcaster) Drops(takes Schema) {
	u.rule(takes, nil, lifter{lift: func(*contract.Event, *Today) error { return nil }})
}

// Option sets an option. The host refuses those that it does not know.
func (u *Upcaster) Option(name, value string) {
	u.descriptor.Options = append(u.descriptor.Options, contract.Option{Name: name, Value: value})
}

func (u *Upcaster) rule(takes Schema, gives []Schema, l lifter) {
	u.descriptor.Rules = append(u.descriptor.Rules, contract.Rule{Takes: takes, Gives: gives})
	u.rules[takes] = l
}

// Today takes what an event is today, in order. Position, stream, times and id stay those of the stored event; metadata
// stays unless it is given too.
type Today struct {
	given []contract.Lifted
	// The first failure: it fails the call, even if it is ignored.
	broken error
}

// Give gives an event with data that encoding/json writes.
func (t *Today) Give(eventType string, version uint32, data any) error {
	text, err := t.json(data)
	if err == nil {
		t.push(eventType, version, &text, nil)
	}
	return err
}

// GiveWithMetadata gives an event with data and metadata that encoding/json writes; metadata is to be an object.
func (t *Today) GiveWithMetadata(eventType string, version uint32, data, metadata any) error {
	text, err := t.json(data)
	if err != nil {
		return err
	}
	more, err := t.json(metadata)
	if err == nil {
		t.push(eventType, version, &text, &more)
	}
	return err
}

// Rename gives the event under another type or version; its data and metadata stay as they are, to the letter.
func (t *Today) Rename(eventType string, version uint32) { t.push(eventType, version, nil, nil) }

// GiveJSON gives an event whose data and metadata are JSON text already.
func (t *Today) GiveJSON(eventType string, version uint32, data, metadata string) {
	t.push(eventType, version, &data, &metadata)
}

func (t *Today) json(value any) (string, error) {
	text, err := marshal(value)
	if err != nil {
		err = madeHere(fmt.Errorf("writing an event as JSON: %w", err))
		if t.broken == nil {
			t.broken = err
		}
	}
	return text, err
}

func (t *Today) push(eventType string, version uint32, data, metadata *string) {
	t.given = append(t.given, contract.Lifted{Schema: V(eventType, version), Data: data, Metadata: metadata})
}

// Describe gives what the host is told of the upcaster, and what the host would refuse of it. It is for package upcaster and
// for package lamphousetest.
func (u *Upcaster) Describe() (*contract.UpcasterDescriptor, []string) {
	return &u.descriptor, contract.CheckUpcaster(&u.descriptor)
}

// Lift gives what one event is today. It is for package upcaster and for package lamphousetest.
func (u *Upcaster) Lift(e *contract.Event, index int) (given []contract.Lifted, failure *contract.Failure) {
	defer func() {
		if panicked := recover(); panicked != nil {
			given, failure = nil, failureOfPanic(index, panicked)
		}
	}()
	rule, ok := u.rules[V(e.EventType, e.SchemaVersion)]
	if !ok {
		return nil, failureOf(index, fmt.Errorf("no rule takes %s %d", e.EventType, e.SchemaVersion), nil)
	}
	var today Today
	err := rule.lift(e, &today)
	if err == nil {
		err = today.broken
	}
	if err != nil {
		return nil, failureOf(index, err, rule.function)
	}
	return today.given, nil
}

// Call lifts a call's packed events and gives what they became, packed. It is for package upcaster.
func (u *Upcaster) Call(events []byte) ([]byte, *contract.Failure) {
	// What comes out is mostly as long as what went in.
	out := make([]byte, 0, len(events))
	r := contract.NewReader(stringOf(events))
	for index := 0; r.More(); index++ {
		var e contract.Event
		r.Event(&e)
		if r.Err() != nil {
			break
		}
		given, failure := u.Lift(&e, index)
		if failure != nil {
			return nil, failure
		}
		out = contract.AppendLifted(out, given)
	}
	if err := r.Err(); err != nil {
		return nil, failureOf(-1, err, nil)
	}
	return out, nil
}
