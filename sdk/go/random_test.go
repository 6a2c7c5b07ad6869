package lamphouse

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestGoldenRandom(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "wit", "golden", "random.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		ID       string      `json:"id"`
		Part     uint32      `json:"part"`
		Next     [2]jsonUint `json:"next_u64"`
		Below6   [3]uint64   `json:"below_6"`
		Below63  jsonUint    `json:"below_2_to_the_63"`
		Below0   uint64      `json:"below_0"`
		Fraction float64     `json:"fraction"`
		UUID     string      `json:"uuid"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatal(err)
	}
	for _, v := range vectors {
		r := newRandom(v.ID, v.Part)
		for _, due := range v.Next {
			if got := r.Uint64(); got != uint64(due) {
				t.Errorf("%s: %d, not %d", v.ID, got, due)
			}
		}
		for _, due := range v.Below6 {
			if got := r.Below(6); got != due {
				t.Errorf("%s: %d of 6, not %d", v.ID, got, due)
			}
		}
		if got := r.Below(1 << 63); got != uint64(v.Below63) {
			t.Errorf("%s: %d, not %d", v.ID, got, v.Below63)
		}
		if got := r.Below(0); got != v.Below0 {
			t.Errorf("%s: %d of 0", v.ID, got)
		}
		if got := r.Fraction(); got != v.Fraction {
			t.Errorf("%s: %v, not %v", v.ID, got, v.Fraction)
		}
		if got := r.UUID(); got != v.UUID {
			t.Errorf("%s: %s, not %s", v.ID, got, v.UUID)
		}
	}
}

type jsonUint uint64

func (n *jsonUint) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text[1:len(text)-1], (*uint64)(n))
}
