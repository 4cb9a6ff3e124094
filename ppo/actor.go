package ppo

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
)

// actor is what every trainer that samples has: the policy in training, the reference it is held to, the scorer, and the prompts
// it answers. The trainers embed it.
type actor struct {
	how       sampling
	policy    *model.Transformer
	reference *model.Transformer // packed: it is only read
	scorer    Scorer
	prompts   Prompts
	eos       int32
	same      bool // the policy started as the reference
	better    []model.Sequence
	worse     []model.Sequence
	fault     Fault
	extra     Extra
	times     Times
	reader    *model.Transformer // the policy, packed for sampling; nil when its weights have moved on
	order     []int              // of the prompts, in pass orderPass
	orderPass int
}

// sampling is how an actor draws and what it adds to a response.
type sampling struct {
	maxTokens   int
	micro       int // tokens of a pass
	seed        uint64
	weights     model.Weights // of the models that are only read
	temperature float64       // 0 = 1
	truncate    *TruncateConfig
	valued      bool // values come with the samples: the critic is a head of the policy
}

// newActor copies policy and reference.
func newActor(how sampling, mixed bool, policy, reference *model.Transformer, scorer Scorer, prompts Prompts, eos int32) actor {
	a := actor{how: how, policy: policy.Clone(), reference: reference.PackedCopy(how.weights), scorer: scorer, prompts: prompts, eos: eos, orderPass: -1}
	a.policy.SetMixed(mixed)
	if how.temperature > 0 {
		a.policy.SetTemperature(how.temperature)
		a.reference.SetTemperature(how.temperature)
	}
	return a
}

// checkPrompts wants every prompt to fit beside a response of maxTokens into a context, with ids of the vocabulary.
func checkPrompts(prompts Prompts, maxTokens, context, vocab int) error {
	if prompts.Len() < 1 {
		return invalid("prompts", "there are none")
	}
	room := context - maxTokens
	for i := range prompts.Len() {
		p := prompts.Prompt(uint64(i))
		if len(p) < 1 || len(p) > room {
			return invalid("prompts", "prompt %d has %d tokens; with responses of %d there is room for 1 to %d", i, len(p), maxTokens, room)
		}
		for _, id := range p {
			if id < 0 || int(id) >= vocab {
				return invalid("prompts", "prompt %d has the token id %d outside the vocabulary of %d", i, id, vocab)
			}
		}
	}
	return nil
}

// packed is the policy in the form in which sampling reads its weights fastest, with the bits of training.
func (a *actor) packed() *model.Transformer {
	defer clock(&a.times.Rollout)()
	if a.reader == nil {
		a.reader = a.policy.PackedCopy(a.how.weights)
	}
	return a.reader
}

// sample draws a response to each prompt from m: at temperature 1 from what m says, which is tempered already.
func (a *actor) sample(ctx context.Context, m *model.Transformer, prompts [][]int32, seed uint64) ([]episode, error) {
	defer clock(&a.times.Rollout)()
	params := decode.Params{MaxTokens: a.how.maxTokens, Temperature: 1, TopP: 1, Seed: seed}
	out, err := decode.Generate(ctx, m, prompts, params, a.eos, nil)
	if err != nil {
		return nil, fmt.Errorf("sample: %w", err)
	}
	episodes := make([]episode, len(out))
	for i, c := range out {
		n, ended := a.how.truncate.cut(c.IDs, a.eos)
		ids := append(append(make([]int32, 0, len(prompts[i])+n), prompts[i]...), c.IDs[:n]...)
		episodes[i] = episode{seq: model.Sequence{IDs: ids, Start: len(prompts[i])}, ended: ended, logp: widen(c.Logprobs[:n])}
		if c.Values != nil {
			episodes[i].value = widen(c.Values[:n])
		}
	}
	return episodes, nil
}

// cut is the number of tokens of a response that stay, and whether it came to its end. Without a rule (nil) all stay and the
// end token is the end.
func (c *TruncateConfig) cut(ids []int32, eos int32) (n int, ended bool) {
	n = len(ids)
	if c != nil {
		for i := c.After; i < n; i++ {
			if ids[i] == c.Token {
				return i + 1, true
			}
		}
	}
	return n, eos < 0 && c == nil || n > 0 && ids[n-1] == eos
}

// annotate adds the reference's log-probabilities, the scores, and what more a trainer reads from a part of the sequences.
func (a *actor) annotate(ctx context.Context, episodes []episode, more func(seqs []model.Sequence, episodes []episode)) error {
	seqs := make([]model.Sequence, len(episodes))
	for i := range episodes {
		seqs[i] = episodes[i].seq
	}
	i := 0
	for _, part := range parts(seqs, a.how.micro) {
		if err := ctx.Err(); err != nil {
			return err
		}
		some := episodes[i : i+len(part)]
		if a.extra&ExtraOld != 0 {
			a.again(part, some)
		}
		for j, row := range a.referenceLogprobs(part) {
			some[j].ref = row
		}
		if more != nil {
			more(part, some)
		}
		i += len(part)
	}
	scores, err := a.scores(ctx, seqs)
	if err != nil {
		return err
	}
	for i := range episodes {
		e := &episodes[i]
		e.score = scores[i]
		if a.fault == FaultOldLogprobs {
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
func (a *actor) again(seqs []model.Sequence, episodes []episode) {
	defer clock(&a.times.Old)()
	want := model.WantLogprobs
	if a.how.valued {
		want |= model.WantValues
	}
	pass := a.policy.Score(a.positions(seqs), want)
	for i := range episodes {
		episodes[i].logp = widen(response(pass.Logprobs[i], seqs[i]))
		if a.how.valued {
			episodes[i].value = widen(response(pass.Values[i], seqs[i]))
		}
	}
}

func (a *actor) referenceLogprobs(seqs []model.Sequence) [][]float64 {
	defer clock(&a.times.Reference)()
	out := make([][]float64, len(seqs))
	for i, row := range a.reference.Score(a.positions(seqs), model.WantLogprobs).Logprobs {
		out[i] = widen(response(row, seqs[i]))
		if a.fault == FaultReference {
			out[i] = shifted(out[i])
		}
	}
	return out
}

func (a *actor) scores(ctx context.Context, seqs []model.Sequence) ([]float64, error) {
	defer clock(&a.times.Reward)()
	out, err := a.scorer.Score(ctx, seqs)
	if err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	if len(out) != len(seqs) {
		return nil, fmt.Errorf("ppo: the scorer gave %d scores for %d responses", len(out), len(seqs))
	}
	if a.fault == FaultScoreSign {
		for i := range out {
			out[i] = -out[i]
		}
	}
	return out, nil
}

// prompt returns the n-th prompt of the run: the prompts in a new order each time round.
func (a *actor) prompt(n int) []int32 {
	size := a.prompts.Len()
	if pass := n / size; pass != a.orderPass {
		a.order = rand.New(rand.NewPCG(a.how.seed, streamPrompts+uint64(pass)<<8)).Perm(size)
		a.orderPass = pass
	}
	return a.prompts.Prompt(uint64(a.order[n%size]))
}

// chunkSeed is the sampler's seed for chunk c of an iteration.
func (a *actor) chunkSeed(iteration, c int) uint64 {
	return rand.New(rand.NewPCG(a.how.seed^streamSample, uint64(iteration)<<32|uint64(c))).Uint64()
}

// Times returns how long the phases have taken since the trainer was made.
func (a *actor) Times() Times { return a.times }

// SetExtra chooses what is done in addition from now on. It is no part of the state.
func (a *actor) SetExtra(e Extra) { a.extra = e }

// Inject plants a bug, so that the experiment "faults" can show that the checks see it.
func (a *actor) Inject(f Fault) { a.fault = f }

// SetCanary gives the trainer pairs of sequences whose order is known, best the held-out rankings of the reward model. At
// the start of a run the scorer must put better above worse more often than not; where it clearly does not, its sign or its
// normalisation is wrong and the run stops before the first update. len(better) == len(worse).
func (a *actor) SetCanary(better, worse []model.Sequence) { a.better, a.worse = better, worse }

// positions are the sequences with the heads read where they are wanted.
func (a *actor) positions(seqs []model.Sequence) []model.Sequence {
	if a.extra&ExtraPositions == 0 {
		return seqs
	}
	out := make([]model.Sequence, len(seqs))
	for i, s := range seqs {
		s.Start = 1
		out[i] = s
	}
	return out
}

// narrow is what the model takes as gradient at the positions of seqs: zero at those outside the responses.
func (a *actor) narrow(rows [][]float64, scale float64, seqs []model.Sequence) [][]float32 {
	out := narrow(rows, scale)
	for i, s := range a.positions(seqs) {
		if n := len(s.IDs) - s.Start; n > len(out[i]) {
			out[i] = append(make([]float32, n-len(out[i]), n), out[i]...)
		}
	}
	return out
}
