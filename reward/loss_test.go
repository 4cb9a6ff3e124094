package reward

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// fixtures is the folder of reference numbers.
func fixtures(parts ...string) string {
	root := os.Getenv("RANKLOOP_FIXTURES")
	if root == "" {
		root = filepath.Join("..", "model", "testdata", "fixtures")
	}
	return filepath.Join(append([]string{root, "numerics", "rm"}, parts...)...)
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

func TestReferenceRankingLoss(t *testing.T) {
	var cases []struct {
		Name     string
		Rankings []struct {
			Rewards     []float64
			Ranks       []int
			Pairs       [][2]int
			Loss        *float64
			Grad        []float64
			PairCorrect []int `json:"pair_correct"`
		}
		Loss     float64
		NPairs   int `json:"n_pairs"`
		Accuracy *float64
	}
	readJSON(t, fixtures("ranking_loss.json"), &cases)
	if len(cases) < 15 {
		t.Fatalf("only %d cases", len(cases))
	}
	near := func(t *testing.T, what string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) <= 1e-12*(1+math.Abs(want))) {
			t.Errorf("%s = %.17g, want %.17g", what, got, want)
		}
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			decided := 0
			for _, r := range c.Rankings {
				if r.Loss != nil {
					decided++
				}
			}
			var total float64
			var pairs, correct int
			for _, r := range c.Rankings {
				loss, grad, n, ok := RankingLoss(r.Rewards, r.Ranks)
				hits := 0
				for _, x := range r.PairCorrect {
					hits += x
				}
				if n != len(r.Pairs) || ok != hits {
					t.Errorf("%d pairs, %d right; want %d, %d", n, ok, len(r.Pairs), hits)
				}
				pairs, correct = pairs+n, correct+ok
				if r.Loss == nil {
					near(t, "loss of no pair", loss, 0)
				} else {
					near(t, "loss", loss, *r.Loss)
					total += loss / float64(decided)
				}
				for i := range grad {
					near(t, "gradient", grad[i]/float64(max(1, decided)), r.Grad[i])
				}
			}
			near(t, "batch loss", total, c.Loss)
			if pairs != c.NPairs {
				t.Errorf("%d pairs, want %d", pairs, c.NPairs)
			}
			if c.Accuracy != nil {
				near(t, "accuracy", float64(correct)/float64(pairs), *c.Accuracy)
			}
		})
	}
}

// TestBetterRanksScoreHigher is what a gradient check cannot see: the sign. A step against the gradient must raise the
// reward of the answer ranked first.
func TestBetterRanksScoreHigher(t *testing.T) {
	_, grad, _, _ := RankingLoss([]float64{0, 0, 0}, []int{2, 1, 3})
	if !(grad[1] < grad[0] && grad[0] < grad[2]) {
		t.Errorf("gradient %v does not follow the ranks 2, 1, 3", grad)
	}
	right, _, _, _ := RankingLoss([]float64{1, 2, 0}, []int{2, 1, 3})
	wrong, _, _, _ := RankingLoss([]float64{1, 0, 2}, []int{2, 1, 3})
	if right >= wrong {
		t.Errorf("loss %g where the order is right, %g where it is wrong", right, wrong)
	}
}
