package lamphouse

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Random gives random numbers that come from an event: the same ones whenever it is projected, in every language. Not for
// secrets.
type Random struct{ state uint64 }

func newRandom(id string, part uint32) *Random {
	// FNV-1a over the id and the part; the generator below mixes it well.
	hash := uint64(0xcbf2_9ce4_8422_2325)
	for _, b := range binary.LittleEndian.AppendUint32([]byte(id), part) {
		hash = (hash ^ uint64(b)) * 0x0000_0100_0000_01b3
	}
	return &Random{hash}
}

// Uint64 gives 64 random bits (SplitMix64).
func (r *Random) Uint64() uint64 {
	r.state += 0x9e37_79b9_7f4a_7c15
	mixed := r.state
	mixed = (mixed ^ mixed>>30) * 0xbf58_476d_1ce4_e5b9
	mixed = (mixed ^ mixed>>27) * 0x94d0_49bb_1331_11eb
	return mixed ^ mixed>>31
}

// Below gives a number from 0 up to, but not, end; 0 if end is 0.
func (r *Random) Below(end uint64) uint64 {
	// The upper half of a product: no bias worth speaking of for an end far below 2^64.
	upper, _ := bits.Mul64(r.Uint64(), end)
	return upper
}

// Fraction gives a number from 0 up to, but not, 1.
func (r *Random) Fraction() float64 { return float64(r.Uint64()>>11) / (1 << 53) }

// UUID gives a random UUID (version 4) as text.
func (r *Random) UUID() string {
	high, low := r.Uint64(), r.Uint64()
	high = high&^0xf000 | 0x4000
	low = low&^(0b11<<62) | 0b10<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", high>>32, high>>16&0xffff, high&0xffff, low>>48, low&0xffff_ffff_ffff)
}
