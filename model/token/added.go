package token

import (
	"strings"
	"unicode/utf8"
)

// addedTokens are tokens that stand outside the BPE.
type addedTokens struct {
	names map[int32]string
	ids   map[string]int32
	// What a text is searched for: as it comes, and after it was normalised. plain are
	// the tokens that are part of ordinary text; all has the special ones too.
	plain, all [2]*finder
}

func (a *addedTokens) compile(tokens []hfAdded, normal normalizer) {
	for i := range a.all {
		a.plain[i], a.all[i] = &finder{}, &finder{}
	}
	for _, x := range tokens {
		phase, name := 0, x.Content
		if x.Normalized && normal != nil {
			phase, name = 1, normal(x.Content)
		}
		if name == "" {
			continue
		}
		a.all[phase].add(name, x)
		if !x.Special {
			a.plain[phase].add(name, x)
		}
	}
}

// finder looks for names in a text: a trie over their bytes. The zero value has none.
type finder struct {
	next  map[uint64]int32 // node and byte -> node; 0 is the root
	nodes int32
	found map[int32]hfAdded // by node
}

func (f *finder) add(name string, token hfAdded) {
	if f.next == nil {
		f.next, f.found = map[uint64]int32{}, map[int32]hfAdded{}
	}
	node := int32(0)
	for i := range len(name) {
		key := uint64(node)<<8 | uint64(name[i])
		if f.next[key] == 0 {
			f.nodes++
			f.next[key] = f.nodes
		}
		node = f.next[key]
	}
	f.found[node] = token
}

// longest gives the longest name at the start of text; its length is 0 where none is.
func (f *finder) longest(text string) (token hfAdded, size int) {
	node := int32(0)
	for i := range len(text) {
		if node = f.next[uint64(node)<<8|uint64(text[i])]; node == 0 {
			break
		}
		if t, ok := f.found[node]; ok {
			token, size = t, i+1
		}
	}
	return token, size
}

// cut calls token for each name that stands in text, the leftmost first and of those
// the longest, and between for what lies between them; first says that this is the
// beginning of text.
func (f *finder) cut(text string, between func(part string, first bool), token func(id int32)) {
	from := 0
	for at := 0; at < len(text) && f.nodes > 0; {
		t, size := f.longest(text[at:])
		begin, end := at, at+size
		if size == 0 || t.SingleWord && (endsWord(text[:begin]) || beginsWord(text[end:])) {
			at += max(size, 1)
			continue
		}
		if t.LStrip {
			begin = max(from, len(strings.TrimRightFunc(text[:begin], isSpace)))
		}
		if t.RStrip {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], isSpace))
		}
		if from < begin {
			between(text[from:begin], from == 0)
		}
		token(t.ID)
		from, at = end, end
	}
	if from < len(text) {
		between(text[from:], from == 0)
	}
}

func endsWord(text string) bool {
	r, _ := utf8.DecodeLastRuneInString(text)
	return text != "" && isWord(r)
}

func beginsWord(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return text != "" && isWord(r)
}
