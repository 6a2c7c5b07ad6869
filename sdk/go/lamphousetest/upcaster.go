package lamphousetest

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	lamphouse "github.com/lamphouse/lamphouse/sdk/go"
	"github.com/lamphouse/lamphouse/sdk/go/internal/contract"
)

// UpcasterHarness lifts given events and checks what comes out, as the host would: through the upcaster's own rules until
// none takes the result.
type UpcasterHarness struct {
	t        testing.TB
	upcaster *lamphouse.Upcaster
	rules    []contract.Rule
}

// Today is what an event is today: the siblings, in order.
type Today []TodayEvent

// TodayEvent is one event that came out.
type TodayEvent struct {
	EventType     string
	SchemaVersion uint32
	// JSON text.
	Data, Metadata string
}

// NewUpcaster fails the test where the host would refuse what the upcaster declares.
func NewUpcaster(t testing.TB, upcaster *lamphouse.Upcaster) *UpcasterHarness {
	t.Helper()
	descriptor, mistakes := upcaster.Describe()
	refuse(t, "upcaster", mistakes)
	return &UpcasterHarness{t: t, upcaster: upcaster, rules: descriptor.Rules}
}

// Given lifts one event. It fails the test where the upcaster fails, gives what its rule does not name, or gives what is no
// JSON.
func (h *UpcasterHarness) Given(event Event) Today {
	h.t.Helper()
	today, err := h.Run(event)
	if err != nil {
		h.t.Fatal(err)
	}
	return today
}

// Run lifts one event that may fail; the error is a [*Failure].
func (h *UpcasterHarness) Run(event Event) (Today, error) {
	h.t.Helper()
	made, err := event.stored(beginning - 1_000_000)
	if err != nil {
		h.t.Fatal(err)
	}
	made.Position, made.StreamVersion = 1, 1
	made.ID = "00000000-0000-7000-8000-000000000001"
	forms := []contract.Event{made}
	// A chain without a cycle ends within as many rounds as there are rules.
	for range len(h.rules) + 1 {
		next, isDone := []contract.Event{}, true
		for part := range forms {
			form := forms[part]
			takes := lamphouse.V(form.EventType, form.SchemaVersion)
			at := slices.IndexFunc(h.rules, func(rule contract.Rule) bool { return rule.Takes == takes })
			if at < 0 {
				next = append(next, form)
				continue
			}
			isDone = false
			form.Part = uint32(part)
			given, failure := h.upcaster.Lift(&form, 0)
			if failure != nil {
				return nil, &Failure{Event: 1, Message: failure.Message, Trace: failure.Trace}
			}
			for _, lifted := range given {
				if !slices.Contains(h.rules[at].Gives, lifted.Schema) {
					h.t.Fatalf("%s became %s, which its rule does not name: the host would fault", takes, lifted.Schema)
				}
				next = append(next, lift(form, lifted))
			}
		}
		forms = next
		if isDone {
			return h.today(forms), nil
		}
	}
	h.t.Fatal("the rules form a cycle: the host would refuse this upcaster")
	return nil, nil
}

func lift(form contract.Event, lifted contract.Lifted) contract.Event {
	form.EventType, form.SchemaVersion = lifted.Schema.EventType, lifted.Schema.Version
	if lifted.Data != nil {
		form.Data = *lifted.Data
	}
	if lifted.Metadata != nil {
		form.Metadata = *lifted.Metadata
	}
	return form
}

func (h *UpcasterHarness) today(forms []contract.Event) (today Today) {
	h.t.Helper()
	for _, form := range forms {
		for what, text := range map[string]string{"data": form.Data, "metadata": form.Metadata} {
			if err := contract.CheckJSON(text); err != nil {
				h.t.Fatalf("the %s of %s is not JSON: %v", what, form.EventType, err)
			}
		}
		if !strings.HasPrefix(strings.TrimLeft(form.Metadata, " \t\r\n"), "{") {
			h.t.Fatalf("the metadata of %s is no object: the host would fault", form.EventType)
		}
		today = append(today, TodayEvent{form.EventType, form.SchemaVersion, form.Data, form.Metadata})
	}
	return today
}

// Then fails the test unless these came out: type, version and data of each, in order. Data are compared as JSON.
func (h *UpcasterHarness) Then(today Today, events ...Event) {
	h.t.Helper()
	if len(today) != len(events) {
		h.t.Fatalf("%d events came out, not %d: %v", len(today), len(events), today)
	}
	for i, due := range events {
		came := today[i]
		data, err := jsonText(due.Data)
		if err != nil {
			h.t.Fatal(err)
		}
		if came.EventType != due.EventType || came.SchemaVersion != max(due.SchemaVersion, 1) || !sameJSON(came.Data, data) {
			h.t.Errorf("event %d is %s %d %s, not %s %d %s", i+1, came.EventType, came.SchemaVersion, came.Data,
				due.EventType, max(due.SchemaVersion, 1), data)
		}
	}
}

// sameJSON compares JSON texts by what they say; numbers by their digits.
func sameJSON(one, other string) bool {
	read := func(text string) (value any) {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&value) != nil {
			return text
		}
		return value
	}
	return reflect.DeepEqual(read(one), read(other))
}
