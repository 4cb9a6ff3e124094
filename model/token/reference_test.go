package token

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestReferenceIDs compares ids with independent implementations: of GPT-2's with
// js-tiktoken, gpt-tokenizer and gpt-3-encoder, of cl100k_base with gpt-tokenizer.
func TestReferenceIDs(t *testing.T) {
	for file, tok := range map[string]Tokenizer{"gpt2_tokens.jsonl": GPT2(), "cl100k_tokens.jsonl": CL100K()} {
		for _, v := range vectors(t, file) {
			for range 2 { // the second time words come from the cache
				if got := tok.Encode(v.Text); !slices.Equal(got, v.IDs) {
					t.Errorf("%s %s: Encode(%.60q) = %v, want %v", file, v.Name, v.Text, got, v.IDs)
				}
			}
			if got := tok.Decode(v.IDs); got != v.Text {
				t.Errorf("%s %s: Decode = %.60q, want %.60q", file, v.Name, got, v.Text)
			}
			if got := Continue(tok, v.IDs); got != v.Text {
				t.Errorf("%s %s: Continue = %.60q", file, v.Name, got)
			}
		}
	}
}

// TestReferenceSpecialAndStreaming covers special tokens, and what may be shown after
// each token of a stream.
func TestReferenceSpecialAndStreaming(t *testing.T) {
	var file struct {
		Special []struct {
			Encoding, Text string
			IDsAllowed     []int32 `json:"ids_allowed_special"`
			IDsOrdinary    []int32 `json:"ids_ordinary"`
		}
		Streaming []struct {
			Encoding, Text string
			IDs            []int32
			Bytes          []string `json:"token_bytes_hex"`
			Emitted        []string `json:"emitted_after_each_token"`
		}
	}
	if err := json.NewDecoder(fixture(t, "special_and_streaming.json")).Decode(&file); err != nil {
		t.Fatal(err)
	}
	if len(file.Special) == 0 || len(file.Streaming) == 0 {
		t.Fatal("no cases")
	}
	encodings := map[string]Tokenizer{"gpt2": GPT2(), "cl100k": CL100K()}
	for _, c := range file.Special {
		tok := encodings[c.Encoding]
		if got := EncodeSpecial(tok, c.Text); !slices.Equal(got, c.IDsAllowed) {
			t.Errorf("%s: EncodeSpecial(%q) = %v, want %v", c.Encoding, c.Text, got, c.IDsAllowed)
		}
		if got := tok.Encode(c.Text); !slices.Equal(got, c.IDsOrdinary) {
			t.Errorf("%s: Encode(%q) = %v, want %v", c.Encoding, c.Text, got, c.IDsOrdinary)
		}
		want := strings.ReplaceAll(c.Text, EndOfText, "")
		if c.Encoding == "cl100k" {
			want = strings.NewReplacer(EndOfText, "", "<|fim_prefix|>", "", "<|fim_middle|>", "", "<|fim_suffix|>", "").Replace(c.Text)
		}
		if got := tok.Decode(c.IDsAllowed); got != want {
			t.Errorf("%s: Decode(%v) = %q, want %q", c.Encoding, c.IDsAllowed, got, want)
		}
	}
	for _, c := range file.Streaming {
		tok := encodings[c.Encoding]
		s := NewStream(tok)
		for i, id := range c.IDs {
			if got := hex.EncodeToString(tok.Bytes(id)); got != c.Bytes[i] {
				t.Errorf("%s %q: Bytes(%d) = %s, want %s", c.Encoding, c.Text, id, got, c.Bytes[i])
			}
			if got := s.Next(id); got != c.Emitted[i] {
				t.Errorf("%s %q: token %d emits %q, want %q", c.Encoding, c.Text, i, got, c.Emitted[i])
			}
		}
		if got := s.Flush(); got != "" {
			t.Errorf("%s %q: Flush = %q", c.Encoding, c.Text, got)
		}
	}
}
