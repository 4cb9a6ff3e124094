package web

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDiffLines(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"a\nb\nc", "a\nb\nc", " a| b| c"},
		{"a\nb\nc", "a\nx\nc", " a|-b|+x| c"},
		{"a\nc", "a\nb\nc", " a|+b| c"},
		{"a\nb\nc\nd", "b\nd\ne", "-a| b|-c| d|+e"},
		{"", "a", "-|+a"},
	} {
		var got []string
		for _, l := range diffLines(c.from, c.to) {
			got = append(got, l.Op+l.Text)
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%q to %q: %s, want %s", c.from, c.to, s, c.want)
		}
	}
}

// Leaving out the lines of one side gives the other.
func TestDiffIsBothTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", ""}), 1, 12)
		from, to := text.Draw(t, "from"), text.Draw(t, "to")
		var a, b []string
		for _, l := range diffLines(strings.Join(from, "\n"), strings.Join(to, "\n")) {
			if l.Op != "+" {
				a = append(a, l.Text)
			}
			if l.Op != "-" {
				b = append(b, l.Text)
			}
		}
		if strings.Join(a, "\n") != strings.Join(from, "\n") || strings.Join(b, "\n") != strings.Join(to, "\n") {
			t.Fatalf("%q %q became %q %q", from, to, a, b)
		}
	})
}
