package labeling

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestReferenceStats holds the statistics against values that NumPy, SciPy and
// scikit-learn gave in float64. Every file of the folder must be understood.
func TestReferenceStats(t *testing.T) {
	root := os.Getenv("RANKLOOP_FIXTURES")
	if root == "" {
		root = "../model/testdata/fixtures"
	}
	files, err := filepath.Glob(filepath.Join(root, "numerics/stats/*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no reference values in %s: %v", root, err)
	}
	known := map[string]func(*testing.T, []byte){
		"krippendorff.json": refKrippendorff, "cohen.json": refCohen, "fleiss.json": refFleiss, "kendall_tau.json": refTau,
		"kendall_w.json": refW, "bradley_terry.json": refBradleyTerry, "elo.json": refElo, "pandalm_agreement.json": refPandaLM,
	}
	for _, f := range files {
		check := known[filepath.Base(f)]
		if check == nil {
			t.Errorf("%s is not understood", f)
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) { check(t, text) })
	}
}

func decode[T any](t *testing.T, text []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// near compares with a reference that is null where the statistic is undefined.
func near(t *testing.T, what string, got float64, ok bool, want *float64, tolerance float64) {
	t.Helper()
	if ok != (want != nil) || ok && !(math.Abs(got-*want) <= tolerance) {
		if want == nil {
			t.Errorf("%s: %v, want undefined", what, got)
		} else {
			t.Errorf("%s: %v (%v), want %v", what, got, ok, *want)
		}
	}
}

func each(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		near(t, what, got[i], true, &want[i], tolerance)
	}
}

func refKrippendorff(t *testing.T, text []byte) {
	for _, c := range decode[[]struct {
		Name  string
		Table [][]*int
		Alpha struct{ Nominal, Ordinal, Interval *float64 }
	}](t, text) {
		var u Units
		for unit := range c.Table[0] {
			var values []int
			for _, rater := range c.Table {
				if rater[unit] != nil {
					values = append(values, *rater[unit])
				}
			}
			u.Add(values)
		}
		for level, want := range map[Level]*float64{Nominal: c.Alpha.Nominal, Ordinal: c.Alpha.Ordinal, Interval: c.Alpha.Interval} {
			got, ok := u.Alpha(level)
			near(t, c.Name, got, ok, want, 1e-12)
		}
	}
}

func refCohen(t *testing.T, text []byte) {
	for _, c := range decode[[]struct {
		Name  string
		A, B  []int
		Kappa struct{ Unweighted, Linear, Quadratic *float64 }
	}](t, text) {
		for w, want := range map[Weighting]*float64{Unweighted: c.Kappa.Unweighted, Linear: c.Kappa.Linear, Quadratic: c.Kappa.Quadratic} {
			got, ok := Cohen(c.A, c.B, w)
			near(t, c.Name, got, ok, want, 1e-12)
		}
	}
}

func refFleiss(t *testing.T, text []byte) {
	for _, c := range decode[[]struct {
		Name   string
		Counts [][]int
		Kappa  *float64
	}](t, text) {
		got, ok := Fleiss(c.Counts)
		near(t, c.Name, got, ok, c.Kappa, 1e-12)
	}
}

func refTau(t *testing.T, text []byte) {
	for _, c := range decode[[]struct {
		Name                   string
		X, Y                   []int
		Spearman               *float64
		Concordant, Discordant int
		TiesX                  int      `json:"ties_x"`
		TiesY                  int      `json:"ties_y"`
		TauA                   *float64 `json:"tau_a"`
		TauB                   *float64 `json:"tau_b"`
	}](t, text) {
		n := Concordance(c.X, c.Y)
		if n.Concordant != c.Concordant || n.Discordant != c.Discordant || n.TiesX != c.TiesX || n.TiesY != c.TiesY {
			t.Errorf("%s: %+v, want %+v", c.Name, n, c)
		}
		got, ok := n.TauA()
		near(t, c.Name+" tau-a", got, ok, c.TauA, 1e-12)
		got, ok = n.TauB()
		near(t, c.Name+" tau-b", got, ok, c.TauB, 1e-12)
		got, ok = Spearman(c.X, c.Y)
		near(t, c.Name+" spearman", got, ok, c.Spearman, 1e-12)
	}
}

func refW(t *testing.T, text []byte) {
	for _, c := range decode[[]struct {
		Name  string
		Ranks [][]int
		W     *float64
	}](t, text) {
		got, ok := KendallW(c.Ranks)
		near(t, c.Name, got, ok, c.W, 1e-12)
	}
}

func refBradleyTerry(t *testing.T, text []byte) {
	for _, c := range decode[[]struct {
		Name     string
		Wins     [][]float64
		Strength []float64 `json:"log_strength_mean0"`
		NLL      float64
		L2       []float64 `json:"log_strength_l2_1"`
		Elo      []float64 `json:"elo_scale"`
	}](t, text) {
		b, nll, ok := BradleyTerry(c.Wins, 0)
		near(t, c.Name+" nll", nll, ok, &c.NLL, 1e-9)
		each(t, c.Name, b, c.Strength, 1e-9)
		for i := range b {
			near(t, c.Name+" elo scale", EloScale(b[i]), true, &c.Elo[i], 1e-6)
		}
		b, _, ok = BradleyTerry(c.Wins, 1)
		if each(t, c.Name+" l2", b, c.L2, 1e-9); !ok {
			t.Errorf("%s: the fit with a penalty did not converge", c.Name)
		}
	}
}

func refElo(t *testing.T, text []byte) {
	for _, c := range decode[[]struct {
		Name           string
		Players        int `json:"n_players"`
		K, Init, Scale float64
		Games          [][3]float64
		Final          []float64
		AfterEach      [][]float64 `json:"after_each"`
	}](t, text) {
		e := NewElo(c.Players, c.K, c.Init, c.Scale)
		for i, g := range c.Games {
			e.Play(int(g[0]), int(g[1]), g[2])
			if i < len(c.AfterEach) {
				each(t, c.Name, e.Ratings, c.AfterEach[i], 1e-9)
			}
		}
		each(t, c.Name, e.Ratings, c.Final, 1e-9)
	}
}

// refPandaLM computes everything on the three human labels that each of PandaLM's 813
// test pairs has (WeOpenML/PandaLM, Apache-2.0; testdata holds the labels alone:
// models, then 0 = tie, 1 = first better, 2 = second better by each annotator).
func refPandaLM(t *testing.T, text []byte) {
	want := decode[struct {
		Rows      int
		Counts    map[string]int `json:"label_counts"`
		Unanimous int
		Pairwise  map[string]struct{ Agreement, Kappa float64 }
		Fleiss    float64
		Alpha     float64 `json:"krippendorff_nominal"`
		BT        struct {
			Models   []string
			Wins     [][]float64
			Strength []float64 `json:"log_strength_mean0"`
			NLL      float64
		} `json:"bradley_terry"`
	}](t, text)
	f, err := os.Open("testdata/pandalm_labels.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != want.Rows {
		t.Fatalf("%d rows, want %d; %v", len(rows), want.Rows, err)
	}
	index := map[string]int{}
	for i, m := range want.BT.Models {
		index[m] = i
	}
	wins := make([][]float64, len(index))
	for i := range wins {
		wins[i] = make([]float64, len(index))
	}
	var labels [3][]int
	var counts [][]int
	var units Units
	unanimous := 0
	total := map[string]int{}
	for _, row := range rows {
		count, unit := make([]int, 3), make([]int, 3)
		for i := range unit {
			if unit[i], err = strconv.Atoi(row[i+1]); err != nil {
				t.Fatal(err)
			}
			labels[i] = append(labels[i], unit[i])
			count[unit[i]]++
			total[row[i+1]]++
		}
		counts = append(counts, count)
		units.Add(unit)
		if unit[0] == unit[1] && unit[1] == unit[2] {
			unanimous++
		}
		a, b, _ := strings.Cut(row[0], "_")
		i, j := index[a], index[b]
		switch {
		case count[1] >= 2:
			wins[i][j]++
		case count[2] >= 2:
			wins[j][i]++
		default:
			wins[i][j] += 0.5
			wins[j][i] += 0.5
		}
	}
	if unanimous != want.Unanimous {
		t.Errorf("%d unanimous, want %d", unanimous, want.Unanimous)
	}
	for l, n := range want.Counts {
		if total[l] != n {
			t.Errorf("label %s is given %d times, want %d", l, total[l], n)
		}
	}
	for pair, w := range want.Pairwise {
		x, y := labels[pair[0]-'1'], labels[pair[2]-'1']
		got, ok := Cohen(x, y, Unweighted)
		near(t, pair+" kappa", got, ok, &w.Kappa, 1e-12)
		same := 0.0
		for i := range x {
			if x[i] == y[i] {
				same += 1 / float64(len(x))
			}
		}
		near(t, pair+" agreement", same, true, &w.Agreement, 1e-12)
	}
	got, ok := Fleiss(counts)
	near(t, "fleiss", got, ok, &want.Fleiss, 1e-12)
	got, ok = units.Alpha(Nominal)
	near(t, "krippendorff", got, ok, &want.Alpha, 1e-12)
	for i := range wins {
		each(t, "wins", wins[i], want.BT.Wins[i], 0)
	}
	b, nll, ok := BradleyTerry(wins, 0)
	near(t, "nll", nll, ok, &want.BT.NLL, 1e-9)
	each(t, "bradley-terry", b, want.BT.Strength, 1e-9)
}

// A player who lost everything has no finite strength without a penalty, and has one
// with it.
func TestBradleyTerryUndefined(t *testing.T) {
	wins := [][]float64{{0, 5}, {0, 0}}
	if b, _, ok := BradleyTerry(wins, 0); ok && math.Abs(b[0]) < 10 {
		t.Errorf("strengths %v of somebody who never lost", b)
	}
	if b, _, ok := BradleyTerry(wins, 1); !ok || b[0] <= 0 || b[0] > 5 {
		t.Errorf("strengths %v with a penalty, converged %v", b, ok)
	}
}

func TestWilson(t *testing.T) {
	// Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
	for _, c := range []struct{ r, n, low, high float64 }{{81, 263, .2553, .3662}, {15, 148, .0624, .1605}, {0, 20, 0, .1611}, {1, 29, .0061, .1718}} {
		low, high := Wilson(c.r/c.n, c.n)
		if math.Abs(low-c.low) > 6e-5 || math.Abs(high-c.high) > 6e-5 {
			t.Errorf("%v of %v: %.4f to %.4f, want %.4f to %.4f", c.r, c.n, low, high, c.low, c.high)
		}
	}
}

// The interval covers the truth about as often as it says where trials of a cluster go
// together; the same interval without the correction does not.
func TestClusterProportionCovers(t *testing.T) {
	const runs, clusters, size = 1000, 60, 12
	rng := rand.New(rand.NewPCG(3, 4))
	covered, naive := 0, 0
	for range runs {
		hits, trials := make([]float64, clusters), make([]float64, clusters)
		for i := range hits {
			p := 0.5
			if rng.Float64() < 0.5 {
				p = 0.9
			}
			for range size {
				if rng.Float64() < p {
					hits[i]++
				}
			}
			trials[i] = size
		}
		p, low, high := ClusterProportion(hits, trials)
		if low <= 0.7 && 0.7 <= high {
			covered++
		}
		if low, high = Wilson(p, clusters*size); low <= 0.7 && 0.7 <= high {
			naive++
		}
	}
	if covered < 920 || covered > 980 || naive > 850 {
		t.Errorf("the truth is covered in %d of %d runs (want about 950), without the correction in %d", covered, runs, naive)
	}
	for _, c := range []struct {
		hits, trials   []float64
		p, below, high float64
	}{{nil, nil, 0, 0.01, 1}, {[]float64{3}, []float64{4}, .75, 0.01, 1}, {[]float64{2, 2, 2}, []float64{2, 2, 2}, 1, 0.5, 1}} {
		if p, low, high := ClusterProportion(c.hits, c.trials); p != c.p || low > c.below || high != c.high {
			t.Errorf("%v of %v: %v in %v..%v", c.hits, c.trials, p, low, high)
		}
	}
}
