package experiment

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// Sizes of the toy world's decoder.
const (
	SizeFast = "fast" // 108,736 weights
	Size1M   = "1m"   // 1,008,896 weights
)

// InvalidError names an option that cannot be used, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

// recipe is all that the figures of a world and size depend on. Recipes are frozen: learning rates and steps were calibrated on
// seeds from 100 on.
type recipe struct {
	World, Size string
	Language    language

	RewardEpochs, RewardBatch int
	RewardLR                  float64
	RewardScale               bool // rewards of reference answers have standard deviation 1
	Ranked                    int  // prompts behind a seed's reward model
	Weak, WeakBatch           int  // and behind a deliberately weak one, with the prompts of a step
	Relabel                   int  // prompts ranked anew in a second round
	Held                      int  // prompts that accuracies are measured on

	Iterations, Rollouts int // of PPO
	PolicyLR             float64
	Beta                 float64 // KL coefficient of the runs that have none of their own
	Push                 int     // iterations of over-optimisation
	PushRollouts         int
	PushBeta             float64
	EnsembleBeta         float64 // of the policies that are pushed against ensembles
}

// language is what the toy's base and SFT are made by; the starter's are what ships.
type language struct {
	Shape                               model.Config
	BatchTexts, PretrainSteps, SFTSteps int     // texts of a step; steps
	PretrainLR, SFTLR                   float64 // peak rates
}

func newRecipe(world, size string) (recipe, error) {
	if world == "" {
		world = WorldToy
	}
	if size == "" {
		size = SizeFast
	}
	r := recipe{
		World: world, Size: size,
		Language: language{
			Shape: model.Config{
				Family: "gpt2", Vocab: simulate.ToyVocab, Context: 79, Layers: 2, Width: 64, Heads: 4, Tied: true,
				BOS: int(simulate.ToyBOS), EOS: int(simulate.ToyEOS), // 79 positions, of which the toy uses 23
			},
			BatchTexts: 64, PretrainSteps: 600, SFTSteps: 1200, PretrainLR: 3e-3, SFTLR: 3e-3,
		},
		RewardEpochs: 4, RewardBatch: 16, RewardLR: 1e-3, Ranked: 1024, Weak: 512, WeakBatch: 8, Relabel: 512, Held: 1000,
		Iterations: 24, Rollouts: 192, PolicyLR: 1e-3, Beta: 0.2, Push: 48, PushRollouts: 256, PushBeta: 0.01, EnsembleBeta: 0.05,
	}
	switch {
	case world == WorldStarter && size == SizeFast:
		r.Language, r.Held, r.Push = language{}, 400, 24
		r.RewardEpochs, r.RewardScale, r.PolicyLR, r.Beta, r.PushBeta = 2, true, 3e-4, 0.4, 0.02 // as in rankloop demo
	case world == WorldStarter:
		return r, &InvalidError{"size", fmt.Sprintf("%q: the starter model has the one size that ships", size)}
	case world != WorldToy:
		return r, &InvalidError{"world", fmt.Sprintf("%q is none of toy, starter", world)}
	case size == Size1M:
		r.Language.Shape.Layers, r.Language.Shape.Width = 5, 128
		r.Language.PretrainLR, r.Language.SFTLR, r.RewardLR, r.PolicyLR = 1.5e-3, 1.5e-3, 5e-4, 5e-4
	case size != SizeFast:
		return r, &InvalidError{"size", fmt.Sprintf("%q is none of fast, 1m", size)}
	}
	return r, nil
}

// reward is the recipe of every reward model here.
func (r recipe) reward(seed int) reward.Config {
	c := reward.DefaultConfig()
	c.Epochs, c.Batch, c.LR, c.Warmup, c.Seed, c.Scale = r.RewardEpochs, r.RewardBatch, r.RewardLR, 10, uint64(seed), r.RewardScale
	return c
}

// ppo is the recipe of every PPO run here.
func (r recipe) ppo(w world, seed int) ppo.Config {
	c := ppo.DefaultConfig()
	c.Iterations, c.Rollouts, c.Minibatch, c.Epochs = r.Iterations, r.Rollouts, 64, 1
	c.MaxTokens, c.Chunk, c.Seed = w.longest(), r.Rollouts, uint64(seed)
	c.LR, c.ValueLR = r.PolicyLR, r.PolicyLR
	c.KL.Coef = r.Beta
	return c
}

// digest names what the bits of a model or a report depend on, besides the class of kernels, which it adds.
func digest(of ...any) string {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(append(of, kernel.Class())); err != nil {
		panic(err) // numbers and strings only
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Purposes of random draws: each has streams of its own, so that what one seed sees in one place is never what another sees.
const (
	forInit = 1 + iota
	forCorpus
	forDemos
	forHeldOut
	forReference
	forOrder
	forLook
	forRanked
	forLabels
	forPrompts
	forPolicy
	forSFT
	forCanary
	forBestOf
	forRelabel
	forProbe
)

// stream is the seed of a purpose's draws. Seeds of experiments are below 2^32.
func stream(purpose uint64, seed int) uint64 { return purpose<<32 | uint64(seed) }
