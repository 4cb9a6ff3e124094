package ppo

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// fixtures is the folder of reference numbers.
func fixtures(t testing.TB, parts ...string) string {
	root := os.Getenv("RANKLOOP_FIXTURES")
	if root == "" {
		root = filepath.Join("..", "model", "testdata", "fixtures")
	}
	return filepath.Join(append([]string{root, "numerics"}, parts...)...)
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// ragged takes the entries whose mask is 1: the fixtures pad and mask, the package does neither.
func ragged(rows [][]float64, mask [][]int) [][]float64 {
	out := make([][]float64, len(rows))
	for b := range rows {
		out[b] = []float64{}
		for t, m := range mask[b] {
			if m == 1 {
				out[b] = append(out[b], rows[b][t])
			}
		}
	}
	return out
}

type referenceCase struct {
	Name   string `json:"name"`
	Params struct {
		KLCoef    float64 `json:"kl_coef"`
		Gamma     float64 `json:"gamma"`
		Lambda    float64 `json:"lam"`
		Whiten    bool    `json:"whiten_rewards"`
		Clip      float64 `json:"cliprange"`
		ClipValue float64 `json:"cliprange_value"`
		ValueCoef float64 `json:"vf_coef"`
		Entropy   float64 `json:"ent_coef"`
	} `json:"params"`
	Mask       [][]int       `json:"mask"`
	Scores     []float64     `json:"scores"`
	Rollout    [][]float64   `json:"rollout_logprobs"`
	Ref        [][]float64   `json:"ref_logprobs"`
	Values     [][]float64   `json:"values"`
	New        [][]float64   `json:"new_logprobs"`
	NewValues  [][]float64   `json:"new_values"`
	Logits     [][][]float64 `json:"logits"`
	Actions    [][]int       `json:"actions"`
	EntropyPer [][]float64   `json:"entropy_per_token"`
	Expect     struct {
		KL            [][]float64   `json:"kl"`
		NonScore      [][]float64   `json:"non_score_reward"`
		Rewards       [][]float64   `json:"rewards"`
		RewardsUsed   [][]float64   `json:"rewards_used"`
		Raw           [][]float64   `json:"advantages_raw"`
		Returns       [][]float64   `json:"returns"`
		Advantages    [][]float64   `json:"advantages"`
		PolicyLoss    float64       `json:"policy_loss"`
		ValueLoss     float64       `json:"value_loss"`
		Total         float64       `json:"total_loss"`
		ObjectiveKL   float64       `json:"objective_kl"`
		MeanNonScore  float64       `json:"mean_non_score_reward"`
		GradNewValues [][]float64   `json:"grad_new_values"`
		GradNew       [][]float64   `json:"grad_new_logprobs"`
		GradLogits    [][][]float64 `json:"grad_logits"`
		ClipFrac      float64       `json:"clipfrac"`
		ValueClipFrac float64       `json:"vf_clipfrac"`
		ApproxKL      float64       `json:"approxkl"`
		K1            float64       `json:"kl_k1"`
		K3            float64       `json:"kl_k3"`
		RatioMean     float64       `json:"ratio_mean"`
		Entropy       float64       `json:"entropy"`
	} `json:"expect"`
}

const referenceTol = 1e-10

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= referenceTol*(1+math.Abs(want))) {
		t.Errorf("%s = %.15g, want %.15g", what, got, want)
	}
}

func nearRows(t *testing.T, what string, got, want [][]float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d rows, want %d", what, len(got), len(want))
	}
	for b := range want {
		if len(got[b]) != len(want[b]) {
			t.Fatalf("%s[%d] has %d entries, want %d", what, b, len(got[b]), len(want[b]))
		}
		for i := range want[b] {
			if !(math.Abs(got[b][i]-want[b][i]) <= referenceTol*(1+math.Abs(want[b][i]))) {
				t.Errorf("%s[%d][%d] = %.15g, want %.15g", what, b, i, got[b][i], want[b][i])
			}
		}
	}
}

func TestReferenceObjectives(t *testing.T) {
	var cases []referenceCase
	readJSON(t, fixtures(t, "ppo", "cases.json"), &cases)
	if len(cases) < 15 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			r := func(rows [][]float64) [][]float64 { return ragged(rows, c.Mask) }
			p, want := c.Params, c.Expect
			kl := KL(r(c.Rollout), r(c.Ref), KLK1)
			nonScore, rewards := TokenRewards(kl, make([]float64, len(c.Scores)), p.KLCoef), TokenRewards(kl, c.Scores, p.KLCoef)
			nearRows(t, "kl", kl, r(want.KL))
			nearRows(t, "non-score reward", nonScore, r(want.NonScore))
			nearRows(t, "rewards", rewards, r(want.Rewards))
			near(t, "objective KL", meanRowSum(kl), want.ObjectiveKL)
			near(t, "mean non-score reward", meanRowSum(nonScore), want.MeanNonScore)
			if p.Whiten {
				rewards = Whiten(rewards, false)
			}
			nearRows(t, "rewards used", rewards, r(want.RewardsUsed))
			values := r(c.Values)
			advantages, returns := GAE(rewards, values, p.Gamma, p.Lambda)
			nearRows(t, "raw advantages", advantages, r(want.Raw))
			nearRows(t, "returns", returns, r(want.Returns))
			advantages = Whiten(advantages, true)
			nearRows(t, "advantages", advantages, r(want.Advantages))

			loss, grad, s := PolicyLoss(r(c.New), r(c.Rollout), advantages, p.Clip)
			near(t, "policy loss", loss, want.PolicyLoss)
			near(t, "clipfrac", s.ClipFrac, want.ClipFrac)
			near(t, "approxkl", s.ApproxKL, want.ApproxKL)
			near(t, "kl k1", s.K1, want.K1)
			near(t, "kl k3", s.K3, want.K3)
			near(t, "ratio mean", s.RatioMean, want.RatioMean)
			far := 1.0
			for b, row := range r(c.New) {
				for i, x := range row {
					ratio := math.Exp(x - r(c.Rollout)[b][i])
					far = max(far, ratio, 1/ratio)
				}
			}
			near(t, "ratio max", s.RatioMax, far)
			vloss, vgrad, vs := ValueLoss(r(c.NewValues), values, returns, p.ClipValue)
			near(t, "value loss", vloss, want.ValueLoss)
			near(t, "value clipfrac", vs.ClipFrac, want.ValueClipFrac)
			for b := range vgrad {
				for i := range vgrad[b] {
					vgrad[b][i] *= p.ValueCoef
				}
			}
			nearRows(t, "gradient of the values", vgrad, r(want.GradNewValues))
			total := loss + p.ValueCoef*vloss
			if c.Logits == nil {
				nearRows(t, "gradient of the log-probabilities", grad, r(want.GradNew))
				near(t, "total loss", total, want.Total)
				return
			}
			h := r(c.EntropyPer)
			near(t, "entropy", mean(h), want.Entropy)
			eloss, hgrad := EntropyLoss(h, p.Entropy)
			near(t, "total loss", total+eloss, want.Total)
			nearLogits(t, c, grad, hgrad)
		})
	}
}

// nearLogits carries the gradients on to the logits, as a model does, and compares there.
func nearLogits(t *testing.T, c referenceCase, dlogp, dentropy [][]float64) {
	t.Helper()
	for b := range c.Logits {
		k := 0
		for i, logits := range c.Logits[b] {
			want := c.Expect.GradLogits[b][i]
			got := make([]float64, len(logits))
			if c.Mask[b][i] == 1 {
				top := math.Inf(-1)
				for _, x := range logits {
					top = math.Max(top, x)
				}
				z := 0.0
				for _, x := range logits {
					z += math.Exp(x - top)
				}
				h := 0.0
				lp := make([]float64, len(logits))
				for v, x := range logits {
					lp[v] = x - top - math.Log(z)
					h -= math.Exp(lp[v]) * lp[v]
				}
				for v := range logits {
					p := math.Exp(lp[v])
					got[v] = -dlogp[b][k]*p - dentropy[b][k]*p*(lp[v]+h)
				}
				got[c.Actions[b][i]] += dlogp[b][k]
				k++
			}
			for v := range want {
				near(t, "gradient of a logit", got[v], want[v])
			}
		}
	}
}

func TestReferenceWhiten(t *testing.T) {
	var cases []struct {
		X    [][]float64 `json:"x"`
		Mask [][]int     `json:"mask"`
		Zero [][]float64 `json:"whiten"`
		Keep [][]float64 `json:"whiten_keep_mean"`
	}
	readJSON(t, fixtures(t, "ppo", "whiten.json"), &cases)
	for _, c := range cases {
		x := ragged(c.X, c.Mask)
		nearRows(t, "whiten", Whiten(x, true), ragged(c.Zero, c.Mask))
		nearRows(t, "whiten with the mean kept", Whiten(x, false), ragged(c.Keep, c.Mask))
	}
}

func TestReferenceKLControllers(t *testing.T) {
	var cases []struct {
		Name, Kind            string
		Init, Target, Horizon float64
		Updates               []struct {
			KL    float64 `json:"current_kl"`
			N     int     `json:"n_steps"`
			After float64 `json:"value_after"`
		}
	}
	readJSON(t, fixtures(t, "ppo", "kl_controllers.json"), &cases)
	for _, c := range cases {
		var k KLController
		switch c.Kind {
		case "fixed":
			k = &FixedKL{c.Init}
		case "adaptive":
			k = &AdaptiveKL{c.Init, c.Target, c.Horizon}
		default:
			t.Fatalf("%s: unknown kind %q", c.Name, c.Kind)
		}
		for i, u := range c.Updates {
			k.Update(u.KL, u.N)
			if math.Abs(k.Coef()-u.After) > 1e-14 {
				t.Errorf("%s: update %d gives %.17g, want %.17g", c.Name, i, k.Coef(), u.After)
			}
		}
	}
}

// random makes a batch of rows with the given lengths.
func random(rng *rand.Rand, lengths []int, scale float64) [][]float64 {
	rows := make([][]float64, len(lengths))
	for b, n := range lengths {
		rows[b] = make([]float64, n)
		for t := range rows[b] {
			rows[b][t] = scale * rng.NormFloat64()
		}
	}
	return rows
}

// TestGradients compares every gradient with central differences, off the kinks of the clips (a kink has no derivative).
func TestGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	lengths := []int{7, 1, 4, 0, 9}
	add := func(a, b [][]float64) [][]float64 {
		out := like(a)
		for i := range a {
			for j := range a[i] {
				out[i][j] = a[i][j] + b[i][j]
			}
		}
		return out
	}
	old, adv := random(rng, lengths, 1), random(rng, lengths, 1)
	now := add(old, random(rng, lengths, 0.3))
	for _, o := range []struct {
		name string
		at   [][]float64
		f    func(x [][]float64) (float64, [][]float64)
	}{
		{"policy", now, func(x [][]float64) (float64, [][]float64) { l, g, _ := PolicyLoss(x, old, adv, 0.2); return l, g }},
		{"value", now, func(x [][]float64) (float64, [][]float64) { l, g, _ := ValueLoss(x, old, adv, 0.2); return l, g }},
		{"entropy", now, func(x [][]float64) (float64, [][]float64) { return EntropyLoss(x, 0.3) }},
		{"ptx", now, PtxLoss},
	} {
		_, grad := o.f(o.at)
		const h = 1e-6
		for b := range o.at {
			for i := range o.at[b] {
				at := o.at[b][i]
				o.at[b][i] = at + h
				up, _ := o.f(o.at)
				o.at[b][i] = at - h
				down, _ := o.f(o.at)
				o.at[b][i] = at
				want := (up - down) / (2 * h)
				if math.Abs(grad[b][i]-want) > 1e-6*(math.Abs(want)+1e-3) {
					t.Errorf("%s: gradient [%d][%d] = %g, differences say %g", o.name, b, i, grad[b][i], want)
				}
			}
		}
	}
}

// TestClipsBind is what a gradient check cannot see: which side of each clip holds. With min and max swapped every gradient
// still equals its differences, and the loss no longer bounds the step.
func TestClipsBind(t *testing.T) {
	one := func(x float64) [][]float64 { return [][]float64{{x}} }
	for _, c := range []struct {
		d, a  float64 // log ratio, advantage
		loss  float64
		moves bool
	}{
		{math.Log(1.5), 1, -1.2, false}, // already likelier than allowed: no reward for more
		{math.Log(1.5), -1, 1.5, true},  // likelier though bad: pushed back
		{math.Log(0.5), 1, -0.5, true},  // less likely though good: pulled back
		{math.Log(0.5), -1, 0.8, false}, // already rarer than allowed
		{math.Log(1.1), 1, -1.1, true},
	} {
		loss, g, s := PolicyLoss(one(c.d), one(0), one(c.a), 0.2)
		if math.Abs(loss-c.loss) > 1e-12 || (g[0][0] != 0) != c.moves || (s.ClipFrac == 1) == c.moves {
			t.Errorf("ratio %.1f, advantage %g: loss %g gradient %g clipfrac %g", math.Exp(c.d), c.a, loss, g[0][0], s.ClipFrac)
		}
	}
	for _, c := range []struct {
		v, ret, loss float64 // the old value is 0
		moves        bool
	}{
		{0.5, 1, 0.32, false}, // moved towards the return by more than the clip: no more gain
		{-0.5, 1, 1.125, true},
		{0.1, 1, 0.405, true},
	} {
		loss, g, _ := ValueLoss(one(c.v), one(0), one(c.ret), 0.2)
		if math.Abs(loss-c.loss) > 1e-12 || (g[0][0] != 0) != c.moves {
			t.Errorf("value %g, return %g: loss %g gradient %g", c.v, c.ret, loss, g[0][0])
		}
	}
}

func TestEmptyRows(t *testing.T) {
	empty := [][]float64{{}, {}}
	if l, g, s := PolicyLoss(empty, empty, empty, 0.2); l != 0 || len(g) != 2 || s.Tokens != 0 {
		t.Error("policy loss of nothing")
	}
	if l, _, _ := ValueLoss(empty, empty, empty, 0.2); l != 0 {
		t.Error("value loss of nothing")
	}
	kl := KL(empty, empty, KLK3)
	r := TokenRewards(kl, []float64{1, 2}, 0.1)
	if meanRowSum(kl) != 0 || meanRowSum(r) != 0 || meanRowSum(nil) != 0 {
		t.Error("rewards of nothing")
	}
	if got := ExplainedVariance(empty, empty); got != 0 {
		t.Errorf("explained variance of nothing = %g", got)
	}
}

func TestExplainedVariance(t *testing.T) {
	ret := [][]float64{{1, 2, 3}, {4}}
	if got := ExplainedVariance(ret, ret); got != 1 {
		t.Errorf("a perfect critic explains %g", got)
	}
	if got := ExplainedVariance([][]float64{{7, 7, 7}, {7}}, ret); got != 0 {
		t.Errorf("a constant explains %g", got)
	}
}
