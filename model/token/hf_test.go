package token

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestReferenceHuggingFace compares ids and texts with Hugging Face's tokenizers
// library, for tokenizer.json files of the shapes that published models have. What is
// saved and loaded again must do the same. testdata/hf/generate.mjs makes both.
func TestReferenceHuggingFace(t *testing.T) {
	files, err := filepath.Glob("testdata/hf/*.vectors.jsonl")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".vectors.jsonl")
		t.Run(name, func(t *testing.T) {
			tok := loadShape(t, name)
			dir := t.TempDir()
			if err := tok.Save(dir); err != nil {
				t.Fatal(err)
			}
			again, err := Load(dir)
			if err != nil || again.Digest() != tok.Digest() || again.BOS() != tok.BOS() || again.EOS() != tok.EOS() {
				t.Fatalf("saved and loaded: %v", err)
			}
			for _, v := range hfVectors(t, file) {
				v.check(t, tok)
				v.check(t, again)
			}
		})
	}
}

// loadShape opens a tokenizer of testdata/hf.
func loadShape(t testing.TB, name string) Tokenizer {
	t.Helper()
	data, err := os.ReadFile("testdata/hf/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

type hfVector struct {
	Text    string
	IDs     []int32
	Decoded string
	Special bool    // the text holds special tokens
	Around  []int32 // ids with what the template puts around
}

func hfVectors(t testing.TB, file string) []hfVector {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []hfVector
	for s := bufio.NewScanner(f); s.Scan(); {
		var v hfVector
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	if len(out) < 80 {
		t.Fatalf("%s: %d vectors", file, len(out))
	}
	return out
}

func (v hfVector) check(t *testing.T, tok Tokenizer) {
	t.Helper()
	if got := EncodeSpecial(tok, v.Text); !slices.Equal(got, v.IDs) {
		t.Errorf("EncodeSpecial(%q) = %v, want %v", v.Text, got, v.IDs)
	}
	got := tok.Encode(v.Text)
	if !v.Special && !slices.Equal(got, v.IDs) {
		t.Errorf("Encode(%q) = %v, want %v", v.Text, got, v.IDs)
	}
	for _, name := range []string{"<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<mask>"} {
		if id, ok := tok.Special(name); ok && slices.Contains(got, id) {
			t.Errorf("Encode(%q) holds the special token %s", v.Text, name)
		}
	}
	if got := tok.Decode(v.IDs); got != v.Decoded {
		t.Errorf("Decode(%v) = %q, want %q", v.IDs, got, v.Decoded)
	}
	before, after := Around(tok)
	if want := slices.Concat(before, v.IDs, after); v.Around != nil && !slices.Equal(want, v.Around) || v.Around == nil && len(before)+len(after) > 0 {
		t.Errorf("with what stands around %q: %v, want %v", v.Text, want, v.Around)
	}
}
