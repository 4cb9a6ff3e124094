package reward

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// sized is a group whose answers have those lengths.
func sized(split string, labelers []string, lengths []int, ranks ...[]int) Group {
	g := Group{PromptID: strings.Join(labelers, "") + split, Split: split, Rankings: ranks, Labelers: labelers}
	for _, n := range lengths {
		g.Sequences = append(g.Sequences, model.Sequence{IDs: make([]int32, 2+n), Start: 2})
	}
	return g
}

// TestAnalyse is small enough to count by hand.
func TestAnalyse(t *testing.T) {
	groups := []Group{
		sized("train", []string{"ann", "bob"}, []int{10, 5, 1}, []int{1, 2, 3}, []int{3, 2, 1}),
		sized("valid", []string{"ann"}, []int{20, 19}, []int{2, 1}),
	}
	groups[1].Strengths = []float64{4}
	a := AnalyseRewards([]float64{3, 1, 1, 0, 0.2}, groups)
	find := func(list []Slice, name string) Slice {
		t.Helper()
		for _, s := range list {
			if s.Name == name {
				return s
			}
		}
		t.Fatalf("no %q in %+v", name, list)
		return Slice{}
	}
	for _, c := range []struct {
		what string
		got  Slice
		want float64
		n    int
	}{
		{"train", find(a.Splits, "train"), 0.5, 6}, {"valid", find(a.Splits, "valid"), 1, 1},
		{"ann", find(a.Labelers, "ann"), 3.5 / 4, 4}, {"bob", find(a.Labelers, "bob"), 0.5 / 3, 3},
		{"margin 0", find(a.Confidence, "0 to 0.1"), 0.5, 2}, {"margin 0.2", find(a.Confidence, "0.1 to 0.25"), 1, 1}, {"margin 2", find(a.Confidence, "2 or more"), 0.5, 4},
		{"neighbours", find(a.Distance, "1"), 3.0 / 5, 5}, {"two apart", find(a.Distance, "2"), 0.5, 2},
		{"strength", find(a.Strength, "4"), 1, 1},
		{"longer wins", a.Length.LongerWins, 3.0 / 7, 7}, {"longer", a.Length.Longer, 2.5 / 3, 3}, {"shorter", a.Length.Shorter, (0 + 0.5 + 0 + 1) / 4, 4},
		{"alike", a.Length.Alike, 1, 1}, {"first wins", a.Position.FirstWins, 3.0 / 7, 7},
	} {
		if math.Abs(c.got.Accuracy-c.want) > 1e-12 || c.got.N != c.n || !(c.got.Low <= c.want && c.want <= c.got.High) {
			t.Errorf("%s: %+v, want %g of %d", c.what, c.got, c.want, c.n)
		}
	}
	if want := (2.5/3 + 1.5/4) / 2; math.Abs(a.Length.Balanced-want) > 1e-12 {
		t.Errorf("balanced %g, want %g", a.Length.Balanced, want)
	}
	// rewards less their mean: 4/3 -2/3 -2/3 | -.1 .1; lengths: 14/3 -1/3 -13/3 | .5 -.5
	if want := (56.0/9 + 2.0/9 + 26.0/9 - 0.1) / math.Sqrt((24.0/9+0.02)*(366.0/9+0.5)); math.Abs(a.Length.Correlation-want) > 1e-12 {
		t.Errorf("correlation %g, want %g", a.Length.Correlation, want)
	}
	if want := (2.5 + 2.5 + 0) / 7; math.Abs(a.Position.ModelFirst-want) > 1e-12 {
		t.Errorf("the model prefers the first in %g, want %g", a.Position.ModelFirst, want)
	}
	if a.Accuracy != 4.0/7 || a.AgreementN != 3 || a.Agreement != 0 {
		t.Errorf("report %+v", a.Report)
	}
	if e := AnalyseRewards(nil, nil); e.N != 0 || e.Length.LongerWins.N != 0 {
		t.Errorf("analysis of nothing: %+v", e)
	}
}

// TestLengthJudge: a judge of length alone has one half when lengths are balanced, whatever its accuracy.
func TestLengthJudge(t *testing.T) {
	var groups []Group
	var rewards []float64
	for i := range 40 {
		ranks := []int{1, 2}
		if i%4 == 0 {
			ranks = []int{2, 1}
		}
		g := sized("valid", []string{"x"}, []int{9, 3}, ranks)
		g.PromptID = string(rune('A' + i))
		groups, rewards = append(groups, g), append(rewards, 0.9, 0.3)
	}
	a := AnalyseRewards(rewards, groups)
	if a.Accuracy != 0.75 || a.Length.LongerWins.Accuracy != 0.75 || a.Length.Balanced != 0.5 || math.Abs(a.Length.Correlation-1) > 1e-12 {
		t.Errorf("accuracy %g, longer wins %g, balanced %g, correlation %g", a.Accuracy, a.Length.LongerWins.Accuracy, a.Length.Balanced, a.Length.Correlation)
	}
}

// TestPage: the page is well-formed, holds the figures, and a labeler's name is text.
func TestPage(t *testing.T) {
	g := sized("valid", []string{"<b>ann</b>"}, []int{3, 4, 5}, []int{1, 2, 3})
	a := AnalyseRewards([]float64{2, 1, 3}, []Group{g})
	page := a.HTML("reward & <data>")
	d := xml.NewDecoder(strings.NewReader(page[strings.Index(page, "<body>"):strings.Index(page, "</html>")]))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"&lt;b&gt;ann", "reward &amp; &lt;data&gt;", "33.3%", "<svg", "calibration"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<b>") || strings.Contains(page, "NaN") {
		t.Error("a name became markup, or a figure is none")
	}
	var table strings.Builder
	if err := a.WriteTable(&table); err != nil || !strings.Contains(table.String(), "33.3%") {
		t.Errorf("%v %s", err, table.String())
	}
}

func TestStale(t *testing.T) {
	for _, c := range []struct {
		r    Report
		want bool
	}{{Report{}, false}, {Report{N: 90, Accuracy: 0.5, High: 0.58}, true}, {Report{N: 90, Accuracy: 0.58, High: 0.65}, false}} {
		if c.r.Stale(0.6) != c.want {
			t.Errorf("%+v: %v", c.r, !c.want)
		}
	}
}

// withLabelers names labelers; those in contrary turn every ranking round.
func withLabelers(groups []Group, names []string, contrary ...string) []Group {
	for i := range groups {
		g := &groups[i]
		for j := range g.Rankings {
			name := names[(i+j)%len(names)]
			g.Labelers = append(g.Labelers, name)
			if slices.Contains(contrary, name) {
				for k, r := range g.Rankings[j] {
					g.Rankings[j][k] = 5 - r
				}
			}
		}
	}
	return groups
}

// TestCrossValidate: the labeler who prefers the opposite of everybody else is the one whose rankings nobody predicts; he is
// left out of training in his own fold and in no other.
func TestCrossValidate(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	train := withLabelers(testGroups(1, 120, 4, 2, 0), names, "c")
	valid := withLabelers(testGroups(2, 80, 4, 2, 0), names, "c")
	cfg := testConfig()
	cfg.Epochs = 2
	shown := 0
	cv, err := CrossValidate(context.Background(), cfg, testModel(t, 1), train, valid, testReference(), 4, func(int, int, int, map[string]float64) { shown++ })
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range cv.Folds {
		all = append(all, f.Labelers...)
		contrary := slices.Contains(f.Labelers, "c")
		if contrary && f.Left.Accuracy > 0.3 || !contrary && f.Left.Accuracy < 0.7 {
			t.Errorf("left out %v: accuracy %.3f", f.Labelers, f.Left.Accuracy)
		}
		if contrary && f.Others.Accuracy < 0.75 {
			t.Errorf("without %v the others are predicted with %.3f", f.Labelers, f.Others.Accuracy)
		}
		if f.Left.N+f.Others.N < 600 {
			t.Errorf("%d and %d pairs", f.Left.N, f.Others.N)
		}
	}
	slices.Sort(all)
	if !slices.Equal(all, names) || shown == 0 {
		t.Errorf("folds of %v, progress shown %d times", all, shown)
	}
	if len(cv.Folds) != 4 || !(cv.Left.Mean < cv.Others.Mean) || cv.Left.Error <= 0 {
		t.Errorf("left %+v, others %+v", cv.Left, cv.Others)
	}
	for name, f := range map[string]func() error{
		"folds": func() error {
			_, err := CrossValidate(context.Background(), cfg, testModel(t, 1), train, valid, testReference(), 5, nil)
			return err
		},
		"labelers": func() error {
			_, err := CrossValidate(context.Background(), cfg, testModel(t, 1), testGroups(1, 9, 4, 1, 0), valid, testReference(), 2, nil)
			return err
		},
	} {
		var e *InvalidError
		if err := f(); !errors.As(err, &e) || e.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLeftOutTeachNothing: however those who are left out rank the prompts of training, what is found of their fold is the same.
func TestLeftOutTeachNothing(t *testing.T) {
	names := []string{"a", "b", "c"}
	valid := withLabelers(testGroups(2, 40, 4, 2, 0), names)
	cfg := testConfig()
	cfg.Epochs = 1
	var folds []Fold
	for _, contrary := range []string{"", "c"} {
		train := withLabelers(testGroups(1, 40, 4, 2, 0), names, contrary)
		cv, err := CrossValidate(context.Background(), cfg, testModel(t, 1), train, valid, testReference(), 3, nil)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(cv.Folds, func(f Fold) bool { return slices.Contains(f.Labelers, "c") })
		folds = append(folds, cv.Folds[at])
		if other := cv.Folds[(at+1)%3]; len(folds) == 2 && other.Left.Loss == folds[0].Left.Loss {
			t.Error("c turned every ranking round, and no other fold noticed")
		}
	}
	if !reflect.DeepEqual(folds[0], folds[1]) {
		t.Errorf("c was left out, but what c ranked counts: %+v and %+v", folds[0].Left, folds[1].Left)
	}
}

// TestBagOfWords: a word that decides is learned, the result is a function of the arguments, and words that were never seen count
// for nothing.
func TestBagOfWords(t *testing.T) {
	var groups []Group
	var answers [][]string
	for i := range 60 {
		good, bad := "the cat is kind.", "the cat is rude."
		g := Group{Rankings: [][]int{{1, 2}}}
		if i%2 == 0 {
			good, bad, g.Rankings = bad, good, [][]int{{2, 1}}
		}
		groups, answers = append(groups, g), append(answers, []string{good, bad})
	}
	b := TrainBagOfWords(groups, answers, 3)
	if !(b.Score("a kind dog") > b.Score("a rude dog")) || b.Score("nothing known") != 0 {
		t.Errorf("kind %g, rude %g, unknown %g", b.Score("a kind dog"), b.Score("a rude dog"), b.Score("nothing known"))
	}
	if again := TrainBagOfWords(groups, answers, 3); !reflect.DeepEqual(again, b) {
		t.Error("twice the same gives two results")
	}
	if got := split("Don't go,\nplease"); !slices.Equal(got, []string{"don't", "go", ",", "\n", "please"}) {
		t.Errorf("%q", got)
	}
}
