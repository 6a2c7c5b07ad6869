package contract

import "encoding/binary"

// AppendOrdered appends the values as bytes whose order is the order of the values, column by column: false before true,
// integers, timestamps and decimals by number, text and bytes by their bytes. The values must be conformed, and none may be
// null.
func AppendOrdered(out []byte, values []Value) []byte {
	for i := range values {
		v := &values[i]
		switch v.kind {
		case Boolean:
			out = append(out, byte(v.word))
		case Integer, TimestampKind:
			// With the sign bit turned, negative numbers come before positive ones.
			out = binary.BigEndian.AppendUint64(out, v.word^1<<63)
		case DecimalKind:
			sign, flip := byte(1), uint64(0)
			if v.neg {
				sign, flip = 0, ^uint64(0)
			}
			out = binary.BigEndian.AppendUint64(append(out, sign), v.upper^flip)
			out = binary.BigEndian.AppendUint64(out, v.word^flip)
		case Text:
			// Text has no U+0000, so one byte 0 ends it.
			out = append(append(out, v.text...), 0)
		case Bytes:
			// A 0 within becomes 0 255; 0 0 ends.
			for _, b := range []byte(v.text) {
				out = append(out, b)
				if b == 0 {
					out = append(out, 0xff)
				}
			}
			out = append(out, 0, 0)
		}
	}
	return out
}
