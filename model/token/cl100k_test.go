package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"
)

// TestCL100KVocabulary: the embedded merges are OpenAI's file, byte for byte.
func TestCL100KVocabulary(t *testing.T) {
	tok := CL100K()
	h := sha256.New()
	for id := range int32(100256) {
		fmt.Fprintf(h, "%s %d\n", base64.StdEncoding.EncodeToString(tok.Bytes(id)), id)
	}
	const want = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("cl100k_base.tiktoken has sha256 %s", got)
	}
	if tok.Vocab() != 100277 || tok.EOS() != 100257 {
		t.Errorf("vocab %d, EOS %d", tok.Vocab(), tok.EOS())
	}
	for name, want := range map[string]int32{EndOfText: 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259,
		"<|fim_suffix|>": 100260, "<|endofprompt|>": 100276} {
		if got, ok := tok.Special(name); !ok || got != want {
			t.Errorf("%s is %d %t", name, got, ok)
		}
	}
	for _, id := range []int32{-1, 100256, 100257, 100261, 100277} {
		if tok.Bytes(id) != nil {
			t.Errorf("Bytes(%d) = %q", id, tok.Bytes(id))
		}
	}
	if _, err := parseCL100K(cl100kMerges[:len(cl100kMerges)-100]); err == nil {
		t.Error("a file cut off was accepted")
	}
}

// TestCL100KWholeTokens: tiktoken looks a word up before it merges; merging gives the
// same token.
func TestCL100KWholeTokens(t *testing.T) {
	tok := cl100k().(*bpe)
	for id := range int32(100256) {
		if got := tok.encodeWord(nil, string(tok.tokens[id])); len(got) != 1 || got[0] != id {
			t.Fatalf("%q (%d) merges into %v", tok.tokens[id], id, got)
		}
	}
}

func BenchmarkOpenCL100K(b *testing.B) {
	for b.Loop() {
		if _, err := parseCL100K(cl100kMerges); err != nil {
			b.Fatal(err)
		}
	}
}
