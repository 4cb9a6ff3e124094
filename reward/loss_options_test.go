package reward

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestGoldenLossOptions compares with numbers that PyTorch computed in float64 from the plain formulas; testdata/_gen makes them.
func TestGoldenLossOptions(t *testing.T) {
	var cases []struct {
		Options            Loss
		Rewards            []float64
		Rankings           [][]int
		Strengths, Weights []float64
		Loss               float64
		Grad               []float64
	}
	readJSON(t, "testdata/loss_options.json", &cases)
	seen := map[Loss]bool{}
	for i, c := range cases {
		if err := c.Options.validate(); err != nil {
			t.Fatal(err)
		}
		seen[c.Options] = true
		g := Group{Rankings: c.Rankings, Strengths: c.Strengths, Weights: c.Weights}
		loss, grad, _, _ := c.Options.Group(c.Rewards, g)
		if math.Abs(loss-c.Loss) > 1e-12*(1+math.Abs(c.Loss)) {
			t.Errorf("case %d %+v: loss %.15g, want %.15g", i, c.Options, loss, c.Loss)
		}
		for k := range grad {
			if math.Abs(grad[k]-c.Grad[k]) > 1e-12 {
				t.Errorf("case %d %+v: gradient %d = %.15g, want %.15g", i, c.Options, k, grad[k], c.Grad[k])
			}
		}
	}
	if len(seen) != 13 {
		t.Errorf("%d settings of the options", len(seen))
	}
}

// everyLoss is each option by itself and those that go together.
func everyLoss() []Loss {
	return []Loss{
		{}, {Ties: TiesRaoKupper, Tie: 0.3}, {Ties: TiesDavidson, Tie: 1.2},
		{Margin: MarginConstant, MarginSize: 0.4}, {Margin: MarginRank, MarginSize: 2}, {Margin: MarginStrength, MarginSize: 1},
		{Noise: NoiseConservative, Flip: 0.2}, {Noise: NoiseMixture, Flip: 0.25},
		{Ties: TiesRaoKupper, Tie: 0.3, Noise: NoiseMixture, Flip: 0.1}, {Ties: TiesDavidson, Tie: 1.2, Noise: NoiseConservative, Flip: 0.1},
	}
}

// TestLossGradient is central differences, for every option and number of answers.
func TestLossGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, l := range everyLoss() {
		for k := 2; k <= 9; k++ {
			g := Group{Strengths: []float64{4, 2, 1}, Weights: []float64{0.5, 3, 1}, Rankings: [][]int{make([]int, k), make([]int, k), make([]int, k)}}
			rewards := make([]float64, k)
			for i := range rewards {
				rewards[i] = 2 * rng.NormFloat64()
				g.Rankings[0][i], g.Rankings[1][i], g.Rankings[2][i] = 1+rng.IntN(k), 1+rng.IntN(k), 1
			}
			_, grad, _, n := l.Group(rewards, g)
			if all := 3 * k * (k - 1) / 2; l.Ties != "" && n.Pairs != all || l.Ties == "" && n.Pairs != n.Decided {
				t.Fatalf("%+v, K=%d: %d pairs, %d decided", l, k, n.Pairs, n.Decided)
			}
			for i := range rewards {
				const h = 1e-5
				at := rewards[i]
				rewards[i] = at + h
				up, _, _, _ := l.Group(rewards, g)
				rewards[i] = at - h
				down, _, _, _ := l.Group(rewards, g)
				rewards[i] = at
				want := (up - down) / (2 * h)
				if math.Abs(grad[i]-want) > 1e-6*(math.Abs(want)+1e-3) {
					t.Errorf("%+v, K=%d: gradient %d = %g, differences say %g", l, k, i, grad[i], want)
				}
			}
		}
	}
}

// TestLossFar: rewards that are far apart overflow nothing, and the probabilities of win, loss and tie sum to one.
func TestLossFar(t *testing.T) {
	for _, l := range everyLoss() {
		for _, d := range []float64{0, 1e-9, -3, 40, -800, 1e6, -1e6} {
			loss, grad := l.pair(d, false, 0)
			if !(loss >= 0) || math.IsInf(loss, 0) || !(math.Abs(grad) <= 1) {
				t.Errorf("%+v at %g: %g, %g", l, d, loss, grad)
			}
			if l.Ties == "" || math.Abs(d) > 40 || l.Noise != "" {
				continue
			}
			win, _ := l.pair(d, false, 0)
			lose, _ := l.pair(-d, false, 0)
			tie, _ := l.pair(d, true, 0)
			if sum := math.Exp(-win) + math.Exp(-lose) + math.Exp(-tie); math.Abs(sum-1) > 1e-12 {
				t.Errorf("%+v at %g: probabilities sum to %.15g", l, d, sum)
			}
		}
	}
}

// TestLossMeans says in words what each option is for.
func TestLossMeans(t *testing.T) {
	zero := func(l Loss, at float64) float64 { _, g := l.pair(at, false, 0); return g }
	// Softened labels stop pulling where the model is as sure as the labels are; a mixture forgives what is plainly wrong.
	if g := zero(Loss{Noise: NoiseConservative, Flip: 0.2}, math.Log(0.8/0.2)); math.Abs(g) > 1e-12 {
		t.Errorf("conservative: gradient %g where the model says 0.8", g)
	}
	if far, near := zero(Loss{Noise: NoiseMixture, Flip: 0.2}, -12), zero(Loss{Noise: NoiseMixture, Flip: 0.2}, 0); !(far < 0 && near < far/100) {
		t.Errorf("mixture: gradient %g at a plain contradiction, %g at a tie", far, near)
	}
	// A tie draws rewards together, and t of equals are tied at the parameter that the documentation gives.
	for _, l := range []Loss{{Ties: TiesRaoKupper, Tie: math.Log(1.3 / 0.7)}, {Ties: TiesDavidson, Tie: 2 * 0.3 / 0.7}} {
		if loss, g := l.pair(0, true, 0); math.Abs(math.Exp(-loss)-0.3) > 1e-12 || g != 0 {
			t.Errorf("%+v: equals are tied with %g, gradient %g", l, math.Exp(-loss), g)
		}
		if _, g := l.pair(2, true, 0); !(g > 0) {
			t.Errorf("%+v: a tie of rewards 2 apart has the gradient %g", l, g)
		}
	}
	// The margin grows with what it is made of.
	rank, strong := Loss{Margin: MarginRank, MarginSize: 2}, Loss{Margin: MarginStrength, MarginSize: 3}
	for _, c := range []struct{ got, want float64 }{
		{rank.margin(1, 5, 0), 0.5}, {rank.margin(4, 5, 0), 2}, {strong.margin(1, 2, 0), 0}, {strong.margin(1, 2, 1), 0}, {strong.margin(1, 2, 4), 3},
		{Loss{Margin: MarginConstant, MarginSize: 0.7}.margin(3, 4, 2), 0.7},
	} {
		if math.Abs(c.got-c.want) > 1e-12 {
			t.Errorf("margin %g, want %g", c.got, c.want)
		}
	}
}

// TestWeights: a weight of 3 is a ranking given three times, beside other rankings of the prompt and beside other prompts.
func TestWeights(t *testing.T) {
	groups := testGroups(6, 2, 4, 2, 1)
	same := func(name string, weighted, repeated []Group, scale float64) {
		t.Helper()
		a, b := testTrainer(t, testConfig()), testTrainer(t, testConfig())
		x, y := a.accumulate(weighted), b.accumulate(repeated)
		if math.Abs(x.loss*scale-y.loss) > 1e-9 {
			t.Errorf("%s: loss %g, want %g", name, x.loss*scale, y.loss)
		}
		for i, p := range a.m.Params() {
			for k := range p.Grad {
				if math.Abs(float64(p.Grad[k])*scale-float64(b.m.Params()[i].Grad[k])) > 1e-5 {
					t.Fatalf("%s: gradient of %s", name, p.Name)
				}
			}
		}
	}
	w := testGroups(6, 2, 4, 2, 1)[:1]
	w[0].Weights = []float64{3, 1}
	r := testGroups(6, 2, 4, 2, 1)[:1]
	r[0].Rankings = [][]int{r[0].Rankings[0], r[0].Rankings[0], r[0].Rankings[0], r[0].Rankings[1]}
	same("within a prompt", w, r, 0.5) // the mean weight is 2
	heavy := testGroups(6, 2, 4, 2, 1)
	heavy[0].Weights = []float64{3, 3}
	same("between prompts", heavy, []Group{groups[0], groups[0], groups[0], groups[1]}, 0.5)
}

func TestLossInvalid(t *testing.T) {
	for field, l := range map[string][]Loss{
		"loss.ties":        {{Ties: "keep"}},
		"loss.tie":         {{Tie: 1}, {Ties: TiesDrop, Tie: 1}, {Ties: TiesRaoKupper}, {Ties: TiesDavidson, Tie: -1}, {Ties: TiesDavidson, Tie: math.NaN()}},
		"loss.margin":      {{Margin: "wide", MarginSize: 1}, {Ties: TiesDavidson, Tie: 1, Margin: MarginRank, MarginSize: 1}},
		"loss.margin_size": {{MarginSize: 1}, {Margin: MarginRank}, {Margin: MarginConstant, MarginSize: math.Inf(1)}},
		"loss.noise":       {{Noise: "loud", Flip: 0.1}, {Margin: MarginRank, MarginSize: 1, Noise: NoiseMixture, Flip: 0.1}},
		"loss.flip":        {{Flip: 0.1}, {Noise: NoiseMixture}, {Noise: NoiseConservative, Flip: 0.5}},
	} {
		for _, l := range l {
			c := testConfig()
			c.Loss = l
			var e *InvalidError
			if err := c.Validate(); !errors.As(err, &e) || e.Field != field {
				t.Errorf("%+v: %v", l, err)
			}
		}
	}
	// Off, nothing of the options is in the stored configuration.
	text, err := json.Marshal(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"loss", "members", "combine", "lambda"} {
		if v, ok := fields[name]; ok {
			t.Errorf("%s is stored as %v where it is off", name, v)
		}
	}
}

// TestOptionsTrain trains with every option: rewards follow the ranks.
func TestOptionsTrain(t *testing.T) {
	for _, l := range everyLoss() {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			cfg := testConfig()
			cfg.Loss = l
			tr := testTrainer(t, cfg)
			run(t, tr)
			if rep, err := tr.Report(); err != nil || rep.Accuracy < 0.75 {
				t.Errorf("held-out accuracy %.3f (%v)", rep.Accuracy, err)
			}
		})
	}
}

// TestHeadMoments: the head is drawn with mean 0 and standard deviation 1/sqrt(d+1), each model's anew (Stiennon et al. 2020,
// where the paper prints the variance's root as the variance; the code says the root).
func TestHeadMoments(t *testing.T) {
	cfg := testConfig()
	cfg.Seeds = 256
	tr := testTrainer(t, cfg)
	var n, mean, sq float64
	for i := range cfg.Seeds {
		for _, w := range tr.Start(i).Param("score.weight").Data {
			n, mean, sq = n+1, mean+float64(w), sq+float64(w)*float64(w)
		}
	}
	width := float64(tr.start.Config().Width)
	want := 1 / math.Sqrt(width+1)
	mean /= n
	if std := math.Sqrt(sq/n - mean*mean); math.Abs(mean) > 4*want/math.Sqrt(n) || math.Abs(std-want) > 4*want/math.Sqrt(2*n) {
		t.Errorf("mean %g, standard deviation %g of %g weights; want 0 and %g", mean, std, n, want)
	}
}
