// Package lamphousetest runs plugins in tests: given events, then rows; given an event, then today's events. It needs no
// Wasm, no database and no host, and keeps the tables in memory by the host's rules.
//
//	h := lamphousetest.New(t, newProjector())
//	h.Given("order-1", "OrderPlaced", lamphousetest.M{"customer_id": "c-7"})
//	h.Given("order-1", "LineAdded", lamphousetest.M{"quantity": 3, "unit_price": "2.50"})
//	order := lamphousetest.Row[Order](h, "order-1")
//	if order.Total.String() != "7.50" {
//		t.Error(order.Total)
//	}
//	h.AssertSameAtAnyBatchSize()
package lamphousetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	lamphouse "github.com/lamphouse/lamphouse/sdk/go"
	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
	"github.com/lamphouse/lamphouse/sdk/go/internal/hostlog"
)

// Events of one call, unless BatchSize says otherwise.
const batchEvents = 1_000

// When the log of a test begins: 2024-01-01T00:00:00Z.
const beginning = 1_704_067_200_000_000

// M is a JSON object, for short.
type M = map[string]any

// Event is an event to give to a harness. StreamID and EventType have to be there.
type Event struct {
	StreamID string
	// By default what stands before the first '-' of the stream's id.
	StreamType string
	EventType  string
	// By default 1.
	SchemaVersion uint32
	// What encoding/json writes as the event's data; text of type lamphouse.JSON is taken as it is. By default {}.
	Data any
	// By default only a reason.
	Metadata any
	// RFC 3339; by default one second after the event before.
	At string
}

// stored fills in what is left out. An error is one of the test's.
func (e Event) stored(before lamphouse.Timestamp) (contract.Event, error) {
	if e.StreamType == "" {
		e.StreamType, _, _ = strings.Cut(e.StreamID, "-")
	}
	made := contract.Event{Header: contract.Header{
		StreamID: e.StreamID, StreamType: e.StreamType, EventType: e.EventType,
		SchemaVersion: max(e.SchemaVersion, 1), OccurredAt: before + 1_000_000,
	}}
	if e.Data == nil {
		e.Data = M{}
	}
	if e.Metadata == nil {
		e.Metadata = M{"reason": "given by a test"}
	}
	var err error
	if made.Data, err = jsonText(e.Data); err != nil {
		return made, fmt.Errorf("data of %s: %w", e.EventType, err)
	}
	if made.Metadata, err = jsonText(e.Metadata); err != nil {
		return made, fmt.Errorf("metadata of %s: %w", e.EventType, err)
	}
	if e.At != "" {
		made.OccurredAt, err = lamphouse.ParseTimestamp(e.At)
	}
	made.RecordedAt = made.OccurredAt
	return made, err
}

func jsonText(value any) (string, error) {
	if text, ok := value.(lamphouse.JSON); ok {
		return string(text), contract.CheckJSON(string(text))
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// FromLine reads an event as lamphouse export writes it and lamphouse import reads it: one line of JSON.
func FromLine(line string) (Event, error) {
	var read struct {
		StreamID      string          `json:"stream_id"`
		StreamType    string          `json:"stream_type"`
		EventType     string          `json:"event_type"`
		SchemaVersion uint32          `json:"schema_version"`
		Data          json.RawMessage `json:"data"`
		Metadata      json.RawMessage `json:"metadata"`
		OccurredAt    string          `json:"occurred_at"`
	}
	if err := json.Unmarshal([]byte(line), &read); err != nil {
		return Event{}, err
	}
	event := Event{StreamID: read.StreamID, StreamType: read.StreamType, EventType: read.EventType,
		SchemaVersion: read.SchemaVersion, Data: lamphouse.JSON(read.Data), At: read.OccurredAt}
	if read.Metadata != nil {
		event.Metadata = lamphouse.JSON(read.Metadata)
	}
	return event, nil
}

// Failure is why a plugin could not take an event.
type Failure struct {
	// Event counts the events of the test from 1; 0 where it is of none.
	Event int
	// Message is the error's own text.
	Message string
	// Trace is where in the plugin's source.
	Trace string
}

func (f *Failure) Error() string {
	text := f.Message
	if f.Event > 0 {
		text = fmt.Sprintf("event %d of the test: %s", f.Event, text)
	}
	if f.Trace != "" {
		text += "\n" + f.Trace
	}
	return text
}

// Harness runs a projector on given events and shows its rows. Events wait until rows are asked for; then they are projected
// in batches, as the host does it. A failure then fails the test; a test that expects one calls [Harness.Run].
type Harness struct {
	t          testing.TB
	projector  *lamphouse.Projector
	descriptor *contract.Descriptor
	tables     *contract.Memory
	batchSize  int
	// Those that the projector takes; the numbers are of all.
	events    []contract.Event
	given     int
	projected int
	versions  map[string]uint64
	clock     lamphouse.Timestamp
}

// New makes empty tables. It fails the test where the host would refuse what the projector declares.
func New(t testing.TB, projector *lamphouse.Projector) *Harness {
	t.Helper()
	descriptor, mistakes := projector.Describe()
	refuse(t, "projector", mistakes)
	hostlog.Take()
	return &Harness{
		t: t, projector: projector, descriptor: descriptor, tables: contract.NewMemory(descriptor.Tables),
		batchSize: batchEvents, versions: map[string]uint64{}, clock: beginning,
	}
}

func refuse(t testing.TB, what string, mistakes []string) {
	t.Helper()
	if len(mistakes) > 0 {
		t.Fatalf("the host would refuse this %s:\n- %s", what, strings.Join(mistakes, "\n- "))
	}
}

// BatchSize says how many events a call gets. No size may change a row: see [Harness.AssertSameAtAnyBatchSize].
func (h *Harness) BatchSize(events int) *Harness {
	h.batchSize = max(events, 1)
	return h
}

// Given gives one event with data that encoding/json writes: an [M], a struct, or text of type lamphouse.JSON.
func (h *Harness) Given(streamID, eventType string, data any) *Harness {
	h.t.Helper()
	return h.GivenEvent(Event{StreamID: streamID, EventType: eventType, Data: data})
}

// GivenEvent gives one event. One that the projector does not take has its place in the log, and is not projected.
func (h *Harness) GivenEvent(event Event) *Harness {
	h.t.Helper()
	made, err := event.stored(h.clock)
	if err != nil {
		h.t.Fatal(err)
	}
	h.given++
	h.clock = made.OccurredAt
	h.versions[event.StreamID]++
	made.Position = uint64(h.given)
	made.ID = fmt.Sprintf("00000000-0000-7000-8000-%012x", h.given)
	made.StreamVersion = h.versions[event.StreamID]
	if h.projector.Takes(&made.Header) {
		h.events = append(h.events, made)
	}
	return h
}

// Run projects the events that wait. On a failure, the rows are as they were after the last batch that went well; the error
// is a [*Failure].
func (h *Harness) Run() error {
	for h.projected < len(h.events) {
		batch := h.events[h.projected:min(h.projected+h.batchSize, len(h.events))]
		if err := project(h.projector, h.tables, batch); err != nil {
			return err
		}
		h.projected += len(batch)
	}
	return nil
}

// project makes one call: all of its changes, or none.
func project(projector *lamphouse.Projector, tables *contract.Memory, batch []contract.Event) error {
	var bytes []byte
	for i := range batch {
		bytes = contract.AppendEvent(bytes, &batch[i])
	}
	tables.Begin()
	changes, failure := projector.Call(bytes, tables)
	if failure != nil {
		tables.Undo()
		made := &Failure{Message: failure.Message, Trace: failure.Trace}
		if failure.Index >= 0 {
			made.Event = int(batch[failure.Index].Position)
		}
		return made
	}
	if err := tables.Apply(changes); err != nil {
		tables.Undo()
		return &Failure{Message: err.Error()}
	}
	return nil
}

// settle projects what waits, or fails the test.
func (h *Harness) settle() {
	h.t.Helper()
	if err := h.Run(); err != nil {
		h.t.Fatal(err)
	}
}

// Row gives a row by its key, as lamphouse.Get does; nil where there is none.
func Row[R any](h *Harness, key any) *R {
	h.t.Helper()
	h.settle()
	return look(h, func(t *lamphouse.Tables) (*R, error) { return lamphouse.Get[R](t, key) })
}

// Rows gives all rows of a table, in the order of their keys.
func Rows[R any](h *Harness) []R {
	h.t.Helper()
	h.settle()
	return look(h, func(t *lamphouse.Tables) ([]R, error) {
		return lamphouse.AllRows[R](t, func(table uint32) [][]contract.Value { return h.tables.Rows(int(table)) })
	})
}

// Find gives the rows that lamphouse.Find would.
func Find[R any](h *Harness, index string, values any) []*R {
	h.t.Helper()
	h.settle()
	return look(h, func(t *lamphouse.Tables) ([]*R, error) { return lamphouse.Find[R](t, index, values) })
}

// look reads the tables as a handler would.
func look[T any](h *Harness, read func(*lamphouse.Tables) (T, error)) (found T) {
	h.t.Helper()
	found, err := read(h.projector.Open(h.tables))
	if err != nil {
		h.t.Fatal(err)
	}
	return found
}

// LogLine is what a plugin wrote to its log.
type LogLine struct {
	// trace, debug, info, warn or error.
	Level   string
	Message string
}

// Log gives what plugins wrote to their log since it was last called, or since New. Tests that run in parallel share it.
func (h *Harness) Log() []LogLine {
	h.t.Helper()
	h.settle()
	var lines []LogLine
	for _, line := range hostlog.Take() {
		lines = append(lines, LogLine{hostlog.Levels[line.Level], line.Message})
	}
	return lines
}

// AssertSameAtAnyBatchSize projects all events anew in batches of 1, 7 and 1,000, and fails the test if any row differs: the
// host refuses a projector whose rows depend on how its events are cut. In the last round, declared fields are handed over as
// the host does it, so that they are held to the same rows.
func (h *Harness) AssertSameAtAnyBatchSize() {
	h.t.Helper()
	var first *contract.Memory
	for _, size := range []int{1, 7, 1_000} {
		tables := contract.NewMemory(h.descriptor.Tables)
		events := h.events
		if size == 1_000 {
			events = h.withFields()
		}
		for from := 0; from < len(events); from += size {
			if err := project(h.projector, tables, events[from:min(from+size, len(events))]); err != nil {
				h.t.Fatalf("in batches of %d: %v", size, err)
			}
		}
		if first == nil {
			first = tables
			continue
		}
		for table := range h.descriptor.Tables {
			if difference := contract.Difference(first.Rows(table), tables.Rows(table)); difference != "" {
				h.t.Fatalf("table '%s' differs in batches of %d from batches of 1: %s",
					h.descriptor.Tables[table].Name, size, difference)
			}
		}
	}
}

// withFields gives the events with declared fields in the place of data and metadata, as far as they are as declared.
func (h *Harness) withFields() []contract.Event {
	plans := map[string]*contract.FieldPlan{}
	declared, _ := h.projector.Declared()
	for _, of := range declared {
		plan, err := contract.NewFieldPlan(of.Fields)
		if err != nil {
			h.t.Fatal(err)
		}
		plans[of.EventType] = plan
	}
	events := slices.Clone(h.events)
	for i := range events {
		plan := plans[events[i].EventType]
		if plan == nil {
			continue
		}
		values, err := plan.Extract(events[i].Data, events[i].Metadata, nil)
		if err != nil {
			continue
		}
		var fields []byte
		for v := range values {
			fields = contract.AppendValue(fields, &values[v])
		}
		events[i].Data, events[i].Metadata, events[i].Fields, events[i].HasFields = "", "", string(fields), true
	}
	return events
}

// AsFailure gives what an error of [Harness.Run] says; nil where it is none.
func AsFailure(err error) *Failure {
	var failure *Failure
	errors.As(err, &failure)
	return failure
}
