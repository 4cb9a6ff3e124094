package token

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testModel describes a small tokenizer.model made here, so that the tests need no
// file of anybody else.
type testModel struct {
	pieces       []string // normal pieces, best score first; nil = a usual few
	bytes        bool     // with byte pieces and fallback
	trainer      []byte   // further fields of the trainer_spec
	normalizer   []byte   // further fields of the normalizer_spec
	modelType    uint64   // 0 = BPE
	extra        []byte   // further fields of the message
	unknownPiece string   // "" = <unk>
}

func tagged(number, wire uint64, body []byte) []byte {
	b := binary.AppendUvarint(nil, number<<3|wire)
	if wire == 2 {
		b = binary.AppendUvarint(b, uint64(len(body)))
	}
	return append(b, body...)
}

func varintField(field, v uint64) []byte { return tagged(field, 0, binary.AppendUvarint(nil, v)) }

func pieceBytes(text string, score float32, kind uint64) []byte {
	body := tagged(1, 2, []byte(text))
	body = append(body, tagged(2, 5, binary.LittleEndian.AppendUint32(nil, math.Float32bits(score)))...)
	if kind != pieceNormal {
		body = append(body, varintField(3, kind)...)
	}
	return tagged(1, 2, body)
}

func (m testModel) encode() []byte {
	unk := m.unknownPiece
	if unk == "" {
		unk = "<unk>"
	}
	b := pieceBytes(unk, 0, pieceUnknown)
	b = append(b, pieceBytes("<s>", 0, pieceControl)...)
	b = append(b, pieceBytes("</s>", 0, pieceControl)...)
	if m.bytes {
		const hex = "0123456789ABCDEF"
		for v := range 256 {
			b = append(b, pieceBytes("<0x"+hex[v>>4:v>>4+1]+hex[v&15:v&15+1]+">", 0, pieceByte)...)
		}
	}
	pieces := m.pieces
	if pieces == nil {
		pieces = []string{"▁t", "he", "▁the", "▁", "t", "h", "e", "a", "b", "ab", "aa", "s", "<", ">", "é"}
	}
	for i, p := range pieces {
		b = append(b, pieceBytes(p, -float32(i), pieceNormal)...)
	}
	kind := m.modelType
	if kind == 0 {
		kind = 2
	}
	fallback := uint64(0)
	if m.bytes {
		fallback = 1
	}
	trainer := append(append(varintField(3, kind), varintField(35, fallback)...), m.trainer...)
	b = append(b, tagged(2, 2, trainer)...)
	b = append(b, tagged(3, 2, append(tagged(1, 2, []byte("identity")), m.normalizer...))...)
	return append(b, m.extra...)
}

func mustModel(t testing.TB, m testModel) *sentencePiece {
	t.Helper()
	tok, err := newSentencePiece(m.encode())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestSentencePiece(t *testing.T) {
	id := func(tok *sentencePiece, pieces ...string) []int32 {
		out := []int32{}
		for _, p := range pieces {
			r, ok := tok.ids[p]
			if !ok {
				t.Fatalf("no piece %q", p)
			}
			out = append(out, r.into)
		}
		return out
	}
	with := mustModel(t, testModel{bytes: true})
	without := mustModel(t, testModel{})
	noPrefix := mustModel(t, testModel{normalizer: varintField(3, 0)})
	raw := func(s string) (out []int32) {
		for _, b := range []byte(s) {
			out = append(out, with.bytes[b])
		}
		return out
	}
	for _, c := range []struct {
		tok  *sentencePiece
		text string
		want []int32
		back string
	}{
		{with, "", []int32{}, ""},
		{with, "the", id(with, "▁the"), "the"},
		{with, "thethe", id(with, "▁the", "t", "he"), "thethe"},
		{with, "  the", id(with, "▁", "▁", "▁the"), "  the"},
		{with, " ", id(with, "▁", "▁"), " "},
		{with, "aaa", id(with, "▁", "aa", "a"), "aaa"}, // leftmost first
		{with, "aab", id(with, "▁", "a", "ab"), "aab"}, // best score first
		{with, "é", id(with, "▁", "é"), "é"},
		{with, "中\n", append(id(with, "▁"), raw("中\n")...), "中\n"},
		{with, "a\xff", append(id(with, "▁", "a"), raw("\xff")...), "a\ufffd"},
		{with, "<s>", id(with, "▁", "<", "s", ">"), "<s>"},
		{without, "a中中", append(id(without, "▁", "a"), 0, 0), "a ⁇  ⁇ "},
		{noPrefix, "the the", id(noPrefix, "t", "he", "▁the"), "the the"},
	} {
		if got := c.tok.Encode(c.text); !slices.Equal(got, c.want) {
			t.Errorf("Encode(%q) = %v, want %v", c.text, got, c.want)
		}
		if got := c.tok.Decode(c.want); got != c.back {
			t.Errorf("Decode(%v) = %q, want %q", c.want, got, c.back)
		}
	}
	if with.BOS() != 1 || with.EOS() != 2 || with.Vocab() != 3+256+15 {
		t.Errorf("BOS %d, EOS %d, Vocab %d", with.BOS(), with.EOS(), with.Vocab())
	}
	ids := EncodeSpecial(with, "<s>the the</s>")
	if want := append([]int32{1}, append(id(with, "▁the", "▁the"), 2)...); !slices.Equal(ids, want) {
		t.Errorf("EncodeSpecial = %v, want %v", ids, want)
	}
	if got := with.Decode(ids); got != "the the" {
		t.Errorf("Decode with control tokens = %q", got)
	}
	if got := Continue(with, id(with, "▁the")); got != " the" {
		t.Errorf("Continue = %q, want the space kept", got)
	}
	s, streamed := NewStream(with), ""
	for _, id := range with.Encode("中 the") {
		streamed += s.Next(id)
	}
	if streamed += s.Flush(); streamed != " 中 the" {
		t.Errorf("streamed %q", streamed)
	}
}

func TestSentencePieceRefuses(t *testing.T) {
	all := testModel{bytes: true}.encode()
	for name, c := range map[string]struct {
		raw   []byte
		field string
	}{
		"empty":             {nil, "trainer_spec.model_type"},
		"cut":               {all[:len(all)-3], "tokenizer.model"},
		"unigram":           {testModel{modelType: 1}.encode(), "trainer_spec.model_type"},
		"normalised":        {testModel{normalizer: tagged(2, 2, []byte("map"))}.encode(), "normalizer_spec"},
		"suffix":            {testModel{trainer: varintField(24, 1)}.encode(), "trainer_spec"},
		"piece twice":       {testModel{pieces: []string{"a", "a"}}.encode(), "pieces"},
		"empty piece":       {testModel{pieces: []string{""}}.encode(), "pieces"},
		"long piece":        {testModel{pieces: []string{strings.Repeat("a", maxToken+1)}}.encode(), "pieces"},
		"control twice":     {testModel{extra: pieceBytes("<s>", 0, pieceControl)}.encode(), "pieces"},
		"two unknown":       {testModel{extra: pieceBytes("<u>", 0, pieceUnknown)}.encode(), "pieces"},
		"user defined":      {testModel{extra: pieceBytes("<u>", 0, 4)}.encode(), "pieces"},
		"byte twice":        {testModel{bytes: true, extra: pieceBytes("<0x0a>", 0, pieceByte)}.encode(), "pieces"},
		"no byte":           {testModel{extra: pieceBytes("0x0a", 0, pieceByte)}.encode(), "pieces"},
		"bytes missing":     {testModel{trainer: varintField(35, 1)}.encode(), "pieces"},
		"NaN score":         {testModel{extra: pieceBytes("q", float32(math.NaN()), pieceNormal)}.encode(), "pieces.score"},
		"not UTF-8":         {testModel{pieces: []string{"\xff"}}.encode(), "pieces.piece"},
		"wrong wire type":   {testModel{extra: varintField(1, 3)}.encode(), "pieces"},
		"field 0":           {testModel{extra: []byte{0, 0}}.encode(), "tokenizer.model"},
		"group":             {testModel{extra: []byte{7<<3 | 3}}.encode(), "tokenizer.model"},
		"length over file":  {append(all[:len(all):len(all)], 0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f), "tokenizer.model"},
		"length over int64": {append(all[:len(all):len(all)], 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), "tokenizer.model"},
	} {
		_, err := newSentencePiece(c.raw)
		var bad *InvalidError
		if !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%s: error %v, want one about %s", name, err, c.field)
		}
	}
}

// TestReferenceSentencePiece runs the encode vectors of the pretrained checkpoints in
// $RANKLOOP_DATA/models, where they are present; without them a checkpoint made in
// the tests of package checkpoint takes their place.
func TestReferenceSentencePiece(t *testing.T) {
	dirs, _ := filepath.Glob(filepath.Join(os.Getenv("RANKLOOP_DATA"), "models", "*", "reference.json"))
	if os.Getenv("RANKLOOP_DATA") != "" && len(dirs) == 0 {
		t.Error("no checkpoint in $RANKLOOP_DATA/models")
	}
	for _, file := range dirs {
		tok, err := Load(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var ref struct {
			Encode []struct {
				Text, Decoded string
				IDs           []int32
			}
		}
		if err := json.Unmarshal(data, &ref); err != nil {
			t.Fatal(err)
		}
		for _, c := range ref.Encode {
			got := append([]int32{tok.BOS()}, tok.Encode(c.Text)...)
			if !slices.Equal(got, c.IDs) {
				t.Errorf("%s: Encode(%q) = %v, want %v", file, c.Text, got, c.IDs)
			}
			if c.Decoded != "" && tok.Decode(c.IDs) != c.Decoded {
				t.Errorf("%s: Decode(%v) = %q, want %q", file, c.IDs, tok.Decode(c.IDs), c.Decoded)
			}
		}
		if len(ref.Encode) == 0 {
			t.Errorf("%s: no vectors", file)
		}
	}
}

func FuzzSentencePieceModel(f *testing.F) {
	f.Add(testModel{}.encode(), "the")
	f.Add(testModel{bytes: true}.encode(), "a中\xff")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		tok, err := newSentencePiece(raw)
		if err != nil {
			var bad *InvalidError
			if !errors.As(err, &bad) {
				t.Fatalf("error without a field: %v", err)
			}
			return
		}
		for _, id := range tok.Encode(text) {
			if id < 0 || int(id) >= tok.Vocab() {
				t.Fatalf("id %d of %d", id, tok.Vocab())
			}
		}
	})
}
