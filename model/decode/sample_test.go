package decode

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func fixtures() string {
	if dir := os.Getenv("RANKLOOP_FIXTURES"); dir != "" {
		return dir
	}
	return filepath.Join("..", "testdata", "fixtures")
}

func TestReferenceSampling(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(fixtures(), "numerics", "sampling", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", fixtures(), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []struct {
			Name   string
			Logits []float32
			Probs  []float64
			Params struct {
				Temperature float64
				TopK        int     `json:"top_k"`
				TopP        float64 `json:"top_p"`
				Freq, Pres  float64
				Counts      map[int32]int
				Bias        map[int32]float32
			}
		}
		if err := json.Unmarshal(raw, &cases); err != nil {
			t.Fatal(err)
		}
		if len(cases) < 50 {
			t.Errorf("%s has only %d cases", file, len(cases))
		}
		for _, c := range cases {
			p := Params{MaxTokens: 1, Temperature: c.Params.Temperature, TopK: c.Params.TopK, TopP: c.Params.TopP,
				FrequencyPenalty: c.Params.Freq, PresencePenalty: c.Params.Pres, LogitBias: c.Params.Bias}
			if err := p.Validate(len(c.Logits)); err != nil {
				t.Errorf("%s: %v", c.Name, err)
				continue
			}
			// The reference's logits are float64; rounding them costs up to |logit|·2⁻²⁴/T of the exponent.
			largest := 0.0
			for _, l := range c.Logits {
				largest = max(largest, math.Abs(float64(l)))
			}
			tol := 1e-7
			if p.Temperature > 0 {
				tol += largest / p.Temperature / (1 << 23)
			}
			got := Distribution(c.Logits, p, c.Params.Counts)
			for i, want := range c.Probs {
				if math.Abs(got[i]-want) > tol || (got[i] == 0) != (want == 0) && want > 1e-300 {
					t.Errorf("%s: token %d has probability %g, want %g", c.Name, i, got[i], want)
					break
				}
			}
		}
	}
}

// The draws follow the distribution, in the fast way and in the general one, over
// streams of one number each: rows of Generate take few numbers from many streams.
func TestDrawsFollowTheDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 40)
	for i := range logits {
		logits[i] = float32(2 * rng.NormFloat64())
	}
	counts := map[int32]int{3: 2, 7: 1}
	for name, p := range map[string]Params{
		"plain":     {Temperature: 1},
		"hot":       {Temperature: 1.7},
		"cold":      {Temperature: 0.4},
		"top-k":     {Temperature: 1, TopK: 7},
		"top-p":     {Temperature: 1.2, TopP: 0.8},
		"penalties": {Temperature: 1, PresencePenalty: 1, FrequencyPenalty: 0.5, LogitBias: map[int32]float32{5: 2}},
		"greedy":    {},
	} {
		const n = 200000
		want := Distribution(logits, p, counts)
		seen := make([]float64, len(logits))
		var s sampler
		for i := range n {
			id, _ := s.draw(logits, &p, counts, rand.New(rand.NewPCG(42, uint64(i))))
			seen[id]++
		}
		chi, cells := 0.0, 0
		for i, w := range want {
			if w == 0 {
				if seen[i] > 0 {
					t.Errorf("%s: token %d was drawn, its probability is 0", name, i)
				}
				continue
			}
			if w*n < 5 {
				continue
			}
			d := seen[i] - w*n
			chi += d * d / (w * n)
			cells++
		}
		// Five standard deviations above the mean of chi-squared.
		if limit := float64(cells) + 5*math.Sqrt(2*float64(cells)); chi > limit {
			t.Errorf("%s: chi-squared %g over %d tokens, expected below %g", name, chi, cells, limit)
		}
	}
}

func TestTop(t *testing.T) {
	got := top([]float32{1, 3, 2, 3, 0}, 1, 3)
	want := []TopToken{{1, 2}, {3, 2}, {2, 1}}
	for i, w := range want {
		if got[i] != w {
			t.Fatalf("top %v, want %v", got, want)
		}
	}
	if n := len(top([]float32{1, 2}, 0, 20)); n != 2 {
		t.Errorf("%d of 2 tokens", n)
	}
}

func TestParamsValidate(t *testing.T) {
	ok := Params{MaxTokens: 1, Temperature: 1}
	if err := ok.Validate(10); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(p *Params){
		"MaxTokens":        func(p *Params) { p.MaxTokens = 0 },
		"Temperature":      func(p *Params) { p.Temperature = math.NaN() },
		"negative T":       func(p *Params) { p.Temperature = -1 },
		"infinite T":       func(p *Params) { p.Temperature = math.Inf(1) },
		"TopK":             func(p *Params) { p.TopK = -1 },
		"TopP":             func(p *Params) { p.TopP = 1.5 },
		"TopP NaN":         func(p *Params) { p.TopP = math.NaN() },
		"PresencePenalty":  func(p *Params) { p.PresencePenalty = math.NaN() },
		"FrequencyPenalty": func(p *Params) { p.FrequencyPenalty = math.Inf(-1) },
		"LogitBias id":     func(p *Params) { p.LogitBias = map[int32]float32{10: 1} },
		"LogitBias":        func(p *Params) { p.LogitBias = map[int32]float32{1: float32(math.Inf(1))} },
		"Logprobs":         func(p *Params) { p.Logprobs = 21 },
		"Stop":             func(p *Params) { p.Stop = []string{"a", ""} },
	} {
		p := ok
		change(&p)
		if p.Validate(10) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Temperatures near zero and far from it stay finite.
func TestExtremeTemperatures(t *testing.T) {
	logits := []float32{1, 2, 1.5, -3e38, 3e38}
	for _, temp := range []float64{1e-308, 1e-30, 1e-5, 1e5, 1e300} {
		sum := 0.0
		for _, p := range Distribution(logits, Params{Temperature: temp}, nil) {
			sum += p
		}
		if !(math.Abs(sum-1) < 1e-9) {
			t.Errorf("temperature %g: the probabilities sum to %g", temp, sum)
		}
	}
}

// TestPick: each index comes as often as its probability says, wherever in the vocabulary it stands, and one of probability 0 never.
func TestPick(t *testing.T) {
	const n, draws = 3*pickBlock + 7, 200_000
	probs := make([]float32, n)
	at := map[int32]float64{0: .1, pickBlock - 1: .2, pickBlock: .05, 2*pickBlock + 3: .35, n - 2: .3}
	for i, p := range at {
		probs[i] = float32(p)
	}
	var s sampler
	if total := s.add(probs); math.Abs(total-1) > 1e-6 {
		t.Errorf("the probabilities sum to %g", total)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	counts := map[int32]int{}
	for range draws {
		counts[pick(s.sums, probs, rng)]++
	}
	for i, c := range counts {
		want := at[i] * draws
		if math.Abs(float64(c)-want) > 5*math.Sqrt(want) {
			t.Errorf("index %d was drawn %d times, expected %.0f", i, c, want)
		}
	}
	if len(counts) != len(at) {
		t.Errorf("drawn were %d indices of %d", len(counts), len(at))
	}
	// One number of the generator for each draw, whatever the probabilities.
	a, b := rand.New(rand.NewPCG(3, 4)), rand.New(rand.NewPCG(3, 4))
	pick(s.sums, probs, a)
	b.Float64()
	if a.Uint64() != b.Uint64() {
		t.Error("a draw took more or less than one number")
	}
}
