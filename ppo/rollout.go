package ppo

import (
	"context"

	"github.com/rankloop/rankloop/model"
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
	each       []float64 // advantage of each episode, where it has one for the whole (GRPO, RLOO, rejection sampling)
	kl         float64   // mean KL per episode
}

// Sample is one episode of an iteration, kept for people to read.
type Sample struct {
	Iteration int     `json:"iteration"`
	Prompt    []int32 `json:"prompt"`
	Response  []int32 `json:"response"`
	Score     float64 `json:"score"` // after the end-token rule
	KL        float64 `json:"kl"`    // nats, of this response: the sum of KLTokens
	Ended     bool    `json:"ended"`

	KLTokens []float64 `json:"kl_tokens"` // log pi - log ref of each response token
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
	episodes, err := t.sample(ctx, t.packed(), prompts, t.chunkSeed(t.iteration, c))
	if err != nil {
		return nil, err
	}
	var values func([]model.Sequence, []episode)
	if t.value != nil {
		values = t.criticValues
	}
	if err := t.annotate(ctx, episodes, values); err != nil {
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

func (t *Trainer) criticValues(seqs []model.Sequence, episodes []episode) {
	defer clock(&t.times.Values)()
	for i, row := range t.value.Score(seqs, model.WantValues).Values {
		episodes[i].value = widen(row)
	}
}

// finish turns the episodes of an iteration into rewards, advantages and returns, and checks their health.
func (t *Trainer) finish() (map[string]float64, error) {
	b := &t.batch
	metrics, scores := b.describe(&t.scoring)
	logp, ref, values := b.rows(logpOf), b.rows(refOf), b.rows(valueOf)
	coef, now := t.control.Coef(), logp
	switch t.fault {
	case FaultPenalty:
		coef = -coef
	case FaultKLSign:
		now, ref = ref, now
	}
	kl := KL(now, ref, KLK1)
	penalty := kl
	if e := t.cfg.KL.Estimator; e != "" && e != KLK1 {
		penalty = KL(now, ref, e)
	}
	b.rewards, b.kl = TokenRewards(penalty, scores, coef), meanRowSum(kl)
	b.advantages, b.returns = t.advantages(b.rewards, values)
	metrics["reward"], metrics["kl"], metrics["kl_coef"] = meanRowSum(b.rewards), b.kl, t.control.Coef()
	metrics["explained_variance"] = ExplainedVariance(values, b.returns)
	if err := t.checkBatch(metrics, meanRowSum(penalty)); err != nil {
		return nil, err
	}
	t.keep(t.weights(), t.iteration)
	t.samples = remember(t.samples, t.iteration, b.episodes, scores, kl)
	return metrics, nil
}

// describe measures what every trainer tells of a rollout batch, and gives the final scores.
func (b batch) describe(s *scoring) (metrics map[string]float64, scores []float64) {
	scores, scale := s.final(b.episodes)
	var score, ended, length, repeats, bigrams float64
	for i, e := range b.episodes {
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
	metrics = map[string]float64{
		"score": score / n, "entropy": -mean(b.rows(logpOf)), "eos_rate": ended / n, "length": length / n, "repeat_rate": repeats / max(1, bigrams),
	}
	if s.score.Scale != "" && s.score.Scale != ScaleNone {
		metrics["score_scale"] = scale
	}
	return metrics, scores
}

// advantages whitens over the rows it is given, as far as the configuration asks for it.
func (t *Trainer) advantages(rewards, values [][]float64) (advantages, returns [][]float64) {
	whiten := !t.cfg.WhitenPerMinibatch
	if whiten && t.cfg.WhitenRewards {
		rewards = Whiten(rewards, false)
	}
	advantages, returns = GAE(rewards, values, t.cfg.Gamma, t.cfg.Lambda)
	if whiten && !t.cfg.RawAdvantages {
		advantages = Whiten(advantages, true)
	}
	return advantages, returns
}

// remember keeps the first few episodes of an iteration for people to read.
func remember(samples []Sample, iteration int, episodes []episode, scores []float64, kl [][]float64) []Sample {
	for i, e := range episodes[:min(samplesPerIteration, len(episodes))] {
		s := Sample{Iteration: iteration, Prompt: e.seq.IDs[:e.seq.Start:e.seq.Start], Response: e.seq.IDs[e.seq.Start:], Score: scores[i], KLTokens: kl[i], Ended: e.ended}
		for _, x := range kl[i] {
			s.KL += x
		}
		samples = append(samples, s)
	}
	if extra := len(samples) - samplesKept; extra > 0 {
		samples = append([]Sample(nil), samples[extra:]...)
	}
	return samples
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
