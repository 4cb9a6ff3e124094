package token

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
)

// minCount is how often a pair must occur to be merged: a pair seen once is chance.
const minCount = 2

// Training says what a new tokenizer is to be.
type Training struct {
	Vocab    int      // ids to reach, specials included; fewer where no more pairs occur twice
	Specials []string // special tokens, which get the last ids
	// Progress, where it is not nil, hears how many ids there are of those to reach.
	Progress func(ids, of int)
}

// Train learns a byte-level BPE from texts; see [Training.Train].
func Train(texts iter.Seq[string], vocab int, specials []string) (Tokenizer, error) {
	return Training{Vocab: vocab, Specials: specials}.Train(texts)
}

// Train learns a byte-level BPE from texts (Sennrich et al. 2016, algorithm 1, over
// the words of GPT-2's pattern). Ids are numbered as in GPT-2: the 256 bytes, the
// merges in order, then specials.
//
// The result is a function of how often each word occurs: neither the order of the
// texts nor where they are cut between words matters. Equal counts go to the pair of
// the lower ids, first left, then right, as in Hugging Face's trainer.
//
// EOS is <|endoftext|> or </s> where specials has one of them.
func (o Training) Train(texts iter.Seq[string]) (Tokenizer, error) {
	if low := 256 + len(o.Specials); o.Vocab < low || o.Vocab > maxVocab {
		return nil, invalid("vocab", "%d is not in %d..%d", o.Vocab, low, maxVocab)
	}
	counts := wordCounts{}
	for text := range texts {
		patternGPT2.words(text, counts.add)
	}
	b := newTrainer(counts)
	for len(b.tokens) < o.Vocab-len(o.Specials) {
		p, ok := b.best()
		if !ok {
			break
		}
		b.apply(p)
		if o.Progress != nil {
			o.Progress(len(b.tokens)+len(o.Specials), o.Vocab)
		}
	}
	extra := make([]hfAdded, len(o.Specials))
	for i, name := range o.Specials {
		extra[i] = hfAdded{ID: int32(len(b.tokens) + i), Content: name, Special: true}
	}
	t, err := newBPE(byteLevelSpec(extra...), vocabulary{tokens: b.tokens, merges: b.merges})
	if err != nil {
		return nil, err
	}
	t.setEnds(config{})
	return t, nil
}

// wordCounts is how often each word occurs. It keeps copies: a word is a piece of its
// text, which would stay in memory with it.
type wordCounts map[string]*int

func (c wordCounts) add(word string) {
	if n := c[word]; n != nil {
		*n++
		return
	}
	c[strings.Clone(word)] = ptr(1)
}

// trainer holds the words as token ids and, for each pair of neighbours, how often it
// occurs and in which words.
type trainer struct {
	tokens [][]byte
	merges []merge
	words  []trainWord
	pairs  map[uint64]*pairCount
	heap   heap[heapPair] // by count, then ids; counts may be out of date (too high)
}

type trainWord struct {
	ids   []int32
	count int
}

type pairCount struct {
	count int
	words []int32 // may name words the pair has left, or one twice
}

type heapPair struct {
	count int
	key   uint64
}

func (a heapPair) before(b heapPair) bool {
	if a.count != b.count {
		return a.count > b.count
	}
	return a.key < b.key
}

func newTrainer(counts wordCounts) *trainer {
	v := newVocabBuilder()
	t := &trainer{tokens: v.tokens, pairs: map[uint64]*pairCount{}}
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		if len(w) < 2 {
			continue
		}
		ids := make([]int32, len(w))
		for i := range ids {
			ids[i] = v.ids[w[i:i+1]]
		}
		t.words = append(t.words, trainWord{ids, *counts[w]})
	}
	for i, w := range t.words {
		for j := range len(w.ids) - 1 {
			t.add(pairKey(w.ids[j], w.ids[j+1]), w.count, int32(i))
		}
	}
	for key, p := range t.pairs {
		t.heap = append(t.heap, heapPair{p.count, key})
	}
	slices.SortFunc(t.heap, func(a, b heapPair) int { // a sorted slice is a heap
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.key, b.key))
	})
	return t
}

func (t *trainer) add(key uint64, count int, word int32) {
	p := t.pairs[key]
	if p == nil {
		p = &pairCount{}
		t.pairs[key] = p
	}
	p.count += count
	if n := len(p.words); count > 0 && (n == 0 || p.words[n-1] != word) {
		p.words = append(p.words, word)
	}
}

// best takes the most frequent pair.
func (t *trainer) best() (uint64, bool) {
	for len(t.heap) > 0 {
		top := t.heap.pop()
		p := t.pairs[top.key]
		switch {
		case p == nil:
		case p.count != top.count: // out of date: back in with what it is now
			if p.count > 0 {
				t.heap.push(heapPair{p.count, top.key})
			}
		case p.count < minCount:
			return 0, false
		case len(t.joined(top.key)) > maxToken:
		default:
			return top.key, true
		}
	}
	return 0, false
}

func (t *trainer) joined(key uint64) []byte {
	return bytes.Join([][]byte{t.tokens[key>>32], t.tokens[uint32(key)]}, nil)
}

// apply makes the pair a token and replaces it in every word, leftmost first.
func (t *trainer) apply(key uint64) {
	left, right, into := int32(key>>32), int32(uint32(key)), int32(len(t.tokens))
	t.tokens = append(t.tokens, t.joined(key))
	t.merges = append(t.merges, merge{left, right, into})
	changed := map[uint64]struct{}{}
	for _, i := range t.pairs[key].words {
		w := &t.words[i]
		ids := w.ids
		out := ids[:0]
		touch := func(a, b int32, count int) {
			k := pairKey(a, b)
			t.add(k, count, i)
			if count > 0 {
				changed[k] = struct{}{}
			}
		}
		for j := 0; j < len(ids); j++ {
			if ids[j] != left || j+1 == len(ids) || ids[j+1] != right {
				out = append(out, ids[j])
				continue
			}
			if n := len(out); n > 0 {
				touch(out[n-1], left, -w.count)
				touch(out[n-1], into, w.count)
			}
			if j+2 < len(ids) {
				touch(right, ids[j+2], -w.count)
				touch(into, ids[j+2], w.count)
			}
			out = append(out, into)
			j++
		}
		w.ids = out
	}
	delete(t.pairs, key)
	for k := range changed {
		if p := t.pairs[k]; p != nil && p.count > 0 {
			t.heap.push(heapPair{p.count, k})
		}
	}
}
