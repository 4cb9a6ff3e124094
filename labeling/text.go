package labeling

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckText refuses text that arrived from outside and that Postgres could not
// store unchanged: NUL and invalid UTF-8 (which includes lone surrogates). The
// error names the field and the byte offset. Nothing is repaired silently.
func CheckText(field, s string) error {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return invalid(field, "invalid UTF-8 at byte %d", i)
		case r == 0:
			return invalid(field, "NUL at byte %d", i)
		}
		i += n
	}
	return nil
}

// Sanitize is the view of a sampled answer that Postgres and people can read: NUL
// becomes U+2400, each byte that is not UTF-8 becomes U+FFFD, all else stays. raw
// holds the exact bytes where the view differs from them and is nil otherwise.
// Sanitize of a view is the view.
func Sanitize(s string) (view string, raw []byte) {
	if CheckText("", s) == nil {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == 0 {
			r = '\u2400'
		}
		b.WriteRune(r) // RuneError for a bad byte
		i += n
	}
	return b.String(), []byte(s)
}

// Visible shows what could mislead a reader: directional and other invisible
// formatting characters and control characters (but tab and line feed) are written
// as ⟨U+202E⟩. Joiners that belong to a script or an emoji stay.
func Visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t' || r == '\n' || r == '\u200c' || r == '\u200d':
			b.WriteRune(r)
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Normalize is the form in which two prompts count as the same text: runs of white
// space are one space, none at the ends.
func Normalize(s string) string { return strings.Join(strings.Fields(s), " ") }

// promptHash identifies a prompt within its project.
func promptHash(messages []Message) [32]byte {
	h := sha256.New()
	for _, m := range messages {
		fmt.Fprintf(h, "%s\x1f%s\x1e", m.Role, Normalize(m.Content))
	}
	return [32]byte(h.Sum(nil))
}

// checkMessages wants a conversation that ends with the user's turn.
func checkMessages(messages []Message) error {
	if len(messages) == 0 {
		return invalid("messages", "empty")
	}
	for i, m := range messages {
		field := fmt.Sprintf("messages[%d]", i)
		switch m.Role {
		case "system", "user", "assistant":
		default:
			return invalid(field+".role", "%q is none of system, user, assistant", m.Role)
		}
		if err := CheckText(field+".content", m.Content); err != nil {
			return err
		}
		if Normalize(m.Content) == "" {
			return invalid(field+".content", "empty")
		}
	}
	if last := messages[len(messages)-1].Role; last != "user" {
		return invalid("messages", "the last turn is the %s's; it must be the user's", last)
	}
	return nil
}
