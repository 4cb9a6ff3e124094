package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// lessons is a small corpus with a few words often.
func lessons(yield func(string) bool) {
	for range 20 {
		if !yield("the fox and the hen went to the old well, and the fox said: it's deep") || !yield("the hen didn't go\n\n  the fox did 中文 中文") {
			return
		}
	}
}

func mustTrain(t testing.TB, vocab int, specials ...string) Tokenizer {
	t.Helper()
	tok, err := Train(lessons, vocab, specials)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestSaveLoad: what Save writes is the same tokenizer when loaded.
func TestSaveLoad(t *testing.T) {
	for name, tok := range map[string]Tokenizer{
		"gpt2":          GPT2(),
		"trained":       mustTrain(t, 300, EndOfText, "<pad>"),
		"no specials":   mustTrain(t, 280),
		"sentencepiece": mustModel(t, testModel{bytes: true}),
	} {
		dir := t.TempDir()
		if err := tok.Save(dir); err != nil {
			t.Fatal(err)
		}
		got, err := Load(dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Digest() != tok.Digest() || got.Vocab() != tok.Vocab() || got.EOS() != tok.EOS() || got.BOS() != tok.BOS() {
			t.Errorf("%s: loaded %d ids, EOS %d, BOS %d, want %d %d %d, digest equal %t", name,
				got.Vocab(), got.EOS(), got.BOS(), tok.Vocab(), tok.EOS(), tok.BOS(), got.Digest() == tok.Digest())
		}
		text := "the fox's <|endoftext|> 中文\n"
		if !slices.Equal(got.Encode(text), tok.Encode(text)) || !slices.Equal(EncodeSpecial(got, text), EncodeSpecial(tok, text)) {
			t.Errorf("%s: loaded tokenizer gives other ids", name)
		}
		info, err := os.Stat(filepath.Join(dir, "tokenizer_config.json"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

// TestLoadVocabMerges: the two files of the first GPT-2 release give the same ids.
func TestLoadVocabMerges(t *testing.T) {
	tok := GPT2().(*bpe)
	vocab, err := tok.vocabJSON()
	if err != nil {
		t.Fatal(err)
	}
	var merges strings.Builder
	merges.WriteString("#version: 0.2\n")
	for _, m := range tok.merges {
		merges.WriteString(toLetters(tok.tokens[m.left]) + " " + toLetters(tok.tokens[m.right]) + "\n")
	}
	got, err := LoadFS(fstest.MapFS{"vocab.json": {Data: vocab}, "merges.txt": {Data: []byte(merges.String())}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest() != tok.Digest() || got.EOS() != 50256 {
		t.Errorf("EOS %d, digest equal %t", got.EOS(), got.Digest() == tok.Digest())
	}
}

// savedJSON is the tokenizer.json of a small tokenizer, changed by edit.
func savedJSON(t testing.TB, edit func(file, model map[string]any)) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := mustTrain(t, 290, EndOfText).Save(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	edit(file, file["model"].(map[string]any))
	data, err = json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestLoadJSONForms: the forms that other writers use mean the same.
func TestLoadJSONForms(t *testing.T) {
	want := mustTrain(t, 290, EndOfText)
	for name, edit := range map[string]func(file, model map[string]any){
		"as saved": func(_, _ map[string]any) {},
		"merges as lines": func(_, m map[string]any) {
			for i, pair := range m["merges"].([]any) {
				p := pair.([]any)
				m["merges"].([]any)[i] = p[0].(string) + " " + p[1].(string)
			}
		},
		"null and empty affixes": func(f, m map[string]any) {
			m["continuing_subword_prefix"], m["end_of_word_suffix"] = "", ""
			f["post_processor"] = nil
			delete(f, "decoder")
		},
		"added token not in the vocabulary": func(_, m map[string]any) {
			delete(m["vocab"].(map[string]any), EndOfText)
		},
	} {
		got, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: savedJSON(t, edit)}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got.Digest() != want.Digest() || got.EOS() != want.EOS() {
			t.Errorf("%s: another tokenizer", name)
		}
	}
	// An added token that is not special is part of the text.
	got, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: savedJSON(t, func(f, _ map[string]any) {
		f["added_tokens"] = append(f["added_tokens"].([]any), map[string]any{"id": 291, "content": "fox", "special": false},
			map[string]any{"id": 290, "content": "foxglove", "special": false})
	})}})
	if err != nil {
		t.Fatal(err)
	}
	ids := got.Encode("a fox foxglove")
	if n := len(ids); ids[n-1] != 290 || ids[n-3] != 291 || got.Decode(ids) != "a fox foxglove" {
		t.Errorf("ids %v, text %q", ids, got.Decode(ids))
	}
	if _, ok := got.Special("foxglove"); ok {
		t.Error("foxglove passes as special")
	}
	dir := t.TempDir()
	if err := got.Save(dir); err != nil {
		t.Fatal(err)
	}
	if again, err := Load(dir); err != nil || again.Digest() != got.Digest() {
		t.Errorf("saved and loaded: %v", err)
	}
	// tokenizer_config.json names the ends, as a string or as an object.
	got, err = LoadFS(fstest.MapFS{"tokenizer.json": {Data: savedJSON(t, func(_, _ map[string]any) {})},
		"tokenizer_config.json": {Data: []byte(`{"bos_token":null,"eos_token":{"content":"<|endoftext|>"},"other":[1]}`)}})
	if err != nil || got.EOS() != 289 {
		t.Errorf("EOS of tokenizer_config.json: %v, %v", got, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	vocabOf := func(m map[string]any) map[string]any { return m["vocab"].(map[string]any) }
	part := func(at, kind string, more ...any) func(f, _ map[string]any) {
		return func(f, _ map[string]any) {
			p := map[string]any{"type": kind}
			for i := 0; i < len(more); i += 2 {
				p[more[i].(string)] = more[i+1]
			}
			f[at] = p
		}
	}
	regex := func(s string) map[string]any { return map[string]any{"Regex": s} }
	sequence := func(kinds ...string) []any {
		var out []any
		for _, k := range kinds {
			out = append(out, map[string]any{"type": k})
		}
		return out
	}
	for name, edit := range map[string]func(file, model map[string]any){
		"normalizer":            part("normalizer", "Precompiled"),
		"strip accents":         part("normalizer", "StripAccents"),
		"replace by regex":      part("normalizer", "Replace", "pattern", regex("a+"), "content", ""),
		"in a sequence":         part("normalizer", "Sequence", "normalizers", sequence("NFC", "Nmt")),
		"unknown field":         part("normalizer", "NFC", "strength", 3),
		"pre-tokenizer":         part("pre_tokenizer", "UnicodeScripts"),
		"other regex":           part("pre_tokenizer", "Split", "pattern", regex(`\w+`), "behavior", "Isolated", "invert", false),
		"other behavior":        part("pre_tokenizer", "Split", "pattern", regex(cl100kRegex), "behavior", "MergedWithNext", "invert", false),
		"removed":               part("pre_tokenizer", "Split", "pattern", regex(cl100kRegex), "behavior", "Removed", "invert", false),
		"split at a string":     part("pre_tokenizer", "Split", "pattern", map[string]any{"String": " "}, "behavior", "Isolated", "invert", false),
		"after byte-level":      part("pre_tokenizer", "Sequence", "pretokenizers", sequence("ByteLevel", "Digits")),
		"metaspace scheme":      part("pre_tokenizer", "Metaspace", "replacement", "_", "prepend_scheme", "last"),
		"metaspace replacement": part("pre_tokenizer", "Metaspace", "replacement", "__"),
		"characters, no unk":    part("pre_tokenizer", "Whitespace"),
		"no pre-tokenizer":      func(f, _ map[string]any) { f["pre_tokenizer"] = nil },
		"decoder":               part("decoder", "WordPiece"),
		"decoder of characters": part("decoder", "Metaspace"),
		"post-processor":        part("post_processor", "BertProcessing", "sep", []any{"a", 1}, "cls", []any{"b", 2}),
		"template of a pair": part("post_processor", "TemplateProcessing", "single", []any{map[string]any{"Sequence": map[string]any{"id": "A"}},
			map[string]any{"Sequence": map[string]any{"id": "B"}}}),
		"template without text": part("post_processor", "TemplateProcessing", "single", []any{}),
		"template of unknown": part("post_processor", "TemplateProcessing", "single",
			[]any{map[string]any{"SpecialToken": map[string]any{"id": "<q>"}}, map[string]any{"Sequence": map[string]any{"id": "A"}}}),
		"unigram":           func(_, m map[string]any) { m["type"] = "Unigram" },
		"dropout":           func(_, m map[string]any) { m["dropout"] = 0.1 },
		"subword prefix":    func(_, m map[string]any) { m["continuing_subword_prefix"] = "##" },
		"word suffix":       func(_, m map[string]any) { m["end_of_word_suffix"] = "</w>" },
		"byte fallback":     func(_, m map[string]any) { m["byte_fallback"] = true },
		"byte missing":      func(_, m map[string]any) { delete(vocabOf(m), "!") },
		"id twice":          func(_, m map[string]any) { vocabOf(m)["!"] = 1 },
		"id negative":       func(_, m map[string]any) { vocabOf(m)["!"] = -1 },
		"id huge":           func(_, m map[string]any) { vocabOf(m)["!"] = maxVocab },
		"id fraction":       func(_, m map[string]any) { vocabOf(m)["!"] = 0.5 },
		"not byte letters":  func(_, m map[string]any) { vocabOf(m)["中"] = 500 },
		"merge of unknown":  func(_, m map[string]any) { m["merges"] = []any{"q zz"} },
		"merge of three":    func(_, m map[string]any) { m["merges"] = []any{[]any{"a", "b", "c"}} },
		"merge twice":       func(_, m map[string]any) { l := m["merges"].([]any); m["merges"] = append(l, l[0]) },
		"merge of a number": func(_, m map[string]any) { m["merges"] = []any{7} },
		"added id in use":   func(f, _ map[string]any) { f["added_tokens"].([]any)[0].(map[string]any)["id"] = 3 },
		"added id huge":     func(f, _ map[string]any) { f["added_tokens"].([]any)[0].(map[string]any)["id"] = maxVocab },
		"added twice":       func(f, _ map[string]any) { l := f["added_tokens"].([]any); f["added_tokens"] = append(l, l[0]) },
	} {
		_, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: savedJSON(t, edit)}})
		var bad *InvalidError
		if err == nil || !errors.As(err, &bad) && !errors.Is(err, errUnsupported) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	twice := bytes.Replace(savedJSON(t, func(_, _ map[string]any) {}), []byte(`"vocab":{`), []byte(`"vocab":{"!":0,`), 1)
	if _, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: twice}}); err == nil {
		t.Error("a token that stands twice was accepted")
	}
	for _, files := range []fstest.MapFS{
		{"tokenizer.json": {Data: []byte("{")}},
		{"tokenizer.json": {Data: []byte("[]")}},
		{"tokenizer.json": {Data: []byte(`{"model":{"type":"BPE"}}`)}},
		{"vocab.json": {Data: []byte(`{"a":0}`)}, "merges.txt": {Data: []byte("a\n")}},
		{"tokenizer.model": {Data: []byte("x")}},
	} {
		if _, err := LoadFS(files); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%v: error %v", files, err)
		}
	}
	if _, err := LoadFS(fstest.MapFS{"config.json": {}, "vocab.json": {Data: []byte("{}")}}); !errors.Is(err, ErrNotFound) {
		t.Errorf("empty folder: error %v", err)
	}
	// Where another file is there, a tokenizer.json of another kind does not matter.
	got, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: []byte(`{"model":{"type":"Unigram","vocab":[]}}`)},
		"tokenizer.model": {Data: testModel{}.encode()}})
	if err != nil || got.BOS() != 1 {
		t.Errorf("tokenizer.model beside another tokenizer.json: %v", err)
	}
}

func FuzzTokenizerJSON(f *testing.F) {
	f.Add(savedJSON(f, func(_, _ map[string]any) {}), "the fox")
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a"]},"pre_tokenizer":{"type":"ByteLevel"}}`), "a")
	shapes, _ := filepath.Glob("testdata/hf/*.vectors.jsonl")
	for _, file := range shapes {
		data, err := os.ReadFile(strings.TrimSuffix(file, ".vectors.jsonl") + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "The fox <s> didn't\n\n go 12345 \xff 中文é")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: data}})
		if err != nil {
			return
		}
		ids := tok.Encode(text)
		if b := tok.(*bpe); b.pieces == nil && b.spec.plain() && len(b.added.names) == 0 {
			if got := rawBytes(tok, ids); got != text {
				t.Fatalf("Encode(%q) spells %q", text, got)
			}
		}
		checkStream(t, tok, append(ids, EncodeSpecial(tok, text)...))
	})
}

// TestStreamWholeCharacters: whatever the tokens, no piece of a stream ends within a
// character, and the pieces joined are the text.
func TestStreamWholeCharacters(t *testing.T) {
	toks := map[string]Tokenizer{"gpt2": GPT2(), "cl100k": CL100K(), "trained": mustTrain(t, 300), "sentencepiece": mustModel(t, testModel{bytes: true}),
		"llama2": loadShape(t, "llama2"), "mistral": loadShape(t, "mistral"), "gpt1": loadShape(t, "gpt1"), "qwen2": loadShape(t, "qwen2")}
	for name, tok := range toks {
		rng := rand.New(rand.NewPCG(7, 11))
		t.Run(name, func(t *testing.T) {
			for range 300 {
				ids := make([]int32, rng.IntN(40))
				for i := range ids {
					ids[i] = int32(rng.IntN(min(tok.Vocab(), 600))) // the bytes are among the first
				}
				checkStream(t, tok, ids)
			}
			checkStream(t, tok, tok.Encode("中文😀 é👩‍👩‍👧‍👦 ∑ \xff\xe4 naïve"))
		})
	}
}

func checkStream(t *testing.T, tok Tokenizer, ids []int32) {
	t.Helper()
	s, all := NewStream(tok), ""
	for _, id := range ids {
		if id < 0 || int(id) >= tok.Vocab() {
			t.Fatalf("id %d of %d", id, tok.Vocab())
		}
		piece := s.Next(id)
		if !utf8.ValidString(piece) {
			t.Fatalf("%v: %q ends within a character", ids, piece)
		}
		all += piece
	}
	if all += s.Flush(); all != Continue(tok, ids) {
		t.Fatalf("%v: streamed %q, whole %q", ids, all, Continue(tok, ids))
	}
}

func FuzzVocabMerges(f *testing.F) {
	f.Add([]byte(`{"a":0}`), []byte("#version: 0.2\na a\n"))
	f.Fuzz(func(t *testing.T, vocab, merges []byte) {
		_, _ = LoadFS(fstest.MapFS{"vocab.json": {Data: vocab}, "merges.txt": {Data: merges}})
	})
}
