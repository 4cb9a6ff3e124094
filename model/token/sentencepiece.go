package token

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"
)

// sentencePiece is a BPE over characters, as the sentencepiece library makes it.
type sentencePiece struct {
	raw      []byte            // tokenizer.model as read
	text     [][]byte          // id -> what the token adds to a text; nil = control
	ids      map[string]ranked // normal pieces, with U+2581 for space
	control  map[string]int32
	finder   finder     // of control tokens
	bytes    [256]int32 // byte -> id, where fallback
	fallback bool
	unk      int32
	bos, eos int32
	prefix   bool // a space goes in front of a text
	escape   bool // spaces are written U+2581 in pieces
	digest   string
}

// lowerBlock stands for a space inside pieces.
const lowerBlock = "\u2581"

// unkSurface is what an unknown token shows, as in the sentencepiece library.
const unkSurface = " \u2047 "

// newSentencePiece checks that what the file says can be carried out exactly.
func newSentencePiece(raw []byte) (*sentencePiece, error) {
	m, err := parseModelProto(raw)
	if err != nil {
		return nil, err
	}
	switch {
	case m.modelType != 2:
		return nil, invalid("trainer_spec.model_type", "%d is not BPE", m.modelType)
	case len(m.charsMap) > 0:
		return nil, invalid("normalizer_spec", "normalisation %q is not identity", m.normalizer)
	case m.suffix:
		return nil, invalid("trainer_spec", "treat_whitespace_as_suffix is not supported")
	case len(m.pieces) == 0:
		return nil, invalid("pieces", "there are none")
	}
	t := &sentencePiece{raw: raw, text: make([][]byte, len(m.pieces)), ids: map[string]ranked{},
		control: map[string]int32{}, unk: -1, bos: -1, eos: -1,
		prefix: m.dummyPrefix, escape: m.escape, fallback: m.byteFallback}
	ranks := rankScores(m.pieces)
	var haveByte [256]bool
	for i, p := range m.pieces {
		id := int32(i)
		_, normal := t.ids[p.text]
		_, special := t.control[p.text]
		if p.text == "" || len(p.text) > maxToken || normal || special {
			return nil, invalid("pieces", "piece %d (%q) is empty, too long or stands twice", i, p.text)
		}
		switch p.kind {
		case pieceNormal:
			t.ids[p.text] = ranked{ranks[i], id}
			t.text[i] = []byte(t.unescape(p.text))
		case pieceUnknown:
			if t.unk >= 0 {
				return nil, invalid("pieces", "two unknown pieces")
			}
			t.unk = id
			t.text[i] = []byte(unkSurface)
		case pieceControl:
			t.control[p.text] = id
			t.finder.add(p.text, hfAdded{ID: id})
		case pieceByte:
			b, ok := bytePiece(p.text)
			if !ok || haveByte[b] {
				return nil, invalid("pieces", "piece %d (%q) is not a byte, or the second for it", i, p.text)
			}
			haveByte[b] = true
			t.bytes[b] = id
			t.text[i] = []byte{b}
		default:
			return nil, invalid("pieces", "piece %d (%q) has the type %d, which is not supported", i, p.text, p.kind)
		}
	}
	if t.unk < 0 {
		return nil, invalid("pieces", "no unknown piece")
	}
	if t.fallback && slices.Contains(haveByte[:], false) {
		return nil, invalid("pieces", "byte fallback without all 256 bytes")
	}
	t.bos, t.eos = t.controlID(m.bosPiece), t.controlID(m.eosPiece)
	sum := sha256.Sum256(append([]byte("sentencepiece bpe 1\n"), raw...))
	t.digest = hex.EncodeToString(sum[:])
	return t, nil
}

// rankScores turns scores into merge ranks: the highest score is rank 0, equal
// scores have equal ranks.
func rankScores(pieces []piece) []int32 {
	order := make([]int32, len(pieces))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(pieces[b].score, pieces[a].score) })
	ranks := make([]int32, len(pieces))
	for i := 1; i < len(order); i++ {
		ranks[order[i]] = ranks[order[i-1]]
		if pieces[order[i]].score != pieces[order[i-1]].score {
			ranks[order[i]] = int32(i)
		}
	}
	return ranks
}

// bytePiece reads "<0x0A>".
func bytePiece(s string) (byte, bool) {
	if len(s) != 6 || !strings.HasPrefix(s, "<0x") || s[5] != '>' {
		return 0, false
	}
	b, err := hex.DecodeString(s[3:5])
	if err != nil {
		return 0, false
	}
	return b[0], true
}

func (t *sentencePiece) controlID(name string) int32 {
	if id, ok := t.control[name]; ok {
		return id
	}
	return -1
}

func (t *sentencePiece) unescape(s string) string {
	if t.escape {
		return strings.ReplaceAll(s, lowerBlock, " ")
	}
	return s
}

func (t *sentencePiece) Encode(text string) []int32 {
	if text == "" {
		return []int32{}
	}
	return t.encode(nil, text, t.prefix)
}

func (t *sentencePiece) encodePart(text string, begins bool) []int32 {
	if text == "" {
		return nil
	}
	return t.encode(nil, text, t.prefix && begins)
}

// encodeSpecial puts control tokens where their names stand; only the start of the
// text gets the space in front.
func (t *sentencePiece) encodeSpecial(text string) []int32 {
	out := []int32{}
	first := true
	t.finder.cut(text, func(part string, _ bool) {
		out = t.encode(out, part, t.prefix && first)
		first = false
	}, func(id int32) { out = append(out, id) })
	return out
}

func (t *sentencePiece) encode(out []int32, text string, prefix bool) []int32 {
	if prefix {
		text = " " + text
	}
	if t.escape {
		text = strings.ReplaceAll(text, " ", lowerBlock)
	}
	s := newSymbols(utf8.RuneCountInString(text))
	for i := 0; i < len(text); {
		_, size := utf8.DecodeRuneInString(text[i:])
		id := int32(-1)
		if p, ok := t.ids[text[i:i+size]]; ok {
			id = p.into
		}
		s.add(id, i, i+size)
		i += size
	}
	s.merge(func(i, j int32) (int32, int32, bool) {
		p, ok := t.ids[text[s.start[i]:s.end[j]]]
		return p.rank, p.into, ok
	})
	for i := int32(0); i >= 0; i = s.next[i] {
		switch {
		case s.id[i] >= 0:
			out = append(out, s.id[i])
		case t.fallback:
			for _, b := range []byte(text[s.start[i]:s.end[i]]) {
				out = append(out, t.bytes[b])
			}
		default:
			out = append(out, t.unk)
		}
	}
	return out
}

func (t *sentencePiece) Decode(ids []int32) string {
	text := Continue(t, ids)
	if t.prefix {
		text = strings.TrimPrefix(text, " ")
	}
	return text
}

func (t *sentencePiece) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.text) {
		return nil
	}
	return t.text[id]
}

func (t *sentencePiece) Vocab() int     { return len(t.text) }
func (t *sentencePiece) EOS() int32     { return t.eos }
func (t *sentencePiece) BOS() int32     { return t.bos }
func (t *sentencePiece) Digest() string { return t.digest }

func (t *sentencePiece) Special(name string) (int32, bool) {
	id, ok := t.control[name]
	if !ok {
		return -1, false
	}
	return id, true
}
