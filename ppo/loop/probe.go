package loop

import (
	"context"
	"fmt"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/eval"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// Bounds of what a PPO run keeps for people to read.
const (
	probePrompts = 16 // the same all along
	probeTimes   = 12 // about so often, whatever the number of iterations
)

// PolicySample is what the policy in training answered to one prompt of a fixed set at one point of its run.
type PolicySample struct {
	Iteration int       `json:"iteration"` // rollout batches that it had learned from
	Place     int       `json:"place"`     // of the prompt in the set
	PromptID  string    `json:"prompt_id"`
	IDs       []int32   `json:"ids"`
	Pieces    []string  `json:"pieces"` // text that each token adds
	Logprobs  []float32 `json:"logprobs"`
	KL        []float32 `json:"kl"` // log pi - log ref of each token, nats
	Score     float64   `json:"score"`
	HeldScore *float64  `json:"held_score"` // nil where no judge is held out
	HeldBy    string    `json:"held_by"`
	Ended     bool      `json:"ended"`
}

// probe asks the policy in training the same prompts time after time, with the same randomness, so that what changes is the policy. It
// changes nothing of the run, and asked again after a crash it hears the same.
type probe struct {
	runID   string
	every   int // iterations
	prompts []evalPrompt
	params  decode.Params
	eos     int32
	tok     token.Tokenizer
	ref     *model.Transformer
	proxy   *reward.Scorer // the policy is trained on it
	held    Judge          // it is not; nil where there is none
	heldBy  string
	keep    func(ctx context.Context, runID string, samples []PolicySample) error
}

// newProbe makes the probe of a round's PPO run: prompts that are held out where there are some, and a judge that is held out where
// there is one.
func (l *Loop) newProbe(ctx context.Context, v run.Run, r Round, init, sft *checkpoint.Checkpoint, proxy *reward.Scorer) (*probe, error) {
	prompts, err := l.fittingPrompts(ctx, v, r, init, labeling.Test, probePrompts)
	if err == nil && len(prompts) == 0 {
		prompts, err = l.fittingPrompts(ctx, v, r, init, labeling.Train, probePrompts)
	}
	if err != nil {
		return nil, err
	}
	p := &probe{runID: v.ID, prompts: prompts, eos: int32(init.Model.Config().EOS), tok: init.Tokenizer, ref: sft.Model, proxy: proxy, keep: l.keepSamples,
		every:  max(1, r.Config.PPO.Iterations/probeTimes),
		params: decode.Params{MaxTokens: r.Config.MaxTokens, Temperature: 1, TopP: 1, Seed: seedOf(r.Config.Seed, fmt.Sprintf("probe %d", r.Number))}}
	p.held, p.heldBy, err = l.heldOut(ctx, r, init)
	return p, err
}

// heldOut is a judge that the round's policy is not trained on: the declared preference, or the reward model of an earlier round, which
// learned from fewer of the rankings. Nil where there is none, or it reads other tokens.
func (l *Loop) heldOut(ctx context.Context, r Round, init *checkpoint.Checkpoint) (Judge, string, error) {
	if l.Judge != nil {
		return l.Judge, l.Judge.Name(), nil
	}
	id, err := l.earlierReward(ctx, r)
	if err != nil || id == "" {
		return nil, "", err
	}
	v, err := l.Registry.Get(ctx, id)
	if err != nil || v.GoneAt != nil {
		return nil, "", err
	}
	_, cp, err := l.open(ctx, id)
	if err != nil {
		return nil, "", err
	}
	if cp.Tokenizer.Digest() != init.Tokenizer.Digest() {
		return nil, "", nil
	}
	scorer, err := reward.OpenPacked(cp, model.WeightsFloat32)
	return rewardJudge{scorer}, v.Name, err
}

// due says whether the policy is asked after so many iterations.
func (p *probe) due(iteration int, last bool) bool { return last || iteration%p.every == 0 }

// asked is a policy in training.
type asked interface {
	Policy() *model.Transformer
	Iteration() int
}

var _ asked = (*ppo.Trainer)(nil)

// ask lets the policy answer, if it is time, and returns the mean scores as figures of the step.
func (p *probe) ask(ctx context.Context, of asked, now bool) (run.Metrics, error) {
	if !now || len(p.prompts) == 0 {
		return nil, nil
	}
	samples, err := p.samples(ctx, of.Policy(), of.Iteration())
	if err == nil {
		err = p.keep(ctx, p.runID, samples)
	}
	if err != nil {
		return nil, fmt.Errorf("samples for people to read: %w", err)
	}
	var proxy, held []float64
	for _, s := range samples {
		proxy = append(proxy, s.Score)
		if s.HeldScore != nil {
			held = append(held, *s.HeldScore)
		}
	}
	m := run.Metrics{"sample_score": eval.Mean(proxy).Mean}
	if len(held) > 0 {
		m["sample_held_score"] = eval.Mean(held).Mean
	}
	return m, nil
}

func (p *probe) samples(ctx context.Context, policy *model.Transformer, iteration int) ([]PolicySample, error) {
	rows := make([][]int32, len(p.prompts))
	for i, q := range p.prompts {
		rows[i] = q.IDs
	}
	out, err := decode.Generate(ctx, policy, rows, p.params, p.eos, nil)
	if err != nil {
		return nil, err
	}
	var answers []Answer
	var seqs []model.Sequence
	for i, o := range out {
		seqs = append(seqs, join(rows[i], o.IDs))
		answers = append(answers, Answer{Prompt: p.prompts[i].Text, Response: responseText(p.tok, o, int(p.eos)), Ended: o.Finish == decode.FinishStop, Sequence: seqs[i]})
	}
	scores, err := p.proxy.Score(ctx, seqs)
	if err != nil {
		return nil, err
	}
	var held []float64
	if p.held != nil {
		if held, err = p.held.Judge(ctx, answers); err != nil {
			return nil, fmt.Errorf("judge %s: %w", p.heldBy, err)
		}
	}
	ref := p.ref.Score(seqs, model.WantLogprobs).Logprobs
	samples := make([]PolicySample, len(out))
	for i, o := range out {
		s := PolicySample{Iteration: iteration, Place: i, PromptID: p.prompts[i].ID, IDs: o.IDs, Pieces: pieces(p.tok, o.IDs),
			Logprobs: o.Logprobs, KL: make([]float32, len(o.IDs)), Score: scores[i], HeldBy: p.heldBy, Ended: answers[i].Ended}
		row := ref[i][len(ref[i])-len(o.IDs):]
		for j := range o.IDs {
			s.KL[j] = o.Logprobs[j] - row[j]
		}
		if held != nil {
			s.HeldScore = &held[i]
		}
		samples[i] = s
	}
	return samples, nil
}

// pieces are the text that each token adds, as people and Postgres can read it.
func pieces(tok token.Tokenizer, ids []int32) []string {
	stream := token.NewStream(tok)
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = view(stream.Next(id))
	}
	if n := len(out); n > 0 {
		out[n-1] += view(stream.Flush())
	}
	return out
}

// Repeats marks the tokens that end a pair of neighbouring tokens which the answer has said before, and tells their share of all pairs.
func (s PolicySample) Repeats() (again []bool, share float64) {
	again = make([]bool, len(s.IDs))
	seen := map[[2]int32]bool{}
	n := 0
	for i := 1; i < len(s.IDs); i++ {
		pair := [2]int32{s.IDs[i-1], s.IDs[i]}
		if seen[pair] {
			again[i] = true
			n++
		}
		seen[pair] = true
	}
	return again, float64(n) / float64(max(1, len(s.IDs)-1))
}

// TotalKL is the answer's: the sum over its tokens, nats.
func (s PolicySample) TotalKL() (kl float64) {
	for _, x := range s.KL {
		kl += float64(x)
	}
	return kl
}
