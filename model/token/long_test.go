package token

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// longWords are texts of n bytes that a quadratic merge chokes on.
func longWords(n int) map[string]string {
	return map[string]string{
		"one letter": strings.Repeat("a", n),
		"spaces":     strings.Repeat(" ", n),
		"two":        strings.Repeat("ab", n/2),
		"symbols":    strings.Repeat("=", n),
		"chinese":    strings.Repeat("中", n/3),
		"newlines":   strings.Repeat("\n", n),
		"broken":     strings.Repeat("\xff", n),
	}
}

// TestMergeLinear counts how often merging looks for a pair: each unit once, each of
// the neighbours of a merge once, and once for each candidate taken from the heap.
// That is at most six times the length, whatever the text; the heap adds its log n.
func TestMergeLinear(t *testing.T) {
	const n = 1 << 16
	tok := gpt2().(*bpe)
	for name, text := range longWords(n) {
		s := newSymbols(len(text))
		for i := range len(text) {
			s.add(tok.bytes[text[i]], i, i+1)
		}
		looked := 0
		s.merge(func(i, j int32) (int32, int32, bool) {
			looked++
			r := tok.pairs.get(s.id[i], s.id[j])
			return r.rank, r.into, r.rank != noRank
		})
		if looked > 6*n {
			t.Errorf("%s: %d looks for %d bytes", name, looked, n)
		}
	}
}

// TestPatternsLinear counts the bytes of a text that a pattern could look at: words are
// found one after the other, and no piece of white space is gone over again and again.
func TestPatternsLinear(t *testing.T) {
	for name, text := range longWords(1 << 16) {
		for p := patternGPT2; p <= patternQwen2; p++ {
			joined, n := 0, 0
			p.words(text, func(w string) { joined += len(w); n++ })
			if joined != len(text) || n > len(text) {
				t.Errorf("%s, pattern %d: %d words of %d bytes", name, p, n, joined)
			}
		}
	}
}

// TestEncodeLongWords: the tokens of long words spell the text, and short-cuts for
// short words give what the heap gives.
func TestEncodeLongWords(t *testing.T) {
	sp := mustModel(t, testModel{bytes: true})
	for name, text := range longWords(1 << 18) {
		for _, tok := range []Tokenizer{GPT2(), CL100K(), sp} {
			want := text
			if tok == Tokenizer(sp) {
				want = " " + text
			}
			if rawBytes(tok, tok.Encode(text)) != want {
				t.Errorf("%s: the tokens do not spell the text", name)
			}
		}
	}
}

// TestManyGoroutines: a tokenizer is used by many at once, cache and all.
func TestManyGoroutines(t *testing.T) {
	texts := prose(1 << 16)
	for _, tok := range []Tokenizer{GPT2(), CL100K(), loadShape(t, "llama2"), loadShape(t, "gpt1"), mustModel(t, testModel{bytes: true})} {
		var want [][]int32
		for _, text := range texts {
			want = append(want, tok.Encode(text))
		}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range texts {
					i = (i + g*len(texts)/8) % len(texts)
					if got := tok.Encode(texts[i]); !slices.Equal(got, want[i]) {
						t.Errorf("%q: %v, want %v", texts[i], got, want[i])
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

// BenchmarkOneCharacter encodes 1 MiB of one character.
func BenchmarkOneCharacter(b *testing.B) {
	llama := loadShape(b, "llama2")
	for name, tok := range map[string]Tokenizer{"gpt2": GPT2(), "cl100k": CL100K(), "llama2": llama, "sentencepiece": mustModel(b, testModel{bytes: true})} {
		for _, c := range []string{"a", " ", "="} {
			b.Run(name+"/"+c, func(b *testing.B) {
				text := strings.Repeat(c, 1<<20)
				for b.Loop() {
					tok.Encode(text)
				}
			})
		}
	}
}

// TestAgenda: candidates come smallest first, whatever comes in between.
func TestAgenda(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var a agenda
		var want []candidate // a plain list
		for range 300 {
			if rng.IntN(3) > 0 {
				c := candidate(rng.IntN(1000))
				a.put(c)
				want = append(want, c)
				continue
			}
			got, ok := a.take()
			if ok != (len(want) > 0) {
				t.Fatalf("taken %t with %d there", ok, len(want))
			}
			if ok {
				i := slices.Index(want, slices.Min(want))
				if got != want[i] {
					t.Fatalf("took %d, the smallest is %d", got, want[i])
				}
				want = slices.Delete(want, i, i+1)
			}
		}
	}
}
