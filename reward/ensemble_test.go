package reward

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/ppo"
)

var _ ppo.Scorer = (*Scorer)(nil)

func TestCombine(t *testing.T) {
	each := [][]float64{{1, 4}, {2, -2}, {3, 1}} // means 2 and 1, variances 2/3 and 6
	for _, c := range []struct {
		how  Combination
		want []float64
	}{
		{Combination{}, []float64{2, 1}},
		{Combination{Combine: CombineMean}, []float64{2, 1}},
		{Combination{Combine: CombineMin}, []float64{1, -2}},
		{Combination{Combine: CombineUWO, Lambda: 0.5}, []float64{2 - 1.0/3, 1 - 3}},
	} {
		got := c.how.combine(each)
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-12 {
				t.Errorf("%+v: %v, want %v", c.how, got, c.want)
			}
		}
	}
	for _, bad := range []Combination{{Combine: "median"}, {Lambda: 1}, {Combine: CombineMin, Lambda: 1}, {Combine: CombineUWO}, {Combine: CombineUWO, Lambda: math.Inf(1)}} {
		var e *InvalidError
		if err := bad.validate(); !errors.As(err, &e) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// ensembleConfig trains five models of a few steps, so that they differ, and keeps three.
func ensembleConfig(how Combination) Config {
	cfg := testConfig()
	cfg.Epochs, cfg.Steps, cfg.Seeds, cfg.Members, cfg.Combination = 0, 5, 5, 3, how
	return cfg
}

// TestEnsemble wants the best members, combined, with the references' mean at 0 whatever the combination.
func TestEnsemble(t *testing.T) {
	for _, how := range []Combination{{}, {Combine: CombineMin}, {Combine: CombineUWO, Lambda: 0.7}} {
		for _, scale := range []bool{false, true} {
			cfg := ensembleConfig(how)
			cfg.Scale = scale
			tr := testTrainer(t, cfg)
			var accuracies []float64
			for _, m := range run(t, tr) {
				if a, ok := m["heldout_accuracy"]; ok {
					accuracies = append(accuracies, a)
				}
			}
			if len(accuracies) != 5 {
				t.Fatalf("%d models were judged", len(accuracies))
			}
			for i, k := range tr.kept {
				better := 0
				for _, a := range accuracies {
					if a > k.Report.Accuracy {
						better++
					}
				}
				if better > i || accuracies[k.Member] != k.Report.Accuracy {
					t.Errorf("member %d is model %d with %.3f of %v", i, k.Member, k.Report.Accuracy, accuracies)
				}
			}
			s, err := tr.Scorer()
			if err != nil {
				t.Fatal(err)
			}
			scores, err := s.Score(context.Background(), testReference())
			if err != nil {
				t.Fatal(err)
			}
			mean, sq := 0.0, 0.0
			for _, x := range scores {
				mean += x / float64(len(scores))
				sq += x * x / float64(len(scores))
			}
			if s.Members() != 3 || math.Abs(mean) > 1e-9 || scale && math.Abs(sq-1) > 1e-9 {
				t.Errorf("%+v: %d members, references have mean %g and mean square %g", how, s.Members(), mean, sq)
			}
			rep, err := tr.Report()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Evaluate(context.Background(), s, tr.valid); err != nil || again.Accuracy != rep.Accuracy {
				t.Errorf("%+v: the report says %.4f, the scorer does %.4f (%v)", how, rep.Accuracy, again.Accuracy, err)
			}
		}
	}
}

// TestRecombine: an ensemble that is combined anew is the one that would have been trained so, and its members are what Each says.
func TestRecombine(t *testing.T) {
	ways := []Combination{{}, {Combine: CombineMin}, {Combine: CombineUWO, Lambda: 0.7}}
	var trained []*Scorer
	for _, how := range ways {
		cfg := ensembleConfig(how)
		cfg.Scale = true
		tr := testTrainer(t, cfg)
		run(t, tr)
		s, err := tr.Scorer()
		if err != nil {
			t.Fatal(err)
		}
		trained = append(trained, s)
	}
	for i, how := range ways {
		got, err := trained[(i+1)%len(ways)].Recombine(t.Context(), how, testReference(), true)
		if err != nil {
			t.Fatal(err)
		}
		if got.Digest() != trained[i].Digest() {
			t.Errorf("%+v: combined anew it is %s, trained so %s", how, got.Digest(), trained[i].Digest())
		}
	}
	each, err := trained[0].Each(t.Context(), testReference())
	if err != nil {
		t.Fatal(err)
	}
	for i := range each {
		got, err := trained[0].Member(i).Score(t.Context(), testReference())
		if err != nil || !slices.Equal(got, each[i]) {
			t.Errorf("member %d by itself gives other rewards (%v)", i, err)
		}
	}
	var wrong *InvalidError
	if _, err := trained[0].Member(0).Recombine(t.Context(), ways[1], testReference(), true); !errors.As(err, &wrong) || wrong.Field != "combine" {
		t.Errorf("one model is combined: %v", err)
	}
	if _, err := trained[0].Recombine(t.Context(), Combination{Combine: CombineUWO}, testReference(), true); !errors.As(err, &wrong) || wrong.Field != "lambda" {
		t.Errorf("without lambda: %v", err)
	}
	if _, err := trained[0].Recombine(t.Context(), ways[1], nil, true); !errors.As(err, &wrong) || wrong.Field != "reference" {
		t.Errorf("without reference answers: %v", err)
	}
}

// TestRoundTrip saves what was trained as a folder, loads it, exports it, and puts it into a blob store; rewards are the
// same to the bit, alone and in an ensemble, with and without a scale.
func TestRoundTrip(t *testing.T) {
	one := ensembleConfig(Combination{})
	one.Members = 1
	scaled := one
	scaled.Scale = true
	both := ensembleConfig(Combination{Combine: CombineUWO, Lambda: 0.3})
	both.Scale = true
	for name, cfg := range map[string]Config{"one": one, "scaled": scaled, "mean": ensembleConfig(Combination{}),
		"min": ensembleConfig(Combination{Combine: CombineMin}), "uwo scaled": both} {
		t.Run(name, func(t *testing.T) {
			tr := testTrainer(t, cfg)
			run(t, tr)
			s, err := tr.Scorer()
			if err != nil {
				t.Fatal(err)
			}
			want, err := s.Score(context.Background(), testReference())
			if err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			cp := &checkpoint.Checkpoint{Card: checkpoint.Card{Kind: "reward"}}
			s.Fill(cp)
			saved := filepath.Join(root, "saved")
			if err := cp.Save(saved, "F32"); err != nil {
				t.Fatal(err)
			}
			loaded, err := checkpoint.Load(saved)
			if err != nil {
				t.Fatal(err)
			}
			exported := filepath.Join(root, "exported")
			if err := loaded.Export(exported, checkpoint.Format{DType: "F32", MaxShard: 4096}); err != nil {
				t.Fatal(err)
			}
			blobs := checkpoint.Dir(filepath.Join(root, "blobs"))
			digest, err := blobs.Put(context.Background(), exported)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := blobs.Open(context.Background(), digest)
			if err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{saved, exported, stored} {
				cp, err := checkpoint.Load(dir)
				if err != nil {
					t.Fatal(err)
				}
				back, err := Open(cp)
				if err != nil {
					t.Fatal(err)
				}
				got, err := back.Score(context.Background(), testReference())
				if err != nil {
					t.Fatal(err)
				}
				if back.Digest() != s.Digest() || !reflect.DeepEqual(got, want) {
					t.Errorf("%s: other rewards", filepath.Base(dir))
				}
				packed, err := OpenPacked(cp, model.WeightsFloat32)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := packed.Score(context.Background(), testReference()); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s: other rewards from packed weights (%v)", filepath.Base(dir), err)
				}
			}
		})
	}
}

// TestOpenRefuses a folder that is no reward model, and one whose card asks for what is not known.
func TestOpenRefuses(t *testing.T) {
	reward := testModel(t, 1)
	reward.AddHead(model.HeadScore, 1)
	critic := testModel(t, 1)
	critic.AddHead(model.HeadValue, 1)
	two := func(combine string, second *model.Transformer) *checkpoint.Checkpoint {
		return &checkpoint.Checkpoint{Model: reward, Members: []*model.Transformer{second},
			Card: checkpoint.Card{Ensemble: &checkpoint.Ensemble{Combine: combine, Std: 1, Members: []Norm{{Std: 1}}}}}
	}
	for name, cp := range map[string]*checkpoint.Checkpoint{
		"no head": {Model: testModel(t, 1)}, "critic": {Model: critic}, "combination": two("median", reward), "member": two(CombineMin, critic),
	} {
		var e *InvalidError
		if _, err := Open(cp); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(two(CombineMin, reward)); err != nil {
		t.Error(err)
	}
}

// TestDisagreement compares with pairs taken one by one, wants no trace of a member's own zero, and 0 of one member.
func TestDisagreement(t *testing.T) {
	var members []member
	for i := range 3 {
		m := testModel(t, uint64(i+1))
		m.AddHead(model.HeadScore, uint64(i+10))
		members = append(members, member{m, Norm{Mean: float64(5 * i), Std: float64(i + 1)}})
	}
	s := newScorer(members, Combination{Combine: CombineMin}, Norm{Mean: 3, Std: 2})
	var answers [][]model.Sequence
	for i, g := range testGroups(4, 5, 4, 0, 0) {
		answers = append(answers, g.Sequences[:4-i%4]) // the fourth has one answer
	}
	got, err := s.Disagreement(context.Background(), answers)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		sum, n := 0.0, 0.0
		for x := range a {
			for y := range x {
				var d []float64
				mean := 0.0
				for _, m := range members {
					r := m.m.Score(a, model.WantScore).Score
					d = append(d, float64(r[x])-float64(r[y]))
					mean += d[len(d)-1] / 3
				}
				for _, v := range d {
					sum += (v - mean) * (v - mean) / 3
				}
				n++
			}
		}
		want := 0.0
		if n > 0 {
			want = sum / n
		}
		if math.Abs(got[i]-want) > 1e-6*(1+want) || (n > 0) != (got[i] > 0) {
			t.Errorf("prompt %d: %g, pair by pair %g", i, got[i], want)
		}
	}
	single, err := NewScorer(members[0].m, 0, 1).Disagreement(context.Background(), answers)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range single {
		if v != 0 {
			t.Errorf("one member disagrees with itself by %g", v)
		}
	}
	variance, err := s.Variance(context.Background(), answers[0])
	if err != nil {
		t.Fatal(err)
	}
	each, err := s.Each(context.Background(), answers[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range variance {
		mean := (each[0][i] + each[1][i] + each[2][i]) / 3
		want := 0.0
		for _, r := range each {
			want += (r[i] - mean) * (r[i] - mean) / 3
		}
		if math.Abs(variance[i]-want) > 1e-9 || want == 0 {
			t.Errorf("variance %g, want %g", variance[i], want)
		}
	}
}
