package labeling

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckText(t *testing.T) {
	for s, want := range map[string]string{
		"fine 長 👩\u200d👧":   "",
		"a\x00":             "f: NUL at byte 1",
		"長\xff":             "f: invalid UTF-8 at byte 3",
		"x\xed\xa0\x80":     "f: invalid UTF-8 at byte 1",
		"\ufffd is allowed": "",
	} {
		got := ""
		if err := CheckText("f", s); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestVisible(t *testing.T) {
	for s, want := range map[string]string{
		"plain\n\ttext":     "plain\n\ttext",
		"\u202eevil\u202c":  "⟨U+202E⟩evil⟨U+202C⟩",
		"a\u200bb\ufeffc":   "a⟨U+200B⟩b⟨U+FEFF⟩c",
		"👩\u200d👧 क\u200dष": "👩\u200d👧 क\u200dष",
		"\x1b[31m\r":        "⟨U+001B⟩[31m⟨U+000D⟩",
		"مرحبا, שלום, 你好 é": "مرحبا, שלום, 你好 é",
	} {
		if got := Visible(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func FuzzSanitize(f *testing.F) {
	for _, s := range nasty {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		view, raw := Sanitize(s)
		if !utf8.ValidString(view) || strings.ContainsRune(view, 0) {
			t.Errorf("view %q cannot be stored", view)
		}
		if raw == nil && view != s || raw != nil && string(raw) != s {
			t.Errorf("%q is lost: view %q, raw %q", s, view, raw)
		}
		if again, raw := Sanitize(view); again != view || raw != nil {
			t.Errorf("view of %q is %q", view, again)
		}
	})
}
