package eval

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is a text as tasks see it: paragraphs end at blank lines, lines within one are joined, and sentences end at . ! or ?
// where a space and no lower-case letter follows.
type Text struct {
	raw       string
	clean     string
	sentences []sentence
	classes   map[string]class // of lower-case words; worked out when first asked for
}

// sentence is clean[lo:hi].
type sentence struct {
	lo, hi int
	words  []word
}

// word is clean[lo:hi]: letters, with apostrophes and hyphens inside.
type word struct{ lo, hi int }

// NewText reads a text. Only valid UTF-8 makes sense; broken bytes become U+FFFD.
func NewText(raw string) *Text {
	t := &Text{raw: raw}
	var b strings.Builder
	for _, paragraph := range paragraphs(strings.ToValidUTF8(raw, "\uFFFD")) {
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		lo := b.Len()
		b.WriteString(paragraph)
		for _, end := range sentenceEnds(paragraph) {
			t.sentences = append(t.sentences, sentence{lo: lo, hi: lo + end.hi, words: nil})
			lo += end.next
		}
	}
	t.clean = b.String()
	for i := range t.sentences {
		s := &t.sentences[i]
		s.words = wordsOf(t.clean, s.lo, s.hi)
	}
	t.sentences = slices.DeleteFunc(t.sentences, func(s sentence) bool { return len(s.words) == 0 })
	return t
}

// Raw is the text as it was given.
func (t *Text) Raw() string { return t.raw }

func (t *Text) at(w word) string { return t.clean[w.lo:w.hi] }

// paragraphs splits at blank lines and joins lines with a space.
func paragraphs(s string) []string {
	var out []string
	var lines []string
	flush := func() {
		if len(lines) > 0 {
			out = append(out, strings.Join(strings.Fields(strings.Join(lines, " ")), " "))
		}
		lines = lines[:0]
	}
	for line := range strings.Lines(s) {
		if strings.TrimSpace(line) == "" {
			flush()
			continue
		}
		lines = append(lines, line)
	}
	flush()
	return out
}

// sentenceEnd: a sentence ends before hi, and the next begins next bytes after where this one began.
type sentenceEnd struct{ hi, next int }

func sentenceEnds(p string) []sentenceEnd {
	var out []sentenceEnd
	lo := 0
	for i := 0; i < len(p); i++ {
		if p[i] != '.' && p[i] != '!' && p[i] != '?' {
			continue
		}
		end := i + 1
		for end < len(p) {
			r, n := utf8.DecodeRuneInString(p[end:])
			if !strings.ContainsRune(".!?\"')]”’»", r) {
				break
			}
			end += n
		}
		i = end - 1
		if end == len(p) {
			break
		}
		if p[end] != ' ' || abbreviation(p[lo:end]) {
			continue
		}
		if r, _ := utf8.DecodeRuneInString(p[end+1:]); unicode.IsLower(r) {
			continue
		}
		out = append(out, sentenceEnd{end - lo, end + 1 - lo})
		lo = end + 1
	}
	if lo < len(p) {
		out = append(out, sentenceEnd{len(p) - lo, len(p) - lo})
	}
	return out
}

func abbreviation(s string) bool {
	at := strings.LastIndexByte(s, ' ') + 1
	return slices.Contains([]string{"Mr.", "Mrs.", "Ms.", "Dr.", "St.", "Prof.", "vol.", "No."}, strings.TrimLeft(s[at:], "\"'(“‘"))
}

// wordsOf finds the words of s[lo:hi].
func wordsOf(s string, lo, hi int) []word {
	var out []word
	for at := lo; at < hi; {
		n := wordLen(s[at:hi])
		if n > 0 {
			out = append(out, word{at, at + n})
			at += n
			continue
		}
		_, size := utf8.DecodeRuneInString(s[at:hi])
		at += size
	}
	return out
}

// wordLen is the length in bytes of the word that s begins with; 0 = none.
func wordLen(s string) int {
	end := 0
	for i, r := range s {
		switch {
		case unicode.IsLetter(r):
			end = i + utf8.RuneLen(r)
		case end == i && i > 0 && strings.ContainsRune("'’-", r): // inside, if a letter follows
		default:
			return end
		}
	}
	return end
}

// firstWord is the first word of s, lower case.
func firstWord(s string) string {
	w := wordsOf(s, 0, len(s))
	if len(w) == 0 {
		return ""
	}
	return strings.ToLower(s[w[0].lo:w[0].hi])
}

// frequent lists the lower-case words of lo to hi letters, the most frequent first, at most n. Words that occur capitalised only
// are names and are left out.
func (t *Text) frequent(lo, hi, n int) []string {
	counts := map[string]int{}
	for _, s := range t.sentences {
		for _, w := range s.words {
			x := t.at(w)
			if k := utf8.RuneCountInString(x); k >= lo && k <= hi && strings.IndexFunc(x, func(r rune) bool { return !unicode.IsLower(r) }) < 0 {
				counts[x]++
			}
		}
	}
	out := make([]string, 0, len(counts))
	for w := range counts {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) })
	return out[:min(n, len(out))]
}
