package reward

import (
	"testing"

	"github.com/rankloop/rankloop/model/mutant"
)

// mutants are mistakes that one could make, one replacement in a file each, and the test that must turn red by name.
var mutants = []struct{ name, file, old, new, red string }{
	{"the reward of what was ranked lower rises", "loss.go", "grad[w] += g\n			grad[b] -= g", "grad[w] -= g\n			grad[b] += g", "TestReferenceRankingLoss"},
	{"ranks count from the worst", "loss.go", "case ranks[j] < ranks[i]:", "case ranks[j] > ranks[i]:", "TestReferenceRankingLoss"},
	{"neighbours alone form pairs", "loss.go", "for j := i + 1; j < len(ranks); j++ {", "for j := i + 1; j < min(i+2, len(ranks)); j++ {", "TestReferenceRankingLoss"},
	{"ties form pairs", "loss.go", `case tied && l.Ties == "":`, `case tied && l.Ties != "":`, "TestReferenceRankingLoss"},
	{"the loss is a sum over the pairs", "loss.go", "	loss /= float64(n.Pairs)\n", "", "TestReferenceRankingLoss"},
	{"equal rewards count as right", "loss.go", "if d > 0 {", "if d >= 0 {", "TestReferenceRankingLoss"},
	{"labelers are added up", "loss.go", "	loss /= weight\n", "", "TestGrouping"},
	{"weights are left out", "loss.go", "w := g.weight(i)", "w := g.weight(i) / g.weight(i)", "TestWeights"},
	{"a prompt's weight is left out of the batch", "trainer.go", "weight *= share", "weight = share", "TestWeights"},
	{"the margin helps", "loss_options.go", "l.decided(d - margin)", "l.decided(d + margin)", "TestGoldenLossOptions"},
	{"the margin by rank is a share of K", "loss_options.go", "float64(distance) / float64(k-1)", "float64(distance) / float64(k)", "TestGoldenLossOptions"},
	{"the weakest preference has a margin", "loss_options.go", "max(0, strength-1) / 3", "max(0, strength) / 3", "TestGoldenLossOptions"},
	{"a flipped label is the likelier one", "loss_options.go", "return (1-l.Flip)*right + l.Flip*wrong, (1-l.Flip)*dRight + l.Flip*dWrong", "return l.Flip*right + (1-l.Flip)*wrong, l.Flip*dRight + (1-l.Flip)*dWrong", "TestGoldenLossOptions"},
	{"the flipped label's gradient points the same way", "loss_options.go", "	dWrong = -dWrong\n", "", "TestLossGradient"},
	{"the mixture shares its gradient upside down", "loss_options.go", "q := sigmoid(b - a)", "q := sigmoid(a - b)", "TestLossGradient"},
	{"the threshold of a tie helps", "loss_options.go", "		d -= l.Tie\n", "		d += l.Tie\n", "TestGoldenLossOptions"},
	{"Davidson's slope has the other sign", "loss_options.go", "	if d < 0 {\n		slope = -slope", "	if d > 0 {\n		slope = -slope", "TestLossGradient"},
	{"every epoch has the first one's order", "trainer.go", "streamOrder+uint64(epoch)", "streamOrder", "TestOrdersDiffer"},
	{"every model has the first one's order", "trainer.go", "rand.NewPCG(t.cfg.Seed+uint64(t.member), streamOrder", "rand.NewPCG(t.cfg.Seed, streamOrder", "TestOrdersDiffer"},
	{"every model has the first one's head", "trainer.go", "t.cfg.Seed+uint64(i)^streamHead", "t.cfg.Seed^streamHead", "TestOrdersDiffer"},
	{"every model draws the first one's prompts", "trainer.go", "rand.NewPCG(t.cfg.Seed+uint64(i), streamDraw)", "rand.NewPCG(t.cfg.Seed, streamDraw)", "TestBootstrap"},
	{"each step takes the first batch", "trainer.go", "for at := step * size;", "for at := 0;", "TestEveryPromptOnceAnEpoch"},
	{"held-out prompts are learned", "trainer.go", "	for i, g := range valid {\n", "	for i, g := range valid {\n		t.train = append(t.train, g)\n", "TestHeldOutTeachesNothing"},
	{"the worst model is kept", "judge.go", "list[at-1].Report.Accuracy < j.Report.Accuracy", "list[at-1].Report.Accuracy > j.Report.Accuracy", "TestBestIsKept"},
	{"models are judged by what they learned from", "judge.go", "NewScorer(t.m, norm.Mean, 1), t.valid)", "NewScorer(t.m, norm.Mean, 1), t.train)", "TestBestIsKept"},
	{"the scale is left out", "judge.go", "	n.Std = std\n", "", "TestLearnsAndNormalises"},
	{"an ensemble's zero is not set", "judge.go", "return whole{report, norm}, err", "return whole{report, Norm{Std: norm.Std}}, err", "TestEnsemble"},
	{"the mean is added", "scorer.go", "(float64(r) - x.norm.Mean) / x.norm.Std", "(float64(r) + x.norm.Mean) / x.norm.Std", "TestLearnsAndNormalises"},
	{"the normalisation is lost on saving", "scorer.go", "cp.Card.RewardMean, cp.Card.RewardStd, cp.Card.Ensemble = first.norm.Mean, first.norm.Std, nil", "cp.Card.RewardMean, cp.Card.RewardStd, cp.Card.Ensemble = 0, 1, nil", "TestRoundTrip"},
	{"members lose theirs on opening", "scorer.go", "member{pack(m), e.Members[i]}", "member{pack(m), Norm{Std: 1}}", "TestRoundTrip"},
	{"an ensemble loses its own on opening", "scorer.go", "newScorer(members, how, Norm{Mean: e.Mean, Std: e.Std})", "newScorer(members, how, Norm{Std: 1})", "TestRoundTrip"},
	{"the worst case is the best", "ensemble.go", "math.Min(mean[i], r[i])", "math.Max(mean[i], r[i])", "TestCombine"},
	{"uncertainty is rewarded", "ensemble.go", "mean[i] -= c.Lambda * variance[i]", "mean[i] += c.Lambda * variance[i]", "TestCombine"},
	{"the variance is the sample's", "ensemble.go", "(x - mean[i]) * (x - mean[i]) / float64(len(each))", "(x - mean[i]) * (x - mean[i]) / float64(max(1, len(each)-1))", "TestCombine"},
	{"an ensemble combined anew keeps its zero", "ensemble.go", "return newScorer(s.members, how.named(), norm), nil", "return newScorer(s.members, how.named(), Norm{Mean: s.norm.Mean, Std: norm.Std}), nil", "TestRecombine"},
	{"scaled members disagree in other units", "ensemble.go", "r[i] *= s.members[j].norm.Std", "r[i] /= s.members[j].norm.Std", "TestDisagreement"},
	{"equal rewards agree", "evaluate.go", "agree = float64(n) / 2", "agree = float64(n)", "TestEvaluate"},
	{"the ceiling is the root of the agreement", "evaluate.go", "-0.5)/2)", "-0.5))", "TestCeiling"},
	{"groups of a prompt are independent", "analysis.go", `if !ok || g.PromptID == "" {`, "if !ok || true {", "TestPromptsAreClusters"},
	{"what is below the limit by chance is stale", "analysis.go", "r.High < limit", "r.Accuracy < limit", "TestStale"},
	{"those left out are learned from", "crossval.go", "rankedBy(train, isOther), others, reference)", "rankedBy(train, func(string) bool { return true }), others, reference)", "TestLeftOutTeachNothing"},
	{"those left out are not asked", "crossval.go", "Evaluate(ctx, s, rankedBy(valid, isLeft))", "Evaluate(ctx, s, rankedBy(valid, isOther))", "TestCrossValidate"},
	{"the moments are lost on loading", "state.go", "	if s.OptStep > 0 {\n		fresh.opt", "	if false {\n		fresh.opt", "TestResume"},
	{"another labeling is the same run", "state.go", "[]any{g.Sequences, g.Rankings, g.Strengths, g.Weights}", "[]any{g.Sequences, g.Strengths, g.Weights}", "TestResumeRefusesAnother"},
}

// TestMutants demands of each mistake that its test notices it.
func TestMutants(t *testing.T) {
	var all []mutant.Mutant
	for _, m := range mutants {
		all = append(all, mutant.Mutant{Name: m.name, Edits: []mutant.Edit{{File: m.file, Old: m.old, New: m.new}}, Red: m.red})
	}
	mutant.Run(t, all)
}
