package web

import (
	"math"
	"regexp"
	"strconv"
	"testing"
)

// TestContrast: the tokens of the stylesheet keep WCAG's ratios in both themes: 4.5 for text on what it stands on, 3 for
// what bounds a control and for series of charts.
func TestContrast(t *testing.T) {
	css, err := staticFS.ReadFile("static/app.css")
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string][2]float64{} // luminance, light and dark
	for _, m := range regexp.MustCompile(`--([a-z0-9-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)`).FindAllStringSubmatch(string(css), -1) {
		tokens[m[1]] = [2]float64{luminance(t, m[2]), luminance(t, m[3])}
	}
	if len(tokens) < 15 {
		t.Fatalf("only %d tokens found", len(tokens))
	}
	check := func(least float64, front string, backs ...string) {
		for _, back := range backs {
			for i, theme := range []string{"light", "dark"} {
				a, okA := tokens[front]
				b, okB := tokens[back]
				if !okA || !okB {
					t.Fatalf("no token %s or %s", front, back)
				}
				if r := (math.Max(a[i], b[i]) + .05) / (math.Min(a[i], b[i]) + .05); r < least {
					t.Errorf("%s on %s, %s: %.2f, want %.1f", front, back, theme, r, least)
				}
			}
		}
	}
	check(4.5, "ink", "bg", "panel", "sunken", "accent-soft", "good-soft", "warn-soft", "bad-soft")
	check(4.5, "muted", "bg", "panel", "sunken")
	check(4.5, "accent-text", "bg", "panel", "sunken", "accent-soft")
	check(4.5, "accent-ink", "accent")
	check(4.5, "good", "panel", "good-soft")
	check(4.5, "warn", "panel", "warn-soft")
	check(4.5, "bad", "panel", "bg", "bad-soft")
	for _, bound := range []string{"line-strong", "accent", "good", "warn"} {
		check(3, bound, "panel", "bg")
	}
}

// luminance is WCAG's relative luminance of a colour such as 1b2330.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	part := func(shift uint) float64 {
		v := float64(n>>shift&0xff) / 255
		if v <= .04045 {
			return v / 12.92
		}
		return math.Pow((v+.055)/1.055, 2.4)
	}
	return .2126*part(16) + .7152*part(8) + .0722*part(0)
}
