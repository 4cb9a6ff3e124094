package token

import "unicode/utf8"

// GPT-2 writes each byte of a token as one printable letter, so that vocabularies are
// readable text: the printable bytes of Latin-1 stand for themselves, the others for
// U+0100 and up, in order (encoder.py, bytes_to_unicode).
var (
	byteOrder  [256]byte // byte of token id i: printable ones first
	letterOf   [256]rune
	byteLetter map[rune]byte
)

func init() {
	byteLetter = make(map[rune]byte, 256)
	printable := func(b int) bool {
		return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae && b <= 0xff
	}
	n := 0
	place := func(b int, r rune) {
		byteOrder[n], letterOf[b], byteLetter[r] = byte(b), r, byte(b)
		n++
	}
	for b := range 256 {
		if printable(b) {
			place(b, rune(b))
		}
	}
	next := rune(0x100)
	for b := range 256 {
		if !printable(b) {
			place(b, next)
			next++
		}
	}
}

// toLetters writes the bytes of a token in letters.
func toLetters(b []byte) string {
	out := make([]byte, 0, 2*len(b))
	for _, v := range b {
		out = utf8.AppendRune(out, letterOf[v])
	}
	return string(out)
}

// fromLetters is the inverse; false where s holds anything else.
func fromLetters(s string) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		b, ok := byteLetter[r]
		if !ok {
			return nil, false
		}
		out = append(out, b)
	}
	return out, true
}
