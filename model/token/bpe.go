package token

import (
	"slices"
	"strings"
)

// bpe is byte pair encoding as tokenizer.json of Hugging Face's tokenizers library
// describes it: a text is cut at added tokens, normalised, cut into words, and in each
// word neighbours are merged. The units that merging starts from are bytes, or
// characters.
type bpe struct {
	vocabulary
	spec   hfFile // the description, without vocabulary and merges
	pairs  pairTable
	whole  map[string]int32 // ignore_merges: a word that is a token stays one; nil = off
	cache  *wordCache
	chars  *charUnits // nil: units are bytes
	bytes  [256]int32 // byte -> id, where units are bytes
	added  addedTokens
	normal normalizer // nil = none
	split  splitter
	show   display
	around [2][]int32 // special tokens that the maker puts before and behind a text
	bos    int32
	eos    int32
	digest string
}

// vocabulary is tokens and merges.
type vocabulary struct {
	tokens [][]byte // id -> what it adds to a text; nil for special tokens and holes
	pieces []string // id -> how the vocabulary spells it; nil where units are bytes
	merges []merge  // in order of rank
}

// newBPE carries out what spec says, and checks that the parts fit together. Of v,
// tokens[id] is nil where an added token or nothing has that id.
func newBPE(spec hfFile, v vocabulary) (*bpe, error) {
	t := &bpe{vocabulary: v, spec: spec, cache: newWordCache(), bos: -1, eos: -1}
	for _, compile := range []func() error{t.compileAdded, t.compileMerges, t.compileModel, t.compilePipeline} {
		if err := compile(); err != nil {
			return nil, err
		}
	}
	t.digest = t.sum()
	return t, nil
}

func (t *bpe) compileMerges() error {
	t.pairs = newPairTable(len(t.merges))
	for rank, m := range t.merges {
		if !t.pairs.add(m.left, m.right, ranked{int32(rank), m.into}) {
			return invalid("merges", "line %d stands twice", rank+1)
		}
	}
	return nil
}

// compileAdded gives added tokens their ids.
func (t *bpe) compileAdded() error {
	a := &t.added
	a.names, a.ids = map[int32]string{}, map[string]int32{}
	for _, x := range t.spec.AddedTokens {
		if x.Content == "" || len(x.Content) > maxAdded {
			return invalid("added_tokens", "name of id %d is empty or too long", x.ID)
		}
		if x.ID < 0 || x.ID >= maxVocab {
			return invalid("added_tokens", "id %d of %q is not below %d", x.ID, x.Content, maxVocab)
		}
		if _, twice := a.ids[x.Content]; twice || a.names[x.ID] != "" {
			return invalid("added_tokens", "%q or its id %d stands twice", x.Content, x.ID)
		}
		if int(x.ID) < len(t.tokens) && t.tokens[x.ID] != nil {
			return invalid("added_tokens", "%q has the id %d of another token", x.Content, x.ID)
		}
		a.names[x.ID], a.ids[x.Content] = x.Content, x.ID
		for int(x.ID) >= len(t.tokens) {
			t.tokens = append(t.tokens, nil)
		}
	}
	return nil
}

// compileModel prepares the units and the words that are not merged.
func (t *bpe) compileModel() error {
	if t.spec.Model.IgnoreMerges {
		t.whole = make(map[string]int32, len(t.tokens))
		for id, b := range t.tokens {
			switch {
			case t.added.names[int32(id)] != "":
			case t.pieces != nil && t.pieces[id] != "":
				t.whole[t.pieces[id]] = int32(id)
			case t.pieces == nil && b != nil:
				t.whole[string(b)] = int32(id)
			}
		}
	}
	if t.pieces != nil {
		var err error
		t.chars, err = newCharUnits(&t.spec.Model, t.pieces)
		return err
	}
	var seen [256]bool
	for id, b := range t.tokens {
		if len(b) == 1 && t.added.names[int32(id)] == "" {
			if seen[b[0]] {
				return invalid("vocab", "byte %#02x has two tokens", b[0])
			}
			seen[b[0]] = true
			t.bytes[b[0]] = int32(id)
		}
	}
	if b := slices.Index(seen[:], false); b >= 0 {
		return invalid("vocab", "byte %#02x has no token", b)
	}
	return nil
}

// compilePipeline prepares what stands around the model.
func (t *bpe) compilePipeline() (err error) {
	if t.normal, err = newNormalizer(t.spec.Normalizer); err != nil {
		return err
	}
	if t.split, _, err = newSplitter(t.spec.PreTokenizer); err != nil {
		return err
	}
	if t.around, err = newAround(t.spec.PostProcessor, t.added.ids); err != nil {
		return err
	}
	t.added.compile(t.spec.AddedTokens, t.normal)
	if t.show, err = newDisplay(t.spec.Decoder, t.pieces == nil); err != nil {
		return err
	}
	for _, x := range t.spec.AddedTokens {
		if !x.Special {
			name := x.Content
			if x.Normalized && t.normal != nil {
				name = t.normal(name)
			}
			t.tokens[x.ID] = t.show.bytes(name)
		}
	}
	for id, p := range t.pieces {
		if p != "" && t.added.names[int32(id)] == "" {
			t.tokens[id] = t.show.bytes(p)
		}
	}
	return nil
}

func (t *bpe) Encode(text string) []int32 { return t.encode(text, t.added.plain, true) }

func (t *bpe) encodeSpecial(text string) []int32 { return t.encode(text, t.added.all, true) }

func (t *bpe) encodePart(text string, begins bool) []int32 {
	return t.encode(text, t.added.plain, begins)
}

// encode gives the ids of text, in which find looks for added tokens; begins says that
// nothing stands before it.
func (t *bpe) encode(text string, find [2]*finder, begins bool) []int32 {
	out := make([]int32, 0, len(text)/4+1)
	token := func(id int32) { out = append(out, id) }
	find[0].cut(text, func(part string, first bool) {
		if t.normal != nil {
			part = t.normal(part)
		}
		find[1].cut(part, func(part string, still bool) { out = t.encodeText(out, part, begins && first && still) }, token)
	}, token)
	return out
}

// encodeText appends the ids of a normalised text that holds no added token. first
// says that it is the beginning of the whole.
func (t *bpe) encodeText(out []int32, text string, first bool) []int32 {
	t.split(text, first, func(word string) {
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

func (t *bpe) encodeWord(out []int32, word string) []int32 {
	if id, ok := t.whole[word]; ok {
		return append(out, id)
	}
	var units [shortWord]int32
	ids := units[:0]
	if t.chars != nil {
		ids = t.chars.append(ids, word)
	} else {
		for i := range len(word) {
			ids = append(ids, t.bytes[word[i]])
		}
	}
	return append(out, t.pairs.mergeAll(ids)...)
}

func (t *bpe) Decode(ids []int32) string {
	text := Continue(t, ids)
	if t.show.trimSpace {
		text = strings.TrimPrefix(text, " ")
	}
	if t.show.suffix != "" {
		text = strings.TrimSuffix(text, " ")
	}
	return text
}

func (t *bpe) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.tokens) {
		return nil
	}
	return t.tokens[id]
}

func (t *bpe) Vocab() int     { return len(t.tokens) }
func (t *bpe) EOS() int32     { return t.eos }
func (t *bpe) BOS() int32     { return t.bos }
func (t *bpe) Digest() string { return t.digest }

func (t *bpe) Special(name string) (int32, bool) {
	id, ok := t.added.ids[name]
	if !ok || t.tokens[id] != nil {
		return -1, false
	}
	return id, true
}

// Names under which tokenizers without a statement of their own keep the tokens that
// begin and end a text, in order of preference.
var (
	bosNames = []string{"<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "<|endoftext|>"}
	eosNames = []string{"<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"}
)

// setEnds decides the ids of BOS and EOS: what tokenizer_config.json says, else what
// stands around a text, else the usual names.
func (t *bpe) setEnds(c config) {
	find := func(said *string, around []int32, usual []string) int32 {
		switch {
		case said != nil:
			usual = []string{*said}
		case len(around) > 0:
			return around[0]
		}
		for _, n := range usual {
			if id, ok := t.Special(n); ok {
				return id
			}
		}
		return -1
	}
	t.bos, t.eos = find(c.bos, t.around[0], bosNames), find(c.eos, t.around[1], eosNames)
}
