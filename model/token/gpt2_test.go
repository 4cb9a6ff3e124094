package token

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReferenceGPT2 compares ids with js-tiktoken, gpt-tokenizer and gpt-3-encoder.
func TestReferenceGPT2(t *testing.T) {
	tok := GPT2()
	for _, v := range gpt2Vectors(t) {
		if got := tok.Encode(v.Text); !slices.Equal(got, v.IDs) {
			t.Errorf("%s: Encode(%.60q) = %v, want %v", v.Name, v.Text, got, v.IDs)
		}
		if got := tok.Decode(v.IDs); got != v.Text {
			t.Errorf("%s: Decode = %.60q, want %.60q", v.Name, got, v.Text)
		}
		if got := Continue(tok, v.IDs); got != v.Text {
			t.Errorf("%s: Continue = %.60q", v.Name, got)
		}
	}
}

// TestReferenceSpecialAndStreaming covers special tokens, and what may be shown after
// each token of a stream, for the encodings that the program has.
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
	tok, cases := GPT2(), 0
	for _, c := range file.Special {
		if c.Encoding != "gpt2" {
			continue
		}
		cases++
		if got := EncodeSpecial(tok, c.Text); !slices.Equal(got, c.IDsAllowed) {
			t.Errorf("EncodeSpecial(%q) = %v, want %v", c.Text, got, c.IDsAllowed)
		}
		if got := tok.Encode(c.Text); !slices.Equal(got, c.IDsOrdinary) {
			t.Errorf("Encode(%q) = %v, want %v", c.Text, got, c.IDsOrdinary)
		}
		if got, want := tok.Decode(c.IDsAllowed), strings.ReplaceAll(c.Text, EndOfText, ""); got != want {
			t.Errorf("Decode(%v) = %q, want %q", c.IDsAllowed, got, want)
		}
	}
	for _, c := range file.Streaming {
		if c.Encoding != "gpt2" {
			continue
		}
		cases++
		s := NewStream(tok)
		for i, id := range c.IDs {
			if got := hex.EncodeToString(tok.Bytes(id)); got != c.Bytes[i] {
				t.Errorf("%q: Bytes(%d) = %s, want %s", c.Text, id, got, c.Bytes[i])
			}
			if got := s.Next(id); got != c.Emitted[i] {
				t.Errorf("%q: token %d emits %q, want %q", c.Text, i, got, c.Emitted[i])
			}
		}
		if got := s.Flush(); got != "" {
			t.Errorf("%q: Flush = %q", c.Text, got)
		}
	}
	if cases != 13 {
		t.Errorf("%d cases understood, want 13", cases)
	}
}

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

// TestEncodeLongWords bounds the time for text that a quadratic merge chokes on: a
// second per MiB, and where all is slow (the race detector, a busy machine) so many
// times what prose takes.
func TestEncodeLongWords(t *testing.T) {
	usual := strings.Join(prose(1<<20), "\n")
	begin := time.Now()
	GPT2().Encode(usual)
	limit := max(time.Second, 40*time.Since(begin))
	sp := mustModel(t, testModel{bytes: true})
	for name, text := range map[string]string{
		"one letter": strings.Repeat("a", 1<<20),
		"spaces":     strings.Repeat(" ", 1<<20),
		"two":        strings.Repeat("ab", 1<<19),
		"symbols":    strings.Repeat("=", 1<<20),
		"chinese":    strings.Repeat("中", 1<<18),
		"newlines":   strings.Repeat("\n", 1<<20),
		"broken":     strings.Repeat("\xff", 1<<20),
	} {
		for _, tok := range []Tokenizer{GPT2(), sp} {
			begin := time.Now()
			ids := tok.Encode(text)
			if took := time.Since(begin); took > limit {
				t.Errorf("%s: %v for 1 MiB", name, took)
			}
			want := text
			if tok == Tokenizer(sp) {
				want = " " + text
			}
			if rawBytes(tok, ids) != want {
				t.Errorf("%s: the tokens do not spell the text", name)
			}
		}
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
	tok := GPT2().(*byteLevel)
	for _, v := range gpt2Vectors(t) {
		words(v.Text, func(w string) {
			if len(w) > shortWord {
				return
			}
			var s symbols
			for i := range len(w) {
				s.add(tok.bytes[w[i]], i, i+1)
			}
			s.merge(func(i, j int32) (int32, int32, bool) {
				r, ok := tok.pairs[pairKey(s.id[i], s.id[j])]
				return r.rank, r.into, ok
			})
			var long []int32
			for i := int32(0); i >= 0; i = s.next[i] {
				long = append(long, s.id[i])
			}
			if short := tok.encodeShort(nil, w); !slices.Equal(short, long) {
				t.Errorf("%q: short %v, long %v", w, short, long)
			}
		})
	}
}

func FuzzByteLevel(f *testing.F) {
	for _, v := range gpt2Vectors(f) {
		f.Add(v.Text)
	}
	f.Add("a\xff\xe4\xb8 b\xf0\x9f")
	tok := GPT2()
	f.Fuzz(func(t *testing.T, text string) {
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
	})
}
