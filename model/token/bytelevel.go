package token

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// byteLevel is a BPE over bytes with GPT-2's pattern in front.
type byteLevel struct {
	tokens [][]byte         // id -> bytes; nil for special tokens and holes
	names  map[int32]string // special tokens and other added ones, by id
	ids    map[string]int32 // the same by name
	plain  map[string]int32 // added tokens that are ordinary text: matched by Encode, shown by Decode
	bytes  [256]int32       // byte -> id
	merges []merge          // in order of rank
	pairs  map[uint64]ranked
	bos    int32
	eos    int32
	digest string
}

// merge is one rule: left and right, neighbours in a word, become into.
type merge struct{ left, right, into int32 }

type ranked struct{ rank, into int32 }

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// added is a token that stands outside the BPE.
type added struct {
	name  string
	id    int32
	plain bool // not special: part of the text
}

// newByteLevel checks that the parts fit together. tokens[id] is nil where an added
// token or nothing has that id.
func newByteLevel(tokens [][]byte, merges []merge, extra []added) (*byteLevel, error) {
	t := &byteLevel{tokens: tokens, merges: merges, bos: -1, eos: -1,
		names: map[int32]string{}, ids: map[string]int32{}, plain: map[string]int32{},
		pairs: make(map[uint64]ranked, len(merges))}
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
		key := pairKey(m.left, m.right)
		if _, twice := t.pairs[key]; twice {
			return nil, invalid("merges", "line %d stands twice", rank+1)
		}
		t.pairs[key] = ranked{int32(rank), m.into}
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
	var s symbols
	pair := func(i, j int32) (int32, int32, bool) {
		r, ok := t.pairs[pairKey(s.id[i], s.id[j])]
		return r.rank, r.into, ok
	}
	words(text, func(word string) {
		if len(word) == 1 {
			out = append(out, t.bytes[word[0]])
			return
		}
		if len(word) <= shortWord {
			out = t.encodeShort(out, word)
			return
		}
		s.reset()
		for i := range len(word) {
			s.add(t.bytes[word[i]], i, i+1)
		}
		s.merge(pair)
		for i := int32(0); i >= 0; i = s.next[i] {
			out = append(out, s.id[i])
		}
	})
	return out
}

// shortWord is the length in bytes up to which looking for the best pair anew each
// time is faster than a heap.
const shortWord = 24

// encodeShort merges a short word in place: the same order as symbols.merge.
func (t *byteLevel) encodeShort(out []int32, word string) []int32 {
	const none = 1<<31 - 1
	var id [shortWord]int32
	var best [shortWord]ranked // best[i]: the merge of id[i] and id[i+1]
	look := func(i int) {
		r, ok := t.pairs[pairKey(id[i], id[i+1])]
		if !ok {
			r.rank = none
		}
		best[i] = r
	}
	n := len(word)
	for i := range n {
		id[i] = t.bytes[word[i]]
	}
	for i := range n - 1 {
		look(i)
	}
	for n > 1 {
		at := 0
		for i := 1; i < n-1; i++ {
			if best[i].rank < best[at].rank {
				at = i
			}
		}
		if best[at].rank == none {
			break
		}
		id[at] = best[at].into
		copy(id[at+1:n-1], id[at+2:n])
		n--
		if at < n-1 {
			copy(best[at+1:n-1], best[at+2:n])
			look(at)
		}
		if at > 0 {
			look(at - 1)
		}
	}
	return append(out, id[:n]...)
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
	return hex.EncodeToString(h.Sum(nil))
}
