package lamphouse

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// Describe gives what the host is told of the projector, and what the host would refuse of it. It is for package projector
// and for package lamphousetest.
func (p *Projector) Describe() (*contract.Descriptor, []string) {
	descriptor := p.descriptor
	mistakes := slices.Clip(p.mistakes)
	declared, wrong := p.Declared()
	mistakes = append(mistakes, wrong...)
	if len(mistakes) == 0 {
		mistakes = append(contract.Check(&descriptor), contract.CheckFields(declared)...)
	}
	if len(declared) > 0 {
		option := contract.Option{Name: contract.FieldsOption, Value: contract.SpellFields(declared)}
		descriptor.Options = append(descriptor.Options[:len(descriptor.Options):len(descriptor.Options)], option)
	}
	return &descriptor, mistakes
}

// Declared gives the fields that handlers of OnFields declare, and what is wrong with them. It is for package lamphousetest.
func (p *Projector) Declared() (declared []contract.EventFields, mistakes []string) {
	for _, handler := range p.declaring {
		fields, eventType, err := handler.declaration()
		if err != nil {
			mistakes = append(mistakes, err.Error())
			continue
		}
		declared = append(declared, contract.EventFields{EventType: eventType, Fields: fields})
	}
	return declared, mistakes
}

// Takes says whether some handler takes an event.
func (p *Projector) Takes(h *Header) bool { return p.handlerOf(h) != nil }

// Call runs one batch: packed events in, packed changes out. It is for package projector and for package lamphousetest. The
// events are not copied: they must stay as they are until it returns.
func (p *Projector) Call(events []byte, host contract.Host) (changes []byte, failure *contract.Failure) {
	index := -1
	defer func() {
		if panicked := recover(); panicked != nil {
			changes, failure = nil, failureOfPanic(index, panicked)
			// What broke before is the cause.
			if p.tables.broken != nil {
				failure = failureOf(index, p.tables.broken, nil)
			}
		}
	}()
	t := &p.tables
	t.projector, t.broken = p, nil
	t.memo.begin(p.descriptor.Tables, host)

	batch, err := readEvents(events)
	if err != nil {
		return nil, failureOf(-1, err, nil)
	}
	var ready []any
	if p.prefetch {
		ready = make([]any, len(batch))
		wanted := Wanted{tables: t}
		for index = range batch {
			r := p.handlerOf(&batch[index].Header)
			if r == nil || !r.handler.prefetches() {
				continue
			}
			// What cannot be read is told when its turn comes.
			if event, err := r.handler.read(&batch[index]); err == nil {
				ready[index] = event
				r.handler.prefetch(event, &wanted)
			}
		}
		index = -1
		if err := t.memo.read(wanted.places...); err != nil {
			return nil, failureOf(-1, err, nil)
		}
	}
	for index = range batch {
		stored := &batch[index]
		r := p.handlerOf(&stored.Header)
		if r == nil {
			return nil, failureOf(index, fmt.Errorf("no handler takes %s %d", stored.EventType, stored.SchemaVersion), nil)
		}
		var event any
		if ready != nil {
			event = ready[index]
		}
		if event == nil {
			if event, err = r.handler.read(stored); err != nil {
				return nil, failureOf(index, err, r.handler.function())
			}
		}
		if err := r.handler.handle(event, t); err != nil {
			return nil, failureOf(index, err, r.handler.function())
		}
		if t.broken != nil {
			failure := failureOf(index, t.broken, nil)
			failure.Message = "the projector went on after a failure of its tables: " + failure.Message
			return nil, failure
		}
	}
	return t.memo.handOver(-1, nil), nil
}

// readEvents reads the events of a call; their texts lie within its bytes.
func readEvents(bytes []byte) ([]contract.Event, error) {
	// Events are hardly shorter.
	events := make([]contract.Event, 0, len(bytes)/100+1)
	r := contract.NewReader(stringOf(bytes))
	for r.More() {
		events = append(events, contract.Event{})
		r.Event(&events[len(events)-1])
	}
	return events, r.Err()
}

// stringOf is the bytes as text without a copy: they must not change any more.
func stringOf(bytes []byte) string { return unsafe.String(unsafe.SliceData(bytes), len(bytes)) }

// Open gives the tables as a handler has them, for looking at them after a call. It is for package lamphousetest.
func (p *Projector) Open(host contract.Host) *Tables {
	t := &Tables{projector: p}
	t.memo.begin(p.descriptor.Tables, host)
	return t
}

// AllRows gives the rows of a table from all of their values. It is for package lamphousetest.
func AllRows[R any](t *Tables, all func(table uint32) [][]contract.Value) ([]R, error) {
	r, err := t.of(rowOf[R]())
	if err != nil {
		return nil, err
	}
	values := all(r.number)
	rows := make([]R, len(values))
	for i := range rows {
		if err := r.fill(unsafe.Pointer(&rows[i]), values[i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}
