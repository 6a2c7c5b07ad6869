package lamphouse

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// Projector is what a projector says of itself, and its handlers.
type Projector struct {
	descriptor contract.Descriptor
	rows       []rowType
	// By event type; "" takes all.
	handlers map[string][]*registered
	// Those of OnFields.
	declaring []handler
	// What is wrong with all this, as far as it can be said before the host looks at it.
	mistakes []string
	prefetch bool
	tables   Tables
}

// registered is a handler and the events that it takes.
type registered struct {
	subscription contract.Subscription
	handler      handler
}

// handler hides the type of an event's data.
type handler interface {
	// read gives the event as the handler takes it.
	read(e *contract.Event) (any, error)
	prefetch(event any, w *Wanted)
	handle(event any, t *Tables) error
	// declaresFields says whether nothing else is read of the events.
	declaresFields() bool
	// declaration gives these fields, and the event type.
	declaration() ([]contract.Field, string, error)
	// function is the author's.
	function() any
	prefetches() bool
}

// Handler is a handler of events: see [On].
type Handler[D any] struct {
	eventType string
	// Made when the first event comes: an instance sees few types of events.
	decode   func(*contract.Event, *D) error
	declares bool
	declared *fieldsOf
	fn       func(*Event[D], *Tables) error
	wants    func(*Event[D], *Wanted)
	of       *Projector
	// Room for some events to come: made together, they cost less.
	room []Event[D]
}

const eventsRoom = 64

// Prefetch names the rows that the handler will read for an event, by [Want], so that those of a whole batch are read
// together.
func (h *Handler[D]) Prefetch(wants func(e *Event[D], w *Wanted)) *Handler[D] {
	h.wants = wants
	h.of.prefetch = true
	return h
}

func (h *Handler[D]) read(e *contract.Event) (any, error) {
	if len(h.room) == 0 {
		h.room = make([]Event[D], eventsRoom)
	}
	event := &h.room[0]
	h.room = h.room[1:]
	event.Header, event.stored, event.declared = &e.Header, e, h.declares
	if h.decode == nil {
		if h.declares {
			fields, err := h.fields()
			if err != nil {
				return nil, err
			}
			h.decode = func(e *contract.Event, into *D) error { return fields.read(e, unsafe.Pointer(into)) }
		} else {
			h.decode = jsonDecoder[D]()
		}
	}
	if err := h.decode(e, &event.Data); err != nil {
		return nil, err
	}
	return event, nil
}

func (h *Handler[D]) fields() (*fieldsOf, error) {
	if h.declared == nil {
		fields, err := newFields(reflect.TypeFor[D]())
		if err != nil {
			return nil, fmt.Errorf("fields of %s: %w", h.eventType, err)
		}
		h.declared = fields
	}
	return h.declared, nil
}

func (h *Handler[D]) declaresFields() bool { return h.declares }

func (h *Handler[D]) declaration() ([]contract.Field, string, error) {
	fields, err := h.fields()
	if err != nil {
		return nil, "", err
	}
	return fields.declared, h.eventType, nil
}

func (h *Handler[D]) prefetch(event any, w *Wanted) { h.wants(event.(*Event[D]), w) }

func (h *Handler[D]) handle(event any, t *Tables) error { return h.fn(event.(*Event[D]), t) }

func (h *Handler[D]) function() any { return h.fn }

func (h *Handler[D]) prefetches() bool { return h.wants != nil }

// NewProjector begins a projector. The name is of lower-case letters, digits and '-', at most 48 of them. A new version
// makes a new generation of the tables, built beside the live ones: raise it whenever the rows would come out differently.
func NewProjector(name, version string) *Projector {
	return &Projector{
		descriptor: contract.Descriptor{Name: name, Version: version},
		handlers:   map[string][]*registered{},
	}
}

// Table keeps a table with such rows: R is a struct whose exported fields are the columns.
//
//	lamphouse:"name"            the column's name; by default the field's in snake_case
//	lamphouse:",key"            of the primary key, in the order of the fields
//	lamphouse:",index"          an index of the column's name; index=NAME on several fields is one index
//	lamphouse:",scale=2"        digits after the point of a Decimal; has to be there
//	lamphouse:",initial=0"      what an upsert gives a new row
//	lamphouse:",json"           kept as JSON, by encoding/json
//	lamphouse:"-"               no column
//
// Types: bool; integers; float64; string; []byte; [Decimal]; [Timestamp]; [JSON]; a pointer to one where null is allowed.
func Table[R any](p *Projector, name string) {
	goType := reflect.TypeFor[R]()
	made, table, mistakes := newRowType(goType, name)
	if same := slices.ContainsFunc(p.rows, func(r rowType) bool { return r.goType == goType }); same {
		mistakes = append(mistakes, fmt.Sprintf("table '%s': rows of type %s are of another table already", name, goType.Name()))
	}
	made.number = uint32(len(p.rows))
	p.rows = append(p.rows, made)
	p.descriptor.Tables = append(p.descriptor.Tables, table)
	p.mistakes = append(p.mistakes, mistakes...)
}

// A Filter narrows the events that a handler takes: [StreamType], [SchemaVersions].
type Filter func(*contract.Subscription)

// StreamType takes events of streams of this type only.
func StreamType(streamType string) Filter {
	return func(s *contract.Subscription) { s.StreamType = &streamType }
}

// SchemaVersions takes events of these versions of their schema only.
func SchemaVersions(versions ...uint32) Filter {
	return func(s *contract.Subscription) { s.SchemaVersions = append(s.SchemaVersions, versions...) }
}

// On takes events of a type. Their data is read into a D by encoding/json: what is missing stays as it is in a new D.
// D may also be [JSON], for the text as it is, or struct{}, where the data does not matter. Events come in the order of the
// log; those that several handlers could take go to the first one of their event type, then to the first of [OnEvery].
func On[D any](p *Projector, eventType string, handle func(*Event[D], *Tables) error, filters ...Filter) *Handler[D] {
	h := &Handler[D]{eventType: eventType, fn: handle, of: p}
	p.register(&eventType, h, filters)
	return h
}

// OnEvery takes events of every type, as far as the filters let them.
func OnEvery[D any](p *Projector, handle func(*Event[D], *Tables) error, filters ...Filter) *Handler[D] {
	h := &Handler[D]{fn: handle, of: p}
	p.register(nil, h, filters)
	return h
}

// OnFields takes events of a type, of which nothing is read but the fields of D: the host takes them out of the JSON in
// native code, several times quicker than [On]. Fields are named by their json tags, within the event's data, or have a path
// of their own: `lamphouse:"/metadata/user"`. Unlike with encoding/json, a field that is null or not there is an error
// unless it is a pointer, a slice or a map, and names are told apart by case.
func OnFields[D any](p *Projector, eventType string, handle func(*Event[D], *Tables) error) *Handler[D] {
	h := &Handler[D]{eventType: eventType, declares: true, fn: handle, of: p}
	p.declaring = append(p.declaring, h)
	p.register(&eventType, h, nil)
	return h
}

func (p *Projector) register(eventType *string, h handler, filters []Filter) {
	r := &registered{handler: h}
	r.subscription.EventType = eventType
	for _, filter := range filters {
		filter(&r.subscription)
	}
	of := ""
	if eventType != nil {
		of = *eventType
	}
	for _, before := range p.handlers[of] {
		switch {
		case h.declaresFields() || before.handler.declaresFields():
			p.mistakes = append(p.mistakes, fmt.Sprintf("%s has another handler beside the one of OnFields", of))
		case before.subscription.StreamType == nil && before.subscription.SchemaVersions == nil:
			p.mistakes = append(p.mistakes, fmt.Sprintf("a second handler of %s would never be called: the first takes all "+
				"of them", cmp.Or(of, "every event")))
		}
	}
	p.handlers[of] = append(p.handlers[of], r)
	p.descriptor.Subscriptions = append(p.descriptor.Subscriptions, r.subscription)
}

// PartitionByStream says that each row depends on the events of one stream, and that the first column of each table's key
// is the stream's id. Then a rebuild uses all cores, and a stream's parked events may be applied after later events of
// others. The host refuses a read or a change of a row of a stream that has no event in the call.
func (p *Projector) PartitionByStream() { p.Option("partition", "stream") }

// Option sets an option. The host refuses those that it does not know.
func (p *Projector) Option(name, value string) {
	p.descriptor.Options = append(p.descriptor.Options, contract.Option{Name: name, Value: value})
}

// rowType finds the table whose rows have this type.
func (p *Projector) rowType(pointer reflect.Type) (*rowType, error) {
	// A projector has a handful of tables: looking through them is quicker than hashing.
	for i := range p.rows {
		if p.rows[i].pointer == pointer {
			return &p.rows[i], nil
		}
	}
	return nil, fmt.Errorf("rows of type %s are used, but no table has them: add lamphouse.Table[%s](p, \"…\")",
		pointer.Elem().Name(), pointer.Elem().Name())
}

// handlerOf finds the handler that takes an event; nil where none does.
func (p *Projector) handlerOf(h *Header) *registered {
	for _, r := range p.handlers[h.EventType] {
		if r.takes(h) {
			return r
		}
	}
	for _, r := range p.handlers[""] {
		if r.takes(h) {
			return r
		}
	}
	return nil
}

func (r *registered) takes(h *Header) bool {
	s := &r.subscription
	return (s.StreamType == nil || *s.StreamType == h.StreamType) &&
		(len(s.SchemaVersions) == 0 || slices.Contains(s.SchemaVersions, h.SchemaVersion))
}
