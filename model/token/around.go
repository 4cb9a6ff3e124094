package token

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// around walks over text and calls token for each name that stands in it, the longest
// where several begin at one place, and between for what lies between them (which may
// be empty).
func around(text string, names map[string]int32, between func(string), token func(id int32)) {
	sorted := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	var begins [256][]string
	for _, n := range sorted {
		begins[n[0]] = append(begins[n[0]], n)
	}
	from := 0
	for at := 0; at < len(text); {
		here := begins[text[at]]
		i := slices.IndexFunc(here, func(n string) bool { return strings.HasPrefix(text[at:], n) })
		if i < 0 {
			at++
			continue
		}
		between(text[from:at])
		token(names[here[i]])
		at += len(here[i])
		from = at
	}
	between(text[from:])
}
