package token

// pattern is a rule that cuts text into words, in which alone tokens are merged. The
// words joined are the text. Bytes that are not UTF-8 count as symbols.
type pattern uint8

const (
	// patternGPT2 is
	//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
	patternGPT2 pattern = iota
	// patternCL100K, that of cl100k_base and Llama 3, is
	//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
	//	 ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
	patternCL100K
	// patternQwen2 is patternCL100K with \p{N} for \p{N}{1,3}.
	patternQwen2
)

// words calls yield for each word of text.
func (p pattern) words(text string, yield func(word string)) {
	for len(text) > 0 {
		var n int
		switch p {
		case patternGPT2:
			n = gpt2Word(text)
		case patternCL100K:
			n = cl100kWord(text, 3)
		default:
			n = cl100kWord(text, 1)
		}
		yield(text[:n])
		text = text[n:]
	}
}

// gpt2Word is the length in bytes of the first word of a text that is not empty.
func gpt2Word(text string) int {
	if text[0] == '\'' {
		if n := contraction(text, false); n > 0 {
			return n
		}
	}
	start := 0
	if text[0] == ' ' {
		start = 1
	}
	if start < len(text) {
		if c, size := classOf(text[start:]); c != space {
			start += size
			return start + runLen(text[start:], c)
		}
	}
	return spaceWord(text, runLen(text, space))
}

// cl100kWord is the length in bytes of the first word of a text that is not empty,
// where up to digits numbers make one.
func cl100kWord(text string, digits int) int {
	if text[0] == '\'' {
		if n := contraction(text, true); n > 0 {
			return n
		}
	}
	c, size := classOf(text)
	switch c {
	case letter:
		return size + runLen(text[size:], letter)
	case number:
		n := size
		for ; digits > 1 && n < len(text); digits-- {
			c, size := classOf(text[n:])
			if c != number {
				break
			}
			n += size
		}
		return n
	}
	if text[0] != '\r' && text[0] != '\n' && size < len(text) {
		next, n := classOf(text[size:])
		if next == letter {
			n += size
			return n + runLen(text[n:], letter)
		}
		if c == space && text[0] == ' ' && next == symbol {
			c, size = symbol, size+n
		}
	}
	if c == symbol {
		n := size + runLen(text[size:], symbol)
		return n + newlines(text[n:])
	}
	run := runLen(text, space)
	for n := run; n > 0; n-- {
		if b := text[n-1]; b == '\r' || b == '\n' { // \s*[\r\n]+ ends with the run's last line
			return n
		}
	}
	return spaceWord(text, run)
}

// spaceWord is the length of the word at the start of a run of white space: \s+(?!\S)
// leaves its last character to the word that follows, and \s+ takes it where it is
// all there is of the run.
func spaceWord(text string, run int) int {
	if run == len(text) {
		return run
	}
	last := run - 1
	for last > 0 && text[last]&0xc0 == 0x80 { // within a character
		last--
	}
	if last > 0 {
		return last
	}
	return run
}

// newlines is the length of [\r\n]* at the start of text.
func newlines(text string) int {
	n := 0
	for n < len(text) && (text[n] == '\r' || text[n] == '\n') {
		n++
	}
	return n
}

// contraction is the length of 's 't 're 've 'm 'll 'd at the start of text, whose
// first byte is the apostrophe, or 0. Where case does not count, the long s (U+017F)
// is an s too.
func contraction(text string, fold bool) int {
	if len(text) < 2 {
		return 0
	}
	lower := func(b byte) byte {
		if fold && 'A' <= b && b <= 'Z' {
			return b + 'a' - 'A'
		}
		return b
	}
	first, second := lower(text[1]), byte(0)
	if len(text) > 2 {
		second = lower(text[2])
	}
	switch {
	case first == 's' || first == 't' || first == 'm' || first == 'd':
		return 2
	case first == 'r' && second == 'e', first == 'v' && second == 'e', first == 'l' && second == 'l':
		return 3
	case fold && text[1] == 0xc5 && len(text) > 2 && text[2] == 0xbf:
		return 3
	}
	return 0
}
