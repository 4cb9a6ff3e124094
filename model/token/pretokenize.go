package token

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// words calls yield for each piece of text that GPT-2's pattern makes
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// The pieces joined are the text. Bytes that are not UTF-8 count as symbols.
func words(text string, yield func(word string)) {
	for len(text) > 0 {
		n := wordLen(text)
		yield(text[:n])
		text = text[n:]
	}
}

// wordLen is the length in bytes of the first piece of a text that is not empty.
func wordLen(text string) int {
	if text[0] == '\'' {
		if n := contraction(text); n > 0 {
			return n
		}
	}
	start := 0
	if text[0] == ' ' {
		start = 1
	}
	if start < len(text) {
		if c, _ := classOf(text[start:]); c != space {
			return start + runLen(text[start:], c)
		}
	}
	// White space: a run keeps its last character for the word that follows, unless
	// it is all there is of the run (\s+(?!\S) gives one back, \s+ does not).
	run, last := 0, 0
	for run < len(text) {
		c, size := classOf(text[run:])
		if c != space {
			if last > 0 {
				return last
			}
			return run
		}
		last, run = run, run+size
	}
	return run
}

// contraction is the length of 's 't 're 've 'm 'll 'd at the start of text, or 0.
func contraction(text string) int {
	for _, c := range [...]string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if strings.HasPrefix(text, c) {
			return len(c)
		}
	}
	return 0
}

type class uint8

const (
	symbol class = iota // neither of the others
	letter              // \p{L}
	number              // \p{N}
	space               // White_Space
)

var asciiClass = func() (t [utf8.RuneSelf]class) {
	for r := range t {
		t[r] = runeClass(rune(r))
	}
	return t
}()

func runeClass(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.Is(unicode.White_Space, r):
		return space
	}
	return symbol
}

// classOf gives the class and the size in bytes of the first character.
func classOf(text string) (class, int) {
	if text[0] < utf8.RuneSelf {
		return asciiClass[text[0]], 1
	}
	r, size := utf8.DecodeRuneInString(text)
	return runeClass(r), size
}

// runLen is the length in bytes of the run of class c at the start of text.
func runLen(text string, c class) int {
	n := 0
	for n < len(text) {
		got, size := classOf(text[n:])
		if got != c {
			break
		}
		n += size
	}
	return n
}
