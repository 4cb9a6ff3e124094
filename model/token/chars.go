package token

import (
	"fmt"
	"unicode/utf8"
)

// charUnits turns a word into the tokens of its characters, from which merging starts.
type charUnits struct {
	ids    map[string]int32
	bytes  *[256]int32 // byte fallback: byte -> id; nil = off
	unk    int32       // for what has no token; -1 = none
	fuse   bool        // neighbours without a token give one unk
	suffix string      // behind the last character of a word
}

func newCharUnits(m *hfModel, pieces []string) (*charUnits, error) {
	c := &charUnits{ids: make(map[string]int32, len(pieces)), unk: -1, fuse: m.FuseUnk}
	for id, p := range pieces {
		if p != "" {
			c.ids[p] = int32(id)
		}
	}
	if m.WordSuffix != nil {
		c.suffix = *m.WordSuffix
	}
	if m.UnkToken != nil {
		id, ok := c.ids[*m.UnkToken]
		if !ok {
			return nil, invalid("model.unk_token", "%q is not in the vocabulary", *m.UnkToken)
		}
		c.unk = id
	}
	if m.ByteFallback {
		var bytes [256]int32
		n := 0
		for b := range bytes {
			id, ok := c.ids[fmt.Sprintf("<0x%02X>", b)]
			if bytes[b] = id; ok {
				n++
			}
		}
		switch n {
		case 256:
			c.bytes = &bytes
		case 0: // as if it were off
		default:
			return nil, unsupported("model", "byte_fallback with tokens for %d bytes of 256", n)
		}
	}
	switch {
	case c.bytes != nil && c.suffix != "":
		return nil, unsupported("model", "byte_fallback with end_of_word_suffix")
	case c.bytes == nil && c.unk < 0:
		return nil, unsupported("model", "neither unk_token nor byte_fallback")
	}
	return c, nil
}

// append appends the units of word to out.
func (c *charUnits) append(out []int32, word string) []int32 {
	unknown := false // the unit before was one
	for i := 0; i < len(word); {
		_, size := utf8.DecodeRuneInString(word[i:])
		char := word[i : i+size]
		i += size
		id, ok := c.ids[char]
		if c.suffix != "" && i == len(word) {
			id, ok = c.ids[char+c.suffix]
		}
		switch {
		case ok:
			out = append(out, id)
		case c.bytes != nil:
			for k := range len(char) {
				out = append(out, c.bytes[char[k]])
			}
		case !unknown || !c.fuse:
			out = append(out, c.unk)
		}
		unknown = !ok
	}
	return out
}
