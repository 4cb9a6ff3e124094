package web

import (
	"maps"
	"slices"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/web/lang"
)

// measured are what versions of a kind were measured by, in the order of their pages. The meanings are the manual's, in which each stands
// once: those of reward models on the page Reward models, the others on Rounds and models.
var measured = []struct {
	reward  bool // of reward models; else of all other kinds
	name    string
	title   sentence
	meaning sentence
}{
	{true, "heldout_accuracy", "Accuracy on held-out pairs", "share of decided pairs of held-out prompts whose preferred answer has the larger reward; equal rewards count one half"},
	{true, "heldout_low", "Lower end of its interval", "lower end of its 95 percent interval, which does not take pairs of one prompt for independent"},
	{true, "heldout_high", "Upper end of its interval", "upper end of that interval"},
	{true, "heldout_n", "Held-out pairs", "pairs that it is taken over; a pair that two labelers decided counts twice"},
	{true, "agreement", "Agreement of labelers", "share of pairs decided by two labelers that both order alike"},
	{true, "ceiling", "Ceiling of the accuracy", "bound on the accuracy of any judge on labels that agree so far: 1/2 + sqrt((agreement - 1/2)/2)"},
	{true, "heldout_loss", "Loss on held-out pairs", "mean of -log sigmoid(d) over the held-out pairs, nats"},
	{true, "ece", "Calibration error", "calibration error: mean over the pairs of the distance between the probability the model gives its choice and the share it has right, in ten bins"},
	{false, "step", "Training steps", "optimizer steps that made the weights"},
	{false, "tokens", "Tokens learned from", "tokens that it learned from, each time that it read them"},
	{false, "loss", "Loss of the last batch", "mean over the tokens of the last batch of -log pi, nats, before the step"},
	{false, "heldout_loss", "Loss on held-out texts", "mean over the tokens of texts that it did not learn from of -log pi, nats"},
}

// figureLine is a figure of a version on its page.
type figureLine struct {
	Name, Title, Meaning string // of one that nobody here defines only the name
	Value                float64
}

// modelFigures are the figures of a version: those that its kind is measured by, then those that training by this program tells and
// that came with imported weights, then others.
func modelFigures(l *lang.Language, kind string, metrics map[string]float64) []figureLine {
	var out []figureLine
	rest := maps.Clone(metrics)
	add := func(name, title, meaning string) {
		if v, ok := rest[name]; ok {
			out = append(out, figureLine{name, title, meaning, v})
			delete(rest, name)
		}
	}
	for _, m := range measured {
		if m.reward == (kind == registry.Reward) {
			add(m.name, l.T(string(m.title)), l.T(string(m.meaning)))
		}
	}
	for _, m := range ppo.Metrics("") {
		add(m.Name, "", l.T(m.Meaning))
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		add(name, "", "")
	}
	return out
}
