package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

type benchSmallCmd struct {
	benchFlags
	Shape     []string `default:"toy,starter,compact" help:"Shapes of the models, each measured by itself: ${bench_shapes}. The family must have a bias in its last norm, as gpt2 has."`
	Episodes  int      `default:"192" help:"Episodes of an iteration."`
	Topics    int      `default:"16" help:"Prompts that differ; each is answered equally often."`
	Prompt    int      `default:"3" help:"Tokens of a prompt."`
	Mean      int      `default:"10" help:"Mean tokens of a response, the end token included."`
	Longest   int      `default:"20" help:"Most tokens of a response."`
	Minibatch int      `default:"64" help:"Episodes of an optimizer step."`
}

// pytorchToy is how many episodes a second PyTorch 1.13 samples and learns from on one thread at the sizes of the shape toy:
// 22 iterations of 192 episodes, optimizer steps of 64, in 6.0 to 6.6 s on a core of a Zen 4 whose peak is 116 GFLOP/s.
const pytorchToy = 640

func (benchSmallCmd) Help() string {
	return `Iterations of PPO with a critic of its own where models are so small that overhead rules: sampling, log-probabilities of the
reference, values, rewards, and one pass of optimizer steps. Weights are random but for the end token, which is drawn so often that responses
have that mean length, each as long as chance has it. The limit is the peak of multiply-adds divided into the operations of the
same work. For the toy it is also said how often the rate of a thread of PyTorch is reached.

Examples:
  rankloop bench small --threads 1
  rankloop bench small --shape toy --threads 2 --json`
}

func (c benchSmallCmd) Run(ctx context.Context, std streams) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if min(c.Episodes, c.Topics, c.Prompt, c.Minibatch) < 1 || c.Mean < 2 || c.Longest <= c.Mean || c.Episodes%c.Topics != 0 {
		return usageError{fmt.Errorf("--episodes %d --topics %d --prompt %d --mean %d --longest %d --minibatch %d: at least 1 each is wanted, a mean from 2 to below the longest, and each topic equally often",
			c.Episodes, c.Topics, c.Prompt, c.Mean, c.Longest, c.Minibatch)}
	}
	var figures []figure
	shapes := map[string]any{}
	note := ""
	for _, shape := range c.Shape {
		some, n, length, err := c.measure(ctx, shape)
		if err != nil {
			return err
		}
		figures = append(figures, some...)
		rate := some[0].Value
		said := map[string]any{"parameters": n, "episodes_per_s": rate, "ratio": some[0].Ratio, "length": length}
		if shape == "toy" {
			times := rate / pytorchToy
			said["times_pytorch_thread"] = times
			note = fmt.Sprintf("toy, %d parameters: %.1f times the %d episodes/s of a thread of PyTorch\n", n, times, pytorchToy)
		}
		shapes[shape] = said
	}
	if err := c.report(std, map[string]any{"episodes": c.Episodes, "topics": c.Topics, "prompt": c.Prompt, "minibatch": c.Minibatch, "shapes": shapes}, figures...); err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprint(std.out, note)
	}
	return nil
}

// measure takes a shape through iterations of PPO, for a quarter of a second at least for each sample: the rate of the whole first,
// then the time of each phase in an iteration. n counts the policy's parameters, length is the mean of the responses.
func (c benchSmallCmd) measure(ctx context.Context, shape string) (figures []figure, n int64, length float64, err error) {
	t, cfg, err := c.trainer(shape)
	if err != nil {
		return nil, 0, 0, err
	}
	name := fmt.Sprintf("small/%s/%dx%d+%d", shape, c.Episodes, c.Prompt, c.Mean)
	values, limits := map[string][]float64{}, map[string][]float64{}
	var parts []phase
	var lengths float64
	for r := range c.Repeats + 1 { // the first is for warming up, and holds the checks of a run's start
		peak, before, start := peakFLOPS(), t.Times(), time.Now()
		count, tokens := 0.0, 0.0
		for count == 0 || time.Since(start) < time.Second/4 {
			at := t.Iteration()
			for t.Iteration() == at {
				metrics, err := t.Step(ctx)
				if err != nil {
					return nil, 0, 0, err
				}
				tokens += metrics["length"]
			}
			count++
		}
		seconds, after := time.Since(start).Seconds(), t.Times()
		if r == 0 {
			continue
		}
		lengths += tokens / count
		flops := 0.0
		parts = c.phases(shape, cfg, tokens/count)
		for _, p := range parts {
			flops += p.flops
			values[p.name] = append(values[p.name], 1e3*(p.time(after)-p.time(before)).Seconds()/count)
			limits[p.name] = append(limits[p.name], 1e3*p.flops/peak)
		}
		values[name] = append(values[name], float64(c.Episodes)*count/seconds)
		limits[name] = append(limits[name], float64(c.Episodes)*peak/flops)
	}
	figures = append(figures, newFigure(name, "episodes/s", values[name], limits[name]))
	for _, p := range parts {
		figures = append(figures, newFigure(name+"/"+p.name, "ms", values[p.name], limits[p.name]))
	}
	return figures, cfg.NumParams(), lengths / float64(c.Repeats), nil
}

// phases are those of an iteration whose responses have that mean length: between those of the two whole lengths beside it.
func (c benchSmallCmd) phases(shape string, cfg model.Config, length float64) []phase {
	of := benchPPOCmd{Shape: shape, Episodes: c.Episodes, Samples: c.Episodes / c.Topics, Prompt: c.Prompt, Epochs: 1, Critic: ppo.CriticSeparate}
	of.Tokens = int(length)
	all := of.phases(cfg, 0)
	of.Tokens++
	for i, above := range of.phases(cfg, 0) {
		all[i].flops += (length - math.Floor(length)) * (above.flops - all[i].flops)
	}
	return all
}

// trainer makes one for a shape, whose policy, reference, critic and reward model are of that shape.
func (c benchSmallCmd) trainer(shape string) (*ppo.Trainer, model.Config, error) {
	m, err := benchModel(shapeFlags{shape}, c.Prompt+c.Longest)
	if err != nil {
		return nil, model.Config{}, err
	}
	const eos = 3
	if err := endAfter(m, eos, float64(c.Mean), float64(c.Longest)); err != nil {
		return nil, model.Config{}, usageError{fmt.Errorf("--shape %s: %w", shape, err)}
	}
	scored := m.Clone()
	scored.AddHead(model.HeadScore, 2)
	critic, err := ppo.Critic(scored, 0, 1)
	if err != nil {
		return nil, model.Config{}, err
	}
	cfg := ppo.DefaultConfig()
	cfg.Iterations, cfg.Rollouts, cfg.Chunk, cfg.Minibatch, cfg.MaxTokens = 1<<20, c.Episodes, c.Episodes, min(c.Minibatch, c.Episodes), c.Longest
	cfg.LR, cfg.ValueLR, cfg.KL.Min, cfg.KL.Max = 1e-6, 1e-6, -1e6, 0
	rng := rand.New(rand.NewPCG(2, 3))
	prompts := make(ppo.PromptList, c.Episodes)
	for i := range prompts {
		if i >= c.Topics {
			prompts[i] = prompts[i-c.Topics]
			continue
		}
		prompts[i] = make([]int32, c.Prompt)
		for j := range prompts[i] {
			prompts[i][j] = int32(eos + 1 + rng.IntN(m.Config().Vocab-eos-1))
		}
	}
	t, err := ppo.NewTrainer(cfg, m, m, critic, reward.NewScorer(scored, 0, 1), prompts, eos, nil)
	if err != nil {
		return nil, model.Config{}, usageError{err}
	}
	return t, m.Config(), nil
}

// endAfter makes a model of random weights, to which all tokens are about equally likely, draw the token eos so often that the
// mean length of responses of at most longest tokens is mean: a direction that the bias of the last norm gives to every position,
// and eos alone looks along.
func endAfter(m *model.Transformer, eos int, mean, longest float64) error {
	bias := m.Param("ln_f.bias")
	if bias == nil {
		return fmt.Errorf("family %s has no bias in its last norm that could make the end token likely", m.Config().Family)
	}
	lo, hi := 0.0, 1.0 // the probability of eos: the mean length is the sum of those of getting so far
	for range 60 {
		if p := (lo + hi) / 2; (1-math.Pow(1-p, longest))/p > mean {
			lo = p
		} else {
			hi = p
		}
	}
	C := m.Config().Width
	logit := math.Log(lo / (1 - lo) * float64(m.Config().Vocab-1)) // where all others are 0
	for i := range C {
		sign := float32(1 - 2*(i&1)) // zero on average, so that a norm does not take it away
		bias.Data[i] = sign
		m.Param("wte.weight").Data[eos*C+i] = sign * float32(logit/float64(C))
	}
	return nil
}
