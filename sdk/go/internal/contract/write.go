package contract

import (
	"encoding/binary"
	"math"
)

const (
	extDecimal   = 1
	extTimestamp = 2
	extJSON      = 3
)

// AppendArray opens an array of so many entries.
func AppendArray(out []byte, entries int) []byte {
	switch {
	case entries <= 15:
		return append(out, 0x90|byte(entries))
	case entries <= math.MaxUint16:
		return append(out, 0xdc, byte(entries>>8), byte(entries))
	default:
		return binary.BigEndian.AppendUint32(append(out, 0xdd), uint32(entries))
	}
}

// AppendUint appends an unsigned integer.
func AppendUint(out []byte, number uint64) []byte {
	switch {
	case number <= 0x7f:
		return append(out, byte(number))
	case number <= math.MaxUint8:
		return append(out, 0xcc, byte(number))
	case number <= math.MaxUint16:
		return append(out, 0xcd, byte(number>>8), byte(number))
	case number <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(out, 0xce), uint32(number))
	default:
		return binary.BigEndian.AppendUint64(append(out, 0xcf), number)
	}
}

// AppendInt appends a signed integer.
func AppendInt(out []byte, number int64) []byte {
	switch {
	case number >= 0:
		return AppendUint(out, uint64(number))
	case number >= -0x20:
		return append(out, byte(number))
	case number >= math.MinInt8:
		return append(out, 0xd0, byte(number))
	case number >= math.MinInt16:
		return append(out, 0xd1, byte(number>>8), byte(number))
	case number >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(out, 0xd2), uint32(number))
	default:
		return binary.BigEndian.AppendUint64(append(out, 0xd3), uint64(number))
	}
}

// AppendString appends a text.
func AppendString(out []byte, text string) []byte {
	if len(text) <= 31 {
		out = append(out, 0xa0|byte(len(text)))
	} else {
		out = appendHead(out, 0xd9, len(text))
	}
	return append(out, text...)
}

// AppendBin appends bytes.
func AppendBin(out []byte, bytes string) []byte {
	return append(appendHead(out, 0xc4, len(bytes)), bytes...)
}

// appendHead appends the tag of the shortest length, of three in a row, and the length.
func appendHead(out []byte, tag byte, length int) []byte {
	switch {
	case length <= math.MaxUint8:
		return append(out, tag, byte(length))
	case length <= math.MaxUint16:
		return append(out, tag+1, byte(length>>8), byte(length))
	default:
		return binary.BigEndian.AppendUint32(append(out, tag+2), uint32(length))
	}
}

func appendExtHead(out []byte, kind byte, length int) []byte {
	switch length {
	case 1:
		out = append(out, 0xd4)
	case 2:
		out = append(out, 0xd5)
	case 4:
		out = append(out, 0xd6)
	case 8:
		out = append(out, 0xd7)
	case 16:
		out = append(out, 0xd8)
	default:
		out = appendHead(out, 0xc7, length)
	}
	return append(out, kind)
}

// AppendValue appends a value.
func AppendValue(out []byte, v *Value) []byte {
	switch v.kind {
	case Null:
		return append(out, 0xc0)
	case Boolean:
		return append(out, 0xc2|byte(v.word))
	case Integer:
		return AppendInt(out, v.Int())
	case Real:
		return binary.BigEndian.AppendUint64(append(out, 0xcb), v.word)
	case DecimalKind:
		var room [44]byte
		text := v.Decimal().AppendText(room[:0])
		return append(appendExtHead(out, extDecimal, len(text)), text...)
	case Text:
		return AppendString(out, v.text)
	case Bytes:
		return AppendBin(out, v.text)
	case TimestampKind:
		return binary.BigEndian.AppendUint64(append(out, 0xd7, extTimestamp), v.word)
	default:
		return append(appendExtHead(out, extJSON, len(v.text)), v.text...)
	}
}

// AppendValues appends a row or a key.
func AppendValues(out []byte, values []Value) []byte {
	out = AppendArray(out, len(values))
	for i := range values {
		out = AppendValue(out, &values[i])
	}
	return out
}

// AppendPut appends a put.
func AppendPut(out []byte, table uint32, row []Value) []byte {
	return AppendValues(appendOperation(out, 3, Put, table), row)
}

// AppendRemove appends a remove.
func AppendRemove(out []byte, table uint32, key []Value) []byte {
	return AppendValues(appendOperation(out, 3, Remove, table), key)
}

// AppendCells appends a patch or an upsert.
func AppendCells(out []byte, operation Operation, table uint32, key []Value, cells []Cell) []byte {
	out = AppendValues(appendOperation(out, 4, operation, table), key)
	out = AppendArray(out, len(cells)*3)
	for i := range cells {
		cell := &cells[i]
		out = AppendUint(out, uint64(cell.Column))
		if cell.Adds {
			out = append(out, 1)
		} else {
			out = append(out, 0)
		}
		out = AppendValue(out, &cell.Value)
	}
	return out
}

func appendOperation(out []byte, entries int, operation Operation, table uint32) []byte {
	return AppendUint(append(AppendArray(out, entries), byte(operation)), uint64(table))
}

// AppendChange appends any change.
func AppendChange(out []byte, change *Change) []byte {
	switch change.Operation {
	case Put:
		return AppendPut(out, change.Table, change.Values)
	case Remove:
		return AppendRemove(out, change.Table, change.Values)
	default:
		return AppendCells(out, change.Operation, change.Table, change.Values, change.Cells)
	}
}

// AppendRead appends one read: a table and a key.
func AppendRead(out []byte, table uint32, key []Value) []byte {
	return AppendValues(AppendUint(AppendArray(out, 2), uint64(table)), key)
}

// AppendAnswer appends one answer: a row, or nil where there is none.
func AppendAnswer(out []byte, row []Value) []byte {
	if row == nil {
		return append(out, 0xc0)
	}
	return AppendValues(out, row)
}

// Header is what is known of every event beside its data and metadata.
type Header struct {
	// Position is the place of the stored event in the log. Siblings share it.
	Position uint64
	// Part counts, from 0, the siblings that upcasters made of one stored event.
	Part uint32
	// ID is the event's identity, as text.
	ID string
	// StreamID and StreamType name the stream, StreamVersion is the place in it.
	StreamID, StreamType string
	StreamVersion        uint64
	// EventType is for example OrderPlaced, SchemaVersion counts from 1; both after upcasting.
	EventType     string
	SchemaVersion uint32
	// OccurredAt is when it happened: the only clock that a projector should look at. RecordedAt is when the log stored it.
	OccurredAt, RecordedAt Timestamp
}

// Event is one event as it is packed.
type Event struct {
	Header
	Data, Metadata string // JSON text; empty where fields came instead
	// The packed values of the declared fields, where HasFields.
	Fields    string
	HasFields bool
}

// AppendEvent appends an event.
func AppendEvent(out []byte, e *Event) []byte {
	if e.HasFields {
		out = AppendArray(out, 13)
	} else {
		out = AppendArray(out, 12)
	}
	out = AppendUint(out, e.Position)
	out = AppendUint(out, uint64(e.Part))
	out = AppendString(out, e.ID)
	out = AppendString(out, e.StreamID)
	out = AppendString(out, e.StreamType)
	out = AppendUint(out, e.StreamVersion)
	out = AppendString(out, e.EventType)
	out = AppendUint(out, uint64(e.SchemaVersion))
	if e.HasFields {
		out = append(out, 0xc0, 0xc0)
	} else {
		out = AppendString(out, e.Data)
		out = AppendString(out, e.Metadata)
	}
	out = AppendInt(out, int64(e.OccurredAt))
	out = AppendInt(out, int64(e.RecordedAt))
	if e.HasFields {
		out = AppendBin(out, e.Fields)
	}
	return out
}

// Lifted is one event that an upcaster gives. Nil data or metadata: as in the event that was given.
type Lifted struct {
	Schema         Schema
	Data, Metadata *string
}

// AppendLifted appends the list of what one event became.
func AppendLifted(out []byte, list []Lifted) []byte {
	out = AppendArray(out, len(list))
	for i := range list {
		out = AppendArray(out, 4)
		out = AppendString(out, list[i].Schema.EventType)
		out = AppendUint(out, uint64(list[i].Schema.Version))
		for _, text := range []*string{list[i].Data, list[i].Metadata} {
			if text == nil {
				out = append(out, 0xc0)
			} else {
				out = AppendString(out, *text)
			}
		}
	}
	return out
}
