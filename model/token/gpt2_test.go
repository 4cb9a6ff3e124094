package token

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestGPT2Vocabulary(t *testing.T) {
	tok := GPT2()
	end, ok := tok.Special(EndOfText)
	if tok.Vocab() != 50257 || !ok || end != 50256 || tok.EOS() != end || tok.BOS() != end {
		t.Errorf("vocab %d, %s = %d %t, EOS %d, BOS %d", tok.Vocab(), EndOfText, end, ok, tok.EOS(), tok.BOS())
	}
	if _, ok := tok.Special("the"); ok {
		t.Error("an ordinary token passes as special")
	}
	for _, id := range []int32{-1, 50256, 50257, 1 << 30} {
		if b := tok.Bytes(id); b != nil || tok.Decode([]int32{id}) != "" {
			t.Errorf("Bytes(%d) = %q", id, b)
		}
	}
	// The embedded file is OpenAI's, byte for byte.
	z, err := gzip.NewReader(bytes.NewReader(gpt2Merges))
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, z); err != nil {
		t.Fatal(err)
	}
	const want = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("vocab.bpe has sha256 %s", got)
	}
	if _, err := parseGPT2(gpt2Merges[:len(gpt2Merges)-100]); err == nil {
		t.Error("a file cut off was accepted")
	}
}

func rawBytes(t Tokenizer, ids []int32) string {
	var b []byte
	for _, id := range ids {
		b = append(b, t.Bytes(id)...)
	}
	return string(b)
}

// TestShortAndLongMergeAgree: the two merge loops are one rule.
func TestShortAndLongMergeAgree(t *testing.T) {
	tok := GPT2().(*bpe)
	for _, v := range vectors(t, "gpt2_tokens.jsonl") {
		patternGPT2.words(v.Text, func(w string) {
			if len(w) > shortWord {
				return
			}
			var units []int32
			for i := range len(w) {
				units = append(units, tok.bytes[w[i]])
			}
			long := tok.pairs.mergeLong(slices.Clone(units))
			if short := tok.pairs.mergeShort(units); !slices.Equal(short, long) {
				t.Errorf("%q: short %v, long %v", w, short, long)
			}
		})
	}
}

func FuzzByteLevel(f *testing.F) {
	for _, file := range []string{"gpt2_tokens.jsonl", "cl100k_tokens.jsonl"} {
		for _, v := range vectors(f, file) {
			f.Add(v.Text)
		}
	}
	f.Add("a\xff\xe4\xb8 b\xf0\x9f")
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range []Tokenizer{GPT2(), CL100K()} {
			ids := tok.Encode(text)
			if got := rawBytes(tok, ids); got != text {
				t.Fatalf("Encode(%q) spells %q", text, got)
			}
			if slices.Contains(ids, tok.EOS()) {
				t.Fatalf("Encode(%q) holds a special token", text)
			}
			s, streamed := NewStream(tok), ""
			for _, id := range ids {
				streamed += s.Next(id)
			}
			streamed += s.Flush()
			if want := strings.ToValidUTF8(text, ""); strings.ReplaceAll(streamed, "\ufffd", "") != strings.ReplaceAll(want, "\ufffd", "") || streamed != tok.Decode(ids) {
				t.Fatalf("streamed %q, decoded %q of %q", streamed, tok.Decode(ids), text)
			}
		}
	})
}
