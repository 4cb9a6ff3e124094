package token

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// byteLevel is a BPE over bytes with a pattern in front.
type byteLevel struct {
	pattern pattern
	tokens  [][]byte         // id -> bytes; nil for special tokens and holes
	names   map[int32]string // special tokens and other added ones, by id
	ids     map[string]int32 // the same by name
	plain   map[string]int32 // added tokens that are ordinary text: matched by Encode, shown by Decode
	bytes   [256]int32       // byte -> id
	merges  []merge          // in order of rank
	pairs   pairTable
	cache   *wordCache
	bos     int32
	eos     int32
	digest  string
}

// added is a token that stands outside the BPE.
type added struct {
	name  string
	id    int32
	plain bool // not special: part of the text
}

// newByteLevel checks that the parts fit together. tokens[id] is nil where an added
// token or nothing has that id.
func newByteLevel(p pattern, tokens [][]byte, merges []merge, extra []added) (*byteLevel, error) {
	t := &byteLevel{pattern: p, tokens: tokens, merges: merges, bos: -1, eos: -1,
		names: map[int32]string{}, ids: map[string]int32{}, plain: map[string]int32{},
		pairs: newPairTable(len(merges)), cache: newWordCache()}
	var seen [256]bool
	for id, b := range tokens {
		if len(b) == 1 {
			if seen[b[0]] {
				return nil, invalid("vocab", "byte %#02x has two tokens", b[0])
			}
			seen[b[0]] = true
			t.bytes[b[0]] = int32(id)
		}
	}
	for b, ok := range seen {
		if !ok {
			return nil, invalid("vocab", "byte %#02x has no token", b)
		}
	}
	for rank, m := range merges {
		if !t.pairs.add(m.left, m.right, ranked{int32(rank), m.into}) {
			return nil, invalid("merges", "line %d stands twice", rank+1)
		}
	}
	for _, a := range extra {
		if a.name == "" || len(a.name) > maxToken {
			return nil, invalid("added_tokens", "name of id %d is empty or too long", a.id)
		}
		if _, twice := t.ids[a.name]; twice || t.names[a.id] != "" {
			return nil, invalid("added_tokens", "%q or its id %d stands twice", a.name, a.id)
		}
		if int(a.id) < len(tokens) && tokens[a.id] != nil {
			return nil, invalid("added_tokens", "%q has the id %d of another token", a.name, a.id)
		}
		t.names[a.id], t.ids[a.name] = a.name, a.id
		for int(a.id) >= len(t.tokens) {
			t.tokens = append(t.tokens, nil)
		}
		if a.plain {
			t.plain[a.name] = a.id
			t.tokens[a.id] = []byte(a.name)
		}
	}
	t.digest = t.sum()
	return t, nil
}

// Names under which tokenizers without a statement of their own keep the tokens that
// begin and end a text, in order of preference.
var (
	bosNames = []string{"<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "<|endoftext|>"}
	eosNames = []string{"<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"}
)

// setEnds decides the ids of BOS and EOS: the names given, or the usual ones.
func (t *byteLevel) setEnds(bos, eos string) {
	find := func(name string, usual []string) int32 {
		if name != "" {
			usual = []string{name}
		}
		for _, n := range usual {
			if id, ok := t.Special(n); ok {
				return id
			}
		}
		return -1
	}
	t.bos, t.eos = find(bos, bosNames), find(eos, eosNames)
}

func (t *byteLevel) Encode(text string) []int32 {
	out := make([]int32, 0, len(text)/3+1)
	if len(t.plain) == 0 {
		return t.encodeText(out, text)
	}
	around(text, t.plain, func(s string) { out = t.encodeText(out, s) }, func(id int32) { out = append(out, id) })
	return out
}

func (t *byteLevel) encodeSpecial(text string) []int32 {
	out := []int32{}
	around(text, t.ids, func(s string) { out = t.encodeText(out, s) }, func(id int32) { out = append(out, id) })
	return out
}

// encodeText appends the ids of text that holds no added token.
func (t *byteLevel) encodeText(out []int32, text string) []int32 {
	t.pattern.words(text, func(word string) {
		if len(word) == 1 {
			out = append(out, t.bytes[word[0]])
			return
		}
		if len(word) > cacheWord {
			out = t.encodeWord(out, word)
			return
		}
		ids, slot := t.cache.find(word)
		if ids == nil {
			from := len(out)
			out = t.encodeWord(out, word)
			keep(slot, word, out[from:])
			return
		}
		out = append(out, ids...)
	})
	return out
}

func (t *byteLevel) encodeWord(out []int32, word string) []int32 {
	var units [shortWord]int32
	ids := units[:0]
	for i := range len(word) {
		ids = append(ids, t.bytes[word[i]])
	}
	return append(out, t.pairs.mergeAll(ids)...)
}

func (t *byteLevel) Decode(ids []int32) string {
	var b []byte
	for _, id := range ids {
		b = append(b, t.Bytes(id)...)
	}
	return validUTF8(b)
}

func (t *byteLevel) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.tokens) {
		return nil
	}
	return t.tokens[id]
}

func (t *byteLevel) Vocab() int { return len(t.tokens) }
func (t *byteLevel) EOS() int32 { return t.eos }
func (t *byteLevel) BOS() int32 { return t.bos }

func (t *byteLevel) Special(name string) (int32, bool) {
	id, ok := t.ids[name]
	if _, plain := t.plain[name]; !ok || plain {
		return -1, false
	}
	return id, true
}

func (t *byteLevel) Digest() string { return t.digest }

// sum hashes what decides ids: tokens, merges and added tokens with their ids.
func (t *byteLevel) sum() string {
	h := sha256.New()
	fmt.Fprintf(h, "byte-level bpe 1\n%d %d %d\n", len(t.tokens), len(t.merges), len(t.names))
	var n [12]byte
	for _, b := range t.tokens {
		binary.LittleEndian.PutUint32(n[:], uint32(len(b)))
		h.Write(n[:4])
		h.Write(b)
	}
	for _, m := range t.merges {
		binary.LittleEndian.PutUint32(n[:], uint32(m.left))
		binary.LittleEndian.PutUint32(n[4:], uint32(m.right))
		binary.LittleEndian.PutUint32(n[8:], uint32(m.into))
		h.Write(n[:])
	}
	for _, id := range slices.Sorted(maps.Keys(t.names)) {
		_, plain := t.plain[t.names[id]]
		fmt.Fprintf(h, "%d %t %q\n", id, plain, t.names[id])
	}
	if t.pattern != patternGPT2 {
		fmt.Fprintf(h, "pattern %d\n", t.pattern)
	}
	return hex.EncodeToString(h.Sum(nil))
}
