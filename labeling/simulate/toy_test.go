package simulate

import (
	"math"
	"math/rand/v2"
	"testing"
)

var _ World = (*ToyWorld)(nil)

func TestToyVocabulary(t *testing.T) {
	w := Toy()
	if len(w.words) != ToyVocab || len(w.ids) != ToyVocab {
		t.Fatalf("%d words, %d different ones", len(w.words), len(w.ids))
	}
	count := map[toyClass]int{}
	for id := range int32(ToyVocab) {
		count[toyClassOf(id)]++
	}
	want := map[toyClass]int{toySpecial: 4, toyNoun: 16, toyAdj: 24, toyVerb: 8, toyDet: 2, toyDot: 1, toyAnd: 1}
	for c, n := range want {
		if count[c] != n {
			t.Errorf("class %d has %d words, want %d", c, count[c], n)
		}
	}
	text := "the kind fox sings and tall . a bear waits ."
	if got := w.Decode(w.Encode(text)); got != text {
		t.Errorf("round trip gives %q", got)
	}
}

func TestToyGold(t *testing.T) {
	w := Toy()
	for _, c := range []struct {
		response string
		ended    bool
		want     float64
	}{
		{"the fox sings .", true, 1},
		{"the kind fox sings and brave .", true, 3},
		{"the cruel fox sings .", true, 0},
		{"the kind bear sings .", true, 1},                       // off topic
		{"the kind fox sings . the kind fox runs .", true, 1.5},  // 2 + 1 - 1.5
		{"the tall fox sings . the tall fox runs .", true, -0.5}, // neutral ones repeat too
		{"the fox sings .", false, -1},                           // no end
		{"fox", true, 1 - 2 - 2},                                 // starts and ends wrongly, too short
		{"", true, -1 - 2},                                       // the end token may not follow SEP
		{"the fox fox sings .", true, 0},                         // one bad bigram
		{"the kind brave fox sings .", true, 2},                  // adjectives do not follow each other
		{"the banana sings .", true, -2},                         // unknown word: two bad bigrams
		{"the kind fox sings and happy . a wise fox", false, 2},  // 3 + 1 - 2: cut off, the last bigram is a good one
	} {
		want := c.want
		if got := w.Gold("fox", c.response, c.ended); got != want {
			t.Errorf("%q, ended %v: %g, want %g", c.response, c.ended, got, want)
		}
		sum := 0.0
		for _, e := range w.Explain("fox", c.response, c.ended) {
			sum += e.Points
		}
		if sum != w.Gold("fox", c.response, c.ended) {
			t.Errorf("%q: the explanation adds up to %g", c.response, sum)
		}
	}
}

// TestToyFrozen pins the calibration: change nothing here without measuring everything anew.
func TestToyFrozen(t *testing.T) {
	w := Toy()
	var on, repeats, gold, tokens float64
	const n = 20000
	demos := w.DemonstrationIDs(1, n)
	for _, d := range demos {
		f := w.Facts(d.IDs[1], d.IDs[d.Start:])
		if f.BadBigrams != 0 || !f.Ended || f.Length+1 > ToyMaxResponse {
			t.Fatalf("a demonstration is not of the grammar: %s", w.Decode(d.IDs))
		}
		if f.OnTopic {
			on += 1.0 / n
		}
		repeats += float64(f.Repeats) / n
		gold += f.Gold() / n
	}
	var off float64
	for _, d := range w.CorpusIDs(2, n) {
		if w.Facts(d.IDs[1], d.IDs[d.Start:]).OnTopic {
			off += 1.0 / n
		}
		tokens += float64(len(d.IDs)-d.Start) / n
	}
	nats, mean := w.Entropy()
	if math.Abs(tokens-mean) > 0.1 {
		t.Errorf("texts have %.2f tokens, the entropy assumes %.2f", tokens, mean)
	}
	for _, c := range []struct {
		what           string
		got, low, high float64
	}{
		{"demonstrations on topic", on, 0.994, 0.998}, {"corpus on topic", off, 0.11, 0.13},
		{"repeats per demonstration", repeats, 0.05, 0.09}, {"gold of demonstrations", gold, 0.82, 0.95},
		{"entropy per token", nats / mean, 1.75, 1.79},
	} {
		t.Logf("%s: %.4f", c.what, c.got)
		if c.got < c.low || c.got > c.high {
			t.Errorf("%s is %.4f, not in [%g, %g]", c.what, c.got, c.low, c.high)
		}
	}
}

// TestToyEntropy compares the exact entropy with -log p of drawn texts, computed the long way.
func TestToyEntropy(t *testing.T) {
	w := Toy()
	const n = 40000
	share, _ := toyShare()
	sum, sq := 0.0, 0.0
	for _, d := range w.CorpusIDs(5, n) {
		lp := -math.Log(share)
		sentences := 0
		ids := d.IDs[d.Start:]
		for i, id := range ids {
			switch toyClassOf(id) {
			case toyDet:
				sentences++
				lp -= math.Log(2)
				lp += math.Log(map[bool]float64{true: 0.6, false: 0.4}[toyClassOf(ids[i+1]) == toyAdj])
			case toyAdj:
				lp -= math.Log(24)
			case toyNoun:
				lp -= math.Log(16)
			case toyVerb:
				lp -= math.Log(8)
				lp += math.Log(map[bool]float64{true: 0.3, false: 0.7}[toyClassOf(ids[i+1]) == toyAnd])
			}
		}
		lp += math.Log([]float64{0, 0.18, 0.54, 0.28}[sentences])
		sum, sq = sum-lp, sq+lp*lp
	}
	mean := sum / n
	se := math.Sqrt((sq/n - mean*mean) / n)
	if nats, _ := w.Entropy(); math.Abs(mean-nats) > 4*se {
		t.Errorf("entropy %.4f, texts say %.4f +- %.4f", nats, mean, se)
	}
}

// toyShare is the chance that a response fits, by drawing.
func toyShare() (share, se float64) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 400000
	for range n {
		if len(toyResponse(rng, toyNouns, 0)) <= ToyMaxResponse {
			share += 1.0 / n
		}
	}
	return share, math.Sqrt(share * (1 - share) / n)
}

func TestToyLabelers(t *testing.T) {
	w := Toy()
	demos := w.DemonstrationIDs(3, 40000)
	rng := rand.New(rand.NewPCG(8, 8))
	var agree, ceiling, n float64
	for i := 0; i+1 < len(demos); i += 2 {
		a := w.GoldIDs(demos[i].IDs[1], demos[i].IDs[3:])
		b := w.GoldIDs(demos[i+1].IDs[1], demos[i+1].IDs[3:])
		x, y := w.RankIDs(rng, []float64{a, b}), w.RankIDs(rng, []float64{a, b})
		if x[0]+x[1] != 3 {
			t.Fatalf("ranks %v", x)
		}
		if x[0] == y[0] {
			agree++
		}
		p := w.Prefers(a, b)
		ceiling += math.Max(p, 1-p)
		n++
	}
	t.Logf("agreement %.3f, ceiling %.3f", agree/n, ceiling/n)
	if a, c := agree/n, ceiling/n; a < 0.70 || a > 0.73 || c < 0.76 || c > 0.79 {
		t.Errorf("agreement %.3f (.717 wanted), ceiling %.3f (.780 wanted)", a, c)
	}
	ranks := w.RankIDs(rng, []float64{0, 100, -100, 50})
	if ranks[0] != 3 || ranks[1] != 1 || ranks[2] != 4 || ranks[3] != 2 {
		t.Errorf("ranks %v", ranks)
	}
}

func TestToyDeterministic(t *testing.T) {
	a, b := Toy().Corpus(7, 20), Toy().Corpus(7, 20)
	for i := range a {
		if a[i] != b[i] {
			t.Fatal("the same seed gives other texts")
		}
	}
	if c := Toy().Corpus(8, 20); c[0] == a[0] && c[1] == a[1] {
		t.Error("another seed gives the same texts")
	}
}
