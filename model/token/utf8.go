package token

import (
	"strings"
	"unicode/utf8"
)

// validUTF8 is b as text; each longest start of a sequence that goes wrong becomes
// one U+FFFD, as the Unicode standard recommends (and Python and Rust do).
func validUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	takeUTF8(&out, b, true)
	return out.String()
}

// takeUTF8 writes the text of b to out and returns what is left: the beginning of a
// sequence that more bytes may complete, or nothing where end says that none come.
func takeUTF8(out *strings.Builder, b []byte, end bool) []byte {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			for size < len(b) && !utf8.FullRune(b[:size+1]) {
				size++ // still a start that could have become a character
			}
			if size == len(b) && !utf8.FullRune(b) && !end {
				return b
			}
		}
		if r == utf8.RuneError {
			out.WriteRune(utf8.RuneError)
		} else {
			out.Write(b[:size])
		}
		b = b[size:]
	}
	return nil
}
