package token

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naiveTrain is Sennrich et al.'s algorithm as it stands: count all pairs anew for
// each merge.
func naiveTrain(texts []string, vocab int) [][2]string {
	type word struct {
		parts []string
		count int
	}
	counts := map[string]int{}
	for _, text := range texts {
		patternGPT2.words(text, func(w string) { counts[w]++ })
	}
	var list []word
	for w, n := range counts {
		parts := make([]string, len(w)) // bytes, not characters
		for j := range parts {
			parts[j] = w[j : j+1]
		}
		list = append(list, word{parts, n})
	}
	ids := map[string]int{}
	for i, b := range byteOrder {
		ids[string([]byte{b})] = i
	}
	var merges [][2]string
	for len(ids) < vocab {
		pairs := map[[2]string]int{}
		for _, w := range list {
			for j := range len(w.parts) - 1 {
				pairs[[2]string{w.parts[j], w.parts[j+1]}] += w.count
			}
		}
		var best [2]string
		for p, n := range pairs {
			m := pairs[best]
			if n > m || n == m && (ids[p[0]] < ids[best[0]] || ids[p[0]] == ids[best[0]] && ids[p[1]] < ids[best[1]]) {
				best = p
			}
		}
		if pairs[best] < minCount {
			break
		}
		merges = append(merges, best)
		ids[best[0]+best[1]] = len(ids)
		for i := range list {
			var out []string
			parts := list[i].parts
			for j := 0; j < len(parts); j++ {
				if j+1 < len(parts) && parts[j] == best[0] && parts[j+1] == best[1] {
					out = append(out, parts[j]+parts[j+1])
					j++
				} else {
					out = append(out, parts[j])
				}
			}
			list[i].parts = out
		}
	}
	return merges
}

func TestTrainEqualsNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		var texts []string
		for range 30 {
			var b strings.Builder
			for range 40 {
				b.WriteString([]string{"a", "b", "aa", "ab ", " c", "中", "\n", "'s"}[rng.IntN(8)])
			}
			texts = append(texts, b.String())
		}
		tok, err := Train(slices.Values(texts), 256+60, nil)
		if err != nil {
			t.Fatal(err)
		}
		bl := tok.(*bpe)
		var got [][2]string
		for _, m := range bl.merges {
			got = append(got, [2]string{string(bl.tokens[m.left]), string(bl.tokens[m.right])})
		}
		if want := naiveTrain(texts, 256+60); !slices.Equal(got, want) {
			t.Fatalf("round %d: merges %q, want %q", round, got, want)
		}
	}
}

func TestTrain(t *testing.T) {
	tok := mustTrain(t, 300, EndOfText, "<pad>")
	end, _ := tok.Special(EndOfText)
	pad, _ := tok.Special("<pad>")
	if tok.Vocab() != 300 || end != 298 || pad != 299 || tok.EOS() != 298 {
		t.Errorf("vocab %d, specials %d and %d, EOS %d", tok.Vocab(), end, pad, tok.EOS())
	}
	for _, text := range []string{"", "the fox", "ünïcode 中文 \x00", "a <pad> b"} {
		if got := tok.Decode(tok.Encode(text)); got != text {
			t.Errorf("Decode(Encode(%q)) = %q", text, got)
		}
	}
	if n := len(tok.Encode(" the fox and the hen")); n >= 20 {
		t.Errorf("%d tokens: nothing was learned", n)
	}
	// The order of texts does not matter, and merges stop where pairs occur once.
	var texts []string
	for s := range lessons {
		texts = append(texts, s)
	}
	slices.Reverse(texts)
	again, err := Train(slices.Values(texts), 300, []string{EndOfText, "<pad>"})
	if err != nil || again.Digest() != tok.Digest() {
		t.Errorf("another order gives another tokenizer (%v)", err)
	}
	small, err := Train(slices.Values([]string{"abc abc"}), 1000, nil)
	if err != nil || small.Vocab() != 258 { // "abc" twice: ab, abc; " abc" once
		t.Errorf("vocab %d, %v", small.Vocab(), err)
	}
	for _, c := range []struct {
		vocab    int
		specials []string
	}{{255, nil}, {257, []string{"a", "b"}}, {maxVocab + 1, nil}, {300, []string{"<a>", "<a>"}}, {300, []string{""}}} {
		var bad *InvalidError
		if _, err := Train(lessons, c.vocab, c.specials); !errors.As(err, &bad) {
			t.Errorf("%d %q: error %v", c.vocab, c.specials, err)
		}
	}
}

// BenchmarkTrain learns 8,192 ids from 4 MB of made-up prose with a long tail of words.
func BenchmarkTrain(b *testing.B) {
	texts := prose(4 << 20)
	b.SetBytes(4 << 20)
	for b.Loop() {
		if _, err := Train(slices.Values(texts), 8192, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	text := strings.Join(prose(1<<20), "\n")
	for name, tok := range map[string]Tokenizer{"gpt2": GPT2(), "sentencepiece": mustModel(b, testModel{bytes: true})} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Encode(text)
			}
		})
	}
}

// prose is n bytes of lines of words that are drawn by Zipf's law.
func prose(n int) []string {
	rng := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(rng, 1.1, 8, 1<<17)
	var lines []string
	for n > 0 {
		var b strings.Builder
		for range 12 {
			v := zipf.Uint64()
			for k := v*2654435761 + 7; ; k /= 20 {
				b.WriteString("bacedifoguhajekilomunop"[k%20 : k%20+2])
				if v /= 30; v == 0 {
					break
				}
			}
			b.WriteByte(' ')
		}
		lines = append(lines, b.String())
		n -= b.Len() + 1
	}
	return lines
}
