package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/ppo"
)

// lab makes what experiments share, each thing once: the pretrained and the fine-tuned model, each seed's reward models and
// policies. It is safe for concurrent use.
type lab struct {
	recipe  recipe
	world   world
	models  string // digest of what base and SFT come from
	digest  string // of recipe and models
	cache   string
	workers int
	log     func(string)
	fault   ppo.Fault // planted in every policy run, for tests

	corpus, demos []model.Sequence // of the toy

	language shelf[*model.Transformer]
	rewards  shelf[rewardModel]
	policies shelf[outcome]
	held     shelf[rankedSet]
	answers  shelf[[]answer] // of SFT, by what for and seed

	spent struct {
		sync.Mutex
		episodes int
		ppo      time.Duration
	}
}

// shelf keeps things by name and makes each once, whoever asks first.
type shelf[T any] struct {
	mu   sync.Mutex
	made map[string]func() (T, error)
}

func (s *shelf[T]) get(name string, make func() (T, error)) (T, error) {
	s.mu.Lock()
	f, ok := s.made[name]
	if !ok {
		if s.made == nil {
			s.made = map[string]func() (T, error){}
		}
		f = sync.OnceValues(make)
		s.made[name] = f
	}
	s.mu.Unlock()
	return f()
}

func newLab(opt Options) (*lab, error) {
	r, err := newRecipe(opt.World, opt.Size)
	if err != nil {
		return nil, err
	}
	l := &lab{recipe: r, cache: opt.Cache, workers: opt.Workers}
	var saying sync.Mutex
	l.log = func(line string) {
		if opt.Log != nil {
			saying.Lock()
			defer saying.Unlock()
			opt.Log(line)
		}
	}
	if r.World == WorldStarter {
		sft, err := starter.SFT()
		if err != nil {
			return nil, err
		}
		if l.world, err = newStarterWorld(sft); err != nil {
			return nil, err
		}
		l.models = digest(sft.Model.Digest())
		l.digest = digest(r, l.models)
		return l, nil
	}
	l.world = toyWorld{simulate.Toy()}
	l.prepare()
	return l, nil
}

// prepare draws the toy's texts.
func (l *lab) prepare() {
	r := l.recipe.Language
	l.corpus = l.world.corpus(stream(forCorpus, 0), r.PretrainSteps*r.BatchTexts)
	l.demos = l.world.demos(stream(forDemos, 0), r.SFTSteps*r.BatchTexts)
	l.models = digest(r, l.corpus, l.demos)
	l.digest = digest(l.recipe, l.models)
}

// pretraining lists the texts of a pretraining mix: those of the base, of the starter's the first.
func (l *lab) pretraining() []model.Sequence {
	if l.recipe.World == WorldStarter {
		return l.world.corpus(starter.Default().Seed, starterMixTexts)
	}
	return l.corpus
}

// Base returns the pretrained model.
func (l *lab) Base(ctx context.Context) (*model.Transformer, error) {
	return l.language.get("base", func() (*model.Transformer, error) {
		if l.recipe.World == WorldStarter {
			return shipped(starter.Base())
		}
		return l.cached("base", func() (*model.Transformer, error) {
			m, err := model.New(l.recipe.Language.Shape, stream(forInit, 0))
			if err != nil {
				return nil, err
			}
			return m, l.fit(ctx, "pretraining", m, l.corpus, l.recipe.Language.PretrainSteps, l.recipe.Language.PretrainLR)
		})
	})
}

// SFT returns the model fine-tuned on demonstrations.
func (l *lab) SFT(ctx context.Context) (*model.Transformer, error) {
	return l.language.get("sft", func() (*model.Transformer, error) {
		if l.recipe.World == WorldStarter {
			return shipped(starter.SFT())
		}
		return l.cached("sft", func() (*model.Transformer, error) {
			base, err := l.Base(ctx)
			if err != nil {
				return nil, err
			}
			m := base.Clone()
			return m, l.fit(ctx, "fine-tuning", m, l.demos, l.recipe.Language.SFTSteps, l.recipe.Language.SFTLR)
		})
	})
}

// shipped takes the model out of a checkpoint whose weights must not be changed: everything here trains clones.
func shipped(c *checkpoint.Checkpoint, err error) (*model.Transformer, error) {
	if err != nil {
		return nil, err
	}
	return c.Model, nil
}

// cached returns the model of that name in the cache, and makes and keeps it where there is none. A folder that cannot be read
// is made anew.
func (l *lab) cached(name string, make func() (*model.Transformer, error)) (*model.Transformer, error) {
	if l.cache == "" {
		return make()
	}
	dir := filepath.Join(l.cache, l.models[:16], name)
	if c, err := checkpoint.Load(dir); err == nil {
		l.log(fmt.Sprintf("%s: taken from %s", name, dir))
		return c.Model, nil
	}
	m, err := make()
	if err != nil {
		return nil, err
	}
	c := &checkpoint.Checkpoint{Model: m, Card: checkpoint.Card{Kind: name, Snapshot: l.models, Notes: "of rankloop experiment"}}
	if err := c.Save(dir, "F32"); err != nil {
		return nil, fmt.Errorf("keep %s: %w", name, err)
	}
	return m, nil
}

// fit minimises the next-token cross entropy of texts from their Start on: cosine learning rate to a tenth, 20 steps of
// warm-up.
func (l *lab) fit(ctx context.Context, what string, m *model.Transformer, texts []model.Sequence, steps int, peak float64) error {
	opt := model.NewAdamW()
	var order []int
	rng := rand.New(rand.NewPCG(stream(forOrder, 0), uint64(steps)))
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := make([]model.Sequence, 0, l.recipe.Language.BatchTexts)
		for len(batch) < l.recipe.Language.BatchTexts {
			if len(order) == 0 {
				order = rng.Perm(len(texts))
			}
			batch, order = append(batch, texts[order[0]]), order[1:]
		}
		pass := m.Forward(batch, model.WantLogprobs)
		loss, grad := ppo.PtxLoss(widen(pass.Logprobs))
		pass.Backward(model.Grads{Logprobs: narrow(grad)})
		lr := peak * (0.1 + 0.45*(1+math.Cos(math.Pi*float64(step)/float64(steps)))) * math.Min(1, float64(step+1)/20)
		if _, err := opt.Step(m, float32(lr)); err != nil {
			return fmt.Errorf("%s, step %d: %w", what, step, err)
		}
		if step%100 == 99 || step == steps-1 {
			l.log(fmt.Sprintf("%s: step %d of %d, %.3f nats per token", what, step+1, steps, loss))
		}
	}
	return nil
}

// speed is how long the work has taken since start.
func (l *lab) speed(start time.Time, tasks int) Speed {
	l.spent.Lock()
	defer l.spent.Unlock()
	return Speed{Wall: time.Since(start), Tasks: tasks, Episodes: l.spent.episodes, PPO: l.spent.ppo}
}

// crossEntropy is the mean of texts from their Start on, nats per token.
func crossEntropy(m *model.Transformer, texts []model.Sequence) float64 {
	sum, n := 0.0, 0
	for len(texts) > 0 {
		k := min(256, len(texts))
		for _, row := range m.Score(texts[:k], model.WantLogprobs).Logprobs {
			for _, lp := range row {
				sum -= float64(lp)
				n++
			}
		}
		texts = texts[k:]
	}
	return sum / float64(n)
}

func widen(rows [][]float32) [][]float64 {
	out := make([][]float64, len(rows))
	for i, row := range rows {
		out[i] = make([]float64, len(row))
		for j, x := range row {
			out[i][j] = float64(x)
		}
	}
	return out
}

func narrow(rows [][]float64) [][]float32 {
	out := make([][]float32, len(rows))
	for i, row := range rows {
		out[i] = make([]float32, len(row))
		for j, x := range row {
			out[i][j] = float32(x)
		}
	}
	return out
}
