package ppo

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
)

// episode is one response with all that was recorded when it was sampled. Rows have one entry per response token.
type episode struct {
	seq   model.Sequence
	ended bool      // the end token was drawn
	score float64   // of the scorer, before the end-token rule
	logp  []float64 // under the policy that sampled, told by the sampler
	ref   []float64 // under the reference
	value []float64 // of the critic, at the position before each token
}

// batch is the rollout batch of an iteration. The rows after episodes are there once all chunks are in.
type batch struct {
	episodes   []episode
	rewards    [][]float64 // rewards of tokens, not whitened
	advantages [][]float64 // whitened, unless that happens per minibatch
	returns    [][]float64
	kl         float64 // mean KL per episode
}

// Sample is one episode of an iteration, kept for people to read.
type Sample struct {
	Iteration int     `json:"iteration"`
	Prompt    []int32 `json:"prompt"`
	Response  []int32 `json:"response"`
	Score     float64 `json:"score"` // after the end-token rule
	KL        float64 `json:"kl"`    // nats, of this response
	Ended     bool    `json:"ended"`
}

const (
	samplesPerIteration = 4
	samplesKept         = 64
)

func (b batch) rows(of func(episode) []float64) [][]float64 {
	out := make([][]float64, len(b.episodes))
	for i, e := range b.episodes {
		out[i] = of(e)
	}
	return out
}

func logpOf(e episode) []float64  { return e.logp }
func refOf(e episode) []float64   { return e.ref }
func valueOf(e episode) []float64 { return e.value }

// rollout samples chunk c of the iteration's episodes and, with the last one, turns them into advantages and returns.
func (t *Trainer) rollout(ctx context.Context, c int) (map[string]float64, error) {
	if t.iteration == 0 && c == 0 {
		if err := t.checkStart(ctx); err != nil {
			return nil, err
		}
	}
	lo := c * t.cfg.Chunk
	hi := min(lo+t.cfg.Chunk, t.cfg.Rollouts)
	prompts := make([][]int32, hi-lo)
	for i := range prompts {
		prompts[i] = t.prompt(t.iteration*t.cfg.Rollouts + lo + i)
	}
	seed := rand.New(rand.NewPCG(t.cfg.Seed^streamSample, uint64(t.iteration)<<32|uint64(c))).Uint64()
	episodes, err := t.sample(ctx, t.packed(), prompts, seed)
	if err != nil {
		return nil, err
	}
	if err := t.annotate(ctx, episodes); err != nil {
		return nil, err
	}
	before := t.batch
	t.batch.episodes = append(t.batch.episodes[:lo:lo], episodes...)
	if hi < t.cfg.Rollouts {
		return map[string]float64{}, nil
	}
	metrics, err := t.finish()
	if err != nil {
		t.batch = before
		return nil, err
	}
	return metrics, nil
}

// packed is the policy in the form in which sampling reads its weights fastest, with the bits of training.
func (t *Trainer) packed() *model.Transformer {
	defer clock(&t.times.Rollout)()
	if t.reader == nil {
		t.reader = t.policy.PackedCopy(t.cfg.weights())
	}
	return t.reader
}

// sample draws a response to each prompt from m at temperature 1.
func (t *Trainer) sample(ctx context.Context, m *model.Transformer, prompts [][]int32, seed uint64) ([]episode, error) {
	defer clock(&t.times.Rollout)()
	params := decode.Params{MaxTokens: t.cfg.MaxTokens, Temperature: 1, TopP: 1, Seed: seed}
	out, err := decode.Generate(ctx, m, prompts, params, t.eos, nil)
	if err != nil {
		return nil, fmt.Errorf("sample: %w", err)
	}
	episodes := make([]episode, len(out))
	for i, c := range out {
		ids := append(append(make([]int32, 0, len(prompts[i])+len(c.IDs)), prompts[i]...), c.IDs...)
		episodes[i] = episode{
			seq:   model.Sequence{IDs: ids, Start: len(prompts[i])},
			ended: t.eos < 0 || len(c.IDs) > 0 && c.IDs[len(c.IDs)-1] == t.eos,
			logp:  widen(c.Logprobs), value: widen(c.Values),
		}
	}
	return episodes, nil
}

// annotate adds the reference's log-probabilities, the values of a critic of its own and the scores. A shared critic's values
// came with the samples.
func (t *Trainer) annotate(ctx context.Context, episodes []episode) error {
	seqs := make([]model.Sequence, len(episodes))
	for i := range episodes {
		seqs[i] = episodes[i].seq
	}
	i := 0
	for _, part := range parts(seqs, t.cfg.Micro) {
		if err := ctx.Err(); err != nil {
			return err
		}
		some := episodes[i : i+len(part)]
		if t.extra&ExtraOld != 0 {
			t.again(part, some)
		}
		for j, row := range t.referenceLogprobs(part) {
			some[j].ref = row
		}
		if !t.cfg.shared() {
			t.criticValues(part, some)
		}
		i += len(part)
	}
	scores, err := t.scores(ctx, seqs)
	if err != nil {
		return err
	}
	for i := range episodes {
		e := &episodes[i]
		e.score = scores[i]
		if t.fault == FaultOldLogprobs {
			e.logp = shifted(e.logp)
		}
		for what, row := range map[string][]float64{"log-probability": e.logp, "reference log-probability": e.ref, "value": e.value, "score": {e.score}} {
			for _, x := range row {
				if math.IsNaN(x) || math.IsInf(x, 0) {
					return fmt.Errorf("%w: %s of an episode", ErrNotFinite, what)
				}
			}
		}
	}
	return nil
}

// again computes with a pass what the sampler told.
func (t *Trainer) again(seqs []model.Sequence, episodes []episode) {
	defer clock(&t.times.Old)()
	want := model.WantLogprobs
	if t.cfg.shared() {
		want |= model.WantValues
	}
	pass := t.policy.Score(t.positions(seqs), want)
	for i := range episodes {
		episodes[i].logp = widen(response(pass.Logprobs[i], seqs[i]))
		if t.cfg.shared() {
			episodes[i].value = widen(response(pass.Values[i], seqs[i]))
		}
	}
}

func (t *Trainer) criticValues(seqs []model.Sequence, episodes []episode) {
	defer clock(&t.times.Values)()
	for i, row := range t.value.Score(seqs, model.WantValues).Values {
		episodes[i].value = widen(row)
	}
}

func (t *Trainer) referenceLogprobs(seqs []model.Sequence) [][]float64 {
	defer clock(&t.times.Reference)()
	out := make([][]float64, len(seqs))
	for i, row := range t.reference.Score(t.positions(seqs), model.WantLogprobs).Logprobs {
		out[i] = widen(response(row, seqs[i]))
		if t.fault == FaultReference {
			out[i] = shifted(out[i])
		}
	}
	return out
}

func (t *Trainer) scores(ctx context.Context, seqs []model.Sequence) ([]float64, error) {
	defer clock(&t.times.Reward)()
	out, err := t.scorer.Score(ctx, seqs)
	if err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	if len(out) != len(seqs) {
		return nil, fmt.Errorf("ppo: the scorer gave %d scores for %d responses", len(out), len(seqs))
	}
	if t.fault == FaultScoreSign {
		for i := range out {
			out[i] = -out[i]
		}
	}
	return out, nil
}

// finalScore is an episode's score after the end-token rule.
func (c EOSConfig) finalScore(score float64, ended bool) float64 {
	switch {
	case ended || c.Missing == EOSKeep:
		return score
	case c.Missing == EOSSet:
		return c.Value
	}
	return score - c.Value
}

// finish turns the episodes of an iteration into rewards, advantages and returns, and checks their health.
func (t *Trainer) finish() (map[string]float64, error) {
	b := &t.batch
	scores := make([]float64, len(b.episodes))
	var score, ended, length, repeats, bigrams float64
	for i, e := range b.episodes {
		scores[i] = t.cfg.EOS.finalScore(e.score, e.ended)
		score += scores[i]
		if e.ended {
			ended++
		}
		response := e.seq.IDs[e.seq.Start:]
		length += float64(len(response))
		r, n := repeated(response)
		repeats, bigrams = repeats+float64(r), bigrams+float64(n)
	}
	n := float64(len(b.episodes))
	logp, values := b.rows(logpOf), b.rows(valueOf)
	coef := t.control.Coef()
	ref := b.rows(refOf)
	now := logp
	switch t.fault {
	case FaultPenalty:
		coef = -coef
	case FaultKLSign:
		now, ref = ref, now
	}
	kl, _, rewards := KLRewards(now, ref, scores, coef)
	b.rewards, b.kl = rewards, meanRowSum(kl)
	b.advantages, b.returns = t.advantages(rewards, values)
	metrics := map[string]float64{
		"score": score / n, "reward": meanRowSum(rewards), "kl": b.kl, "kl_coef": t.control.Coef(),
		"entropy": -mean(logp), "eos_rate": ended / n, "length": length / n, "repeat_rate": repeats / max(1, bigrams),
		"explained_variance": ExplainedVariance(values, b.returns),
	}
	if err := t.checkBatch(metrics); err != nil {
		return nil, err
	}
	t.keep(scores, kl)
	return metrics, nil
}

// advantages whitens over the rows it is given, as far as the configuration asks for it.
func (t *Trainer) advantages(rewards, values [][]float64) (advantages, returns [][]float64) {
	whiten := !t.cfg.WhitenPerMinibatch
	if whiten && t.cfg.WhitenRewards {
		rewards = Whiten(rewards, false)
	}
	advantages, returns = GAE(rewards, values, t.cfg.Gamma, t.cfg.Lambda)
	if whiten {
		advantages = Whiten(advantages, true)
	}
	return advantages, returns
}

// keep remembers a few episodes for people to read.
func (t *Trainer) keep(scores []float64, kl [][]float64) {
	for i, e := range t.batch.episodes[:min(samplesPerIteration, len(t.batch.episodes))] {
		s := Sample{Iteration: t.iteration, Prompt: e.seq.IDs[:e.seq.Start:e.seq.Start], Response: e.seq.IDs[e.seq.Start:], Score: scores[i], Ended: e.ended}
		for _, x := range kl[i] {
			s.KL += x
		}
		t.samples = append(t.samples, s)
	}
	if extra := len(t.samples) - samplesKept; extra > 0 {
		t.samples = append([]Sample(nil), t.samples[extra:]...)
	}
}

// repeated counts the neighbouring pairs of tokens of a response, and those of them it had said before.
func repeated(ids []int32) (again, all int) {
	seen := make(map[[2]int32]bool, len(ids))
	for i := 1; i < len(ids); i++ {
		pair := [2]int32{ids[i-1], ids[i]}
		if seen[pair] {
			again++
		}
		seen[pair] = true
		all++
	}
	return again, all
}

// parts cuts a batch so that each part has at most limit tokens, or one sequence.
func parts(seqs []model.Sequence, limit int) [][]model.Sequence {
	var out [][]model.Sequence
	for len(seqs) > 0 {
		n, tokens := 0, 0
		for n < len(seqs) && (n == 0 || tokens+len(seqs[n].IDs) <= limit) {
			tokens += len(seqs[n].IDs)
			n++
		}
		out, seqs = append(out, seqs[:n]), seqs[n:]
	}
	return out
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
