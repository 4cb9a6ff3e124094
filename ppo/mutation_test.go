package ppo

import (
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/mutant"
)

// mutants are mistakes that one could make, one replacement in a file each, and the test that must turn red by name.
var mutants = []struct{ name, file, old, new, red string }{
	{"the KL has the other sign", "rewards.go", "			d := row[t] - ref[b][t]\n			switch estimator", "			d := ref[b][t] - row[t]\n			switch estimator", "TestReferenceObjectives"},
	{"the penalty is added", "rewards.go", "rewards[b][t] = -coef * d", "rewards[b][t] = coef * d", "TestReferenceObjectives"},
	{"the score has the other sign", "rewards.go", "rewards[b][n-1] += scores[b]", "rewards[b][n-1] -= scores[b]", "TestReferenceObjectives"},
	{"the score is added at the first token", "rewards.go", "rewards[b][n-1] += scores[b]", "rewards[b][0] += scores[b]", "TestReferenceObjectives"},
	{"old log-probabilities are one token off", "actor.go", "ended: ended, logp: widen(c.Logprobs[:n])", "ended: ended, logp: shifted(widen(c.Logprobs[:n]))", "TestFirstRatio"},
	{"the reference's are one token off", "actor.go", "if a.fault == FaultReference {", "if true {", "TestFirstRatio"},
	{"values are those after the token", "rollout.go", "		episodes[i].value = widen(row)", "		episodes[i].value = shifted(widen(row))", "TestSeparateValuesStandBefore"},
	{"values go on behind the end", "rewards.go", "var next, last float64 // V[t+1], A[t+1]", "next, last := 0.0, 0.0 // V[t+1], A[t+1]\n		if n := len(r); n > 0 {\n			next = values[b][n-1]\n		}", "TestReferenceObjectives"},
	{"min and max of the policy's clip are swapped", "loss.go", "	case clipped > free:\n		return clipped, 0, true // outside", "	case clipped < free:\n		return clipped, 0, true // outside", "TestClipsBind"},
	{"min and max of the critic's clip are swapped", "loss.go", "			if clipped > free {\n				stats.ClipFrac += inv\n				loss += 0.5", "			if clipped < free {\n				stats.ClipFrac += inv\n				loss += 0.5", "TestClipsBind"},
	{"the second clip binds where the advantage is positive", "loss.go", "case dual > 0 && a < 0 && free > -a*dual:", "case dual > 0 && a > 0 && free > -a*dual:", "TestTorchDualClip"},
	{"a response without its end keeps its score", "scoring.go", "case ended || c.Missing == EOSKeep:", "case true || c.Missing == EOSKeep:", "TestEOSRule"},
	{"whitening counts a row twice", "rewards.go", "	for _, row := range rows {\n		for _, x := range row {\n			mean += x", "	for i, row := range rows {\n		if i == 0 {\n			row = append(row[:len(row):len(row)], row...)\n		}\n		for _, x := range row {\n			mean += x", "TestReferenceWhiten"},
	{"whitening divides by n-1", "rewards.go", "return mean, variance / float64(n)", "return mean, variance / float64(max(1, n-1))", "TestReferenceWhiten"},
	{"advantages are not whitened", "rollout.go", "if whiten && !t.cfg.RawAdvantages {", "if whiten && t.cfg.RawAdvantages {", "TestReferenceModelStep"},
	{"k3 turns d round", "loss.go", "	e := math.Exp(-d)\n	return e - 1 + d, 1 - e", "	e := math.Exp(d)\n	return e - 1 - d, e - 1", "TestTorchKL"},
	{"the temperature is the sampler's alone", "actor.go", "		a.reference.SetTemperature(how.temperature)\n", "", "TestTemperature"},
	{"the mix's ratio is upside down", "ptx.go", "t.cfg.Ptx.Ratio * math.Sqrt(ours) / own", "t.cfg.Ptx.Ratio * own / math.Sqrt(ours)", "TestPtxRatio"},
	{"a stopped run keeps its bad weights", "guard.go", "		copy(weights[i], w)\n	}\n	if g.good", "		_, _ = i, w\n	}\n	if g.good", "TestGoesBack"},
	{"a group's mean is that of all", "grpo.go", "out[lo+i] = (r - mean) * scale", "out[lo+i] = (r - 0*mean) * scale", "TestTorchGRPO"},
	{"GRPO's KL pushes away", "grpo.go", "grad[b][t] = w * (g + c.Beta*dk)", "grad[b][t] = w * (g - c.Beta*dk)", "TestTorchGRPO"},
	{"GRPO is a mean over all tokens", "grpo.go", "w = 1 / float64(len(newLogp)*max(1, len(row)))", "w = inv", "TestTorchGRPO"},
	{"the baseline holds the response itself", "rloo.go", "r - (sum-r)/float64(k-1)", "r - sum/float64(k)", "TestTorchRLOO"},
	{"RLOO rewards the KL", "rloo.go", "rewards[i] = s - r.cfg.Beta*kl[i]", "rewards[i] = s + r.cfg.Beta*kl[i]", "TestTorchRLOO"},
	{"DPO prefers the rejected", "dpo.go", "		h := up - down", "		h := down - up", "TestTorchDPO"},
	{"DPO forgets the reference", "dpo.go", "up, down := chosen[i]-refChosen[i], rejected[i]-refRejected[i]", "up, down := chosen[i]-0*refChosen[i], rejected[i]-0*refRejected[i]", "TestTorchDPO"},
	{"chosen and rejected are taken apart wrongly", "dpo.go", "		if (at+i)%2 == 1 {\n", "		if (at+i)%2 == 0 {\n", "TestObjectivesLearn"},
	{"the worst of n is kept", "bestofn.go", "		case scores[a] > scores[b]:\n			return -1", "		case scores[a] < scores[b]:\n			return -1", "TestBestOfNChooses"},
	{"TensorFlow's epsilon is PyTorch's", "options.go", "if c.Adam == AdamTensorFlow {", "if c.Adam == AdamTorch {", "TestTorchAdam"},
}

// TestMutants demands of each mistake that its test notices it.
func TestMutants(t *testing.T) {
	var all []mutant.Mutant
	for _, m := range mutants {
		all = append(all, mutant.Mutant{Name: m.name, Edits: []mutant.Edit{{File: m.file, Old: m.old, New: m.new}}, Red: m.red})
	}
	mutant.Run(t, all)
}

// TestSeparateValuesStandBefore: what is recorded of a critic of its own is its value before each token, to the bit.
func TestSeparateValuesStandBefore(t *testing.T) {
	tr := collect(t, testTrainer(t, testConfig()))
	for i, e := range tr.batch.episodes {
		for j, v := range e.value {
			// the last position of a sequence that ends with the token in question is the state before it
			s := e.seq
			s.IDs, s.Start = s.IDs[:s.Start+j+1], s.Start+j
			if want := float64(tr.value.Score([]model.Sequence{s}, model.WantValues).Values[0][0]); v != want {
				t.Fatalf("episode %d, token %d: value %g, want %g", i, j, v, want)
			}
		}
	}
}
