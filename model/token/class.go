package token

import (
	"unicode"
	"unicode/utf8"
)

// class is what the patterns ask of a character.
type class uint8

const (
	symbol class = iota // neither of the others
	letter              // \p{L}
	number              // \p{N}
	space               // White_Space: with U+0085, without U+FEFF
)

// classes holds the class of each character of the basic plane: a look into Unicode's
// range tables would cost more than all else of the pre-tokeniser.
var classes = func() *[1 << 16]class {
	var t [1 << 16]class
	fill := func(table *unicode.RangeTable, c class) {
		for _, r := range table.R16 {
			for v := uint32(r.Lo); v <= uint32(r.Hi); v += uint32(r.Stride) {
				t[v] = c
			}
		}
	}
	fill(unicode.L, letter)
	fill(unicode.N, number)
	fill(unicode.White_Space, space)
	return &t
}()

func runeClass(r rune) class {
	switch {
	case uint32(r) < 1<<16:
		return classes[r]
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	}
	return symbol // there is no white space beyond the basic plane
}

// classOf gives the class and the size in bytes of the first character. A byte that is
// not UTF-8 is a symbol.
func classOf(text string) (class, int) {
	if text[0] < utf8.RuneSelf {
		return classes[text[0]], 1
	}
	r, size := utf8.DecodeRuneInString(text)
	return runeClass(r), size
}

// runLen is the length in bytes of the run of class c at the start of text.
func runLen(text string, c class) int {
	n := 0
	for n < len(text) {
		if text[n] < utf8.RuneSelf {
			if classes[text[n]] != c {
				break
			}
			n++
			continue
		}
		got, size := classOf(text[n:])
		if got != c {
			break
		}
		n += size
	}
	return n
}

func isSpace(r rune) bool { return runeClass(r) == space }

// isWord says whether r is matched by \w, as Unicode's Technical Standard 18 has it.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}

// isPunctuation says what BERT's tokenizers split off: Unicode's punctuation, and all
// of ASCII that is neither letter, digit nor white space.
func isPunctuation(r rune) bool {
	return r > ' ' && r < 0x7f && classes[r] == symbol || unicode.IsPunct(r)
}
