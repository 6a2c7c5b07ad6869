package lamphouse

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestVendoredNamesEverySource keeps the list of what lamphouse plugin new copies true.
func TestVendoredNamesEverySource(t *testing.T) {
	text, err := os.ReadFile("VENDORED")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"go.mod", "/LICENSE-APACHE", "/LICENSE-MIT"}
	err = fs.WalkDir(os.DirFS("."), ".", func(path string, entry fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			want = append(want, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("VENDORED names %v, but the sources are %v", got, want)
	}
}
