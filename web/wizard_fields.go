package web

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rankloop/rankloop/model/train"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/reward"
	"github.com/rankloop/rankloop/web/lang"
)

// Steps of the wizard, in order.
const (
	stepParts    = "parts"
	stepData     = "data"
	stepTraining = "training"
	stepGates    = "gates"
	stepSummary  = "summary"
)

// wizardSteps names them.
var wizardSteps = []struct {
	ID   string
	Name sentence
}{{stepParts, "What it does"}, {stepData, "Data"}, {stepTraining, "Training"}, {stepGates, "Gates and promotion"}, {stepSummary, "Summary and start"}}

// fieldOf is a number of a round's settings that the wizard asks for.
type fieldOf struct {
	Name    string // as Config.Validate calls it
	Step    string
	Part    loop.Stage // only where the round has it; empty: always
	Percent bool
	at      func(c *loop.Config) any // *int or *float64
}

// wizardFields are the numbers of all steps, with what each means.
var wizardFields = []struct {
	Label sentence
	Help  sentence
	fieldOf
}{
	{"Prompts", "Prompts that the policy answers and people rank.", fieldOf{"prompts", stepData, loop.StageRank, false, func(c *loop.Config) any { return &c.Prompts }}},
	{"Answers per prompt", "4 to 9. Each ranking of k answers gives up to k(k-1)/2 comparisons.", fieldOf{"k", stepData, loop.StageRank, false, func(c *loop.Config) any { return &c.K }}},
	{"Labelers of a shared prompt", "How many people rank the same answers where they are shared: what agreement is measured on.", fieldOf{"overlap", stepData, loop.StageRank, false, func(c *loop.Config) any { return &c.Overlap }}},
	{"Shared prompts, %", "Of all prompts of the round.", fieldOf{"overlap_share", stepData, loop.StageRank, true, func(c *loop.Config) any { return &c.OverlapShare }}},
	{"Held-out prompts", "Prompts of the test split that the new policy is compared on with the supervised and the serving one.", fieldOf{"eval_prompts", stepData, loop.StagePPO, false, func(c *loop.Config) any { return &c.EvalPrompts }}},
	{"Longest answer, tokens", "The end token included. An answer that is cut there has not ended by itself.", fieldOf{"max_tokens", stepData, "", false, func(c *loop.Config) any { return &c.MaxTokens }}},

	{"Passes over the demonstrations", "Two or three; more learns them by heart.", fieldOf{"sft.epochs", stepTraining, loop.StageSFT, false, func(c *loop.Config) any { return &c.SFT.Epochs }}},
	{"Learning rate of the supervised policy", "The peak; it falls in half a cosine.", fieldOf{"sft.lr", stepTraining, loop.StageSFT, false, func(c *loop.Config) any { return &c.SFT.LR }}},
	{"Passes over the rankings", "InstructGPT takes one with large models; small ones need a few.", fieldOf{"reward.epochs", stepTraining, loop.StageReward, false, func(c *loop.Config) any { return &c.Reward.Epochs }}},
	{"Prompts of a reward step", "All comparisons of a prompt stand in one step.", fieldOf{"reward.batch", stepTraining, loop.StageReward, false, func(c *loop.Config) any { return &c.Reward.Batch }}},
	{"Learning rate of the reward model", "The peak; it falls in half a cosine.", fieldOf{"reward.lr", stepTraining, loop.StageReward, false, func(c *loop.Config) any { return &c.Reward.LR }}},
	{"PPO iterations", "Each samples its episodes anew and then learns from them.", fieldOf{"ppo.iterations", stepTraining, loop.StagePPO, false, func(c *loop.Config) any { return &c.PPO.Iterations }}},
	{"Episodes of an iteration", "Answers that are sampled and learned from. Iterations times this is the budget of episodes.", fieldOf{"ppo.rollouts", stepTraining, loop.StagePPO, false, func(c *loop.Config) any { return &c.PPO.Rollouts }}},
	{"Episodes of an optimizer step", "At most those of an iteration.", fieldOf{"ppo.minibatch", stepTraining, loop.StagePPO, false, func(c *loop.Config) any { return &c.PPO.Minibatch }}},
	{"Passes over an iteration", "InstructGPT takes one, Stiennon and Ziegler four.", fieldOf{"ppo.epochs", stepTraining, loop.StagePPO, false, func(c *loop.Config) any { return &c.PPO.Epochs }}},
	{"Learning rate of the policy", "Small models need 100 to 300 times that of the papers.", fieldOf{"ppo.lr", stepTraining, loop.StagePPO, false, func(c *loop.Config) any { return &c.PPO.LR }}},
	{"Learning rate of the critic", "Mostly as the policy's.", fieldOf{"ppo.value_lr", stepTraining, loop.StagePPO, false, func(c *loop.Config) any { return &c.PPO.ValueLR }}},
	{"KL coefficient", "How strongly the policy is held to the supervised one.", fieldOf{"ppo.kl.coef", stepTraining, loop.StagePPO, false, func(c *loop.Config) any { return &c.PPO.KL.Coef }}},
	{"KL at which PPO stops, nats", "The run goes back to the last sound weights. 0 is no limit.", fieldOf{"ppo.kl.max", stepTraining, loop.StagePPO, false, func(c *loop.Config) any { return &c.PPO.KL.Max }}},

	{"Agreement at least, %", "Between rankings and reward model: two labelers order so many pairs alike. 0 is no gate.", fieldOf{"gates.agreement", stepGates, loop.StageRank, true, func(c *loop.Config) any { return &c.Gates.Agreement }}},
	{"Reward accuracy at least, %", "Between reward model and PPO: right in so many held-out pairs. 0 is no gate.", fieldOf{"gates.reward_accuracy", stepGates, loop.StageReward, true, func(c *loop.Config) any { return &c.Gates.RewardAccuracy }}},
	{"KL at most, nats", "Between PPO and evaluation: of the last iteration. 0 is no gate.", fieldOf{"gates.kl", stepGates, loop.StagePPO, false, func(c *loop.Config) any { return &c.Gates.KL }}},
	{"KL of a policy that may be promoted, nats", "Measured in the evaluation, per answer.", fieldOf{"max_kl", stepGates, loop.StagePPO, false, func(c *loop.Config) any { return &c.MaxKL }}},
	{"Reward accuracy that is stale, %", "After a promotion, answers of the new policy are ranked; a reward model that is right in less is stale, and more are ordered. 0 asks for nothing.", fieldOf{"relabel.below", stepGates, loop.StagePPO, true, func(c *loop.Config) any { return &c.Relabel.Below }}},
}

// partNames say what a part of a round does.
var partNames = map[loop.Stage]sentence{
	loop.StageSFT: "Supervised fine-tuning", loop.StageRank: "Sampling and ranking", loop.StageReward: "Reward model", loop.StagePPO: "PPO, evaluation and promotion",
}

// partHelp explains it.
var partHelp = map[loop.Stage]sentence{
	loop.StageSFT:    "A policy learns people's demonstrations; the rest of the round starts from it.",
	loop.StageRank:   "The policy answers prompts several times, and people rank the answers.",
	loop.StageReward: "A model learns the rankings.",
	loop.StagePPO:    "The policy is moved towards the reward, compared with the former one, and promoted by the rule or a person.",
}

// inputOf is a field as the page shows it.
type inputOf struct {
	Name, Label, Help, Value, Error string
	Part                            loop.Stage
}

// show writes a number as a form takes it.
func (f fieldOf) show(c *loop.Config) string {
	switch v := f.at(c).(type) {
	case *int:
		return strconv.Itoa(*v)
	case *float64:
		x := *v
		if f.Percent {
			x = math.Round(x*1e8) / 1e6
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return ""
}

// set reads what was typed.
func (f fieldOf) set(c *loop.Config, text string) error {
	text = strings.TrimSpace(text)
	switch at := f.at(c).(type) {
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return bad(f.Name, "must be a whole number")
		}
		*at = n
	case *float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return bad(f.Name, "must be a number")
		}
		if f.Percent {
			x /= 100
		}
		*at = x
	}
	return nil
}

// asked says whether a round with these settings has the field.
func (f fieldOf) asked(c loop.Config) bool { return f.Part == "" || c.Has(f.Part) }

// inputs are the fields of a step, with what was typed where that is given.
func inputs(l *lang.Language, step string, c loop.Config, typed map[string]string, wrong fault) (out []inputOf) {
	for _, f := range wizardFields {
		if f.Step != step || !f.asked(c) {
			continue
		}
		in := inputOf{Name: f.Name, Label: l.T(string(f.Label)), Help: l.T(string(f.Help)), Value: f.show(&c), Part: f.Part}
		if v, ok := typed[f.Name]; ok {
			in.Value = v
		}
		if wrong.Field == f.Name {
			in.Error = wrong.Reason
		}
		out = append(out, in)
	}
	return out
}

// fault is what is wrong with the settings, and where the wizard asks for it.
type fault struct{ Field, Reason, Step string }

// otherFields are what the wizard asks for beside numbers, by the step that does.
var otherFields = map[string]string{"parts": stepParts, "base": stepParts, "policy": stepParts, "snapshot": stepData, "reward_model": stepData, "preset": stepTraining,
	"hours": stepTraining, "promotion": stepGates, "cron": stepSummary, "time_zone": stepSummary, "rankings": stepSummary, "accuracy_below": stepSummary, "name": stepSummary, "seed": stepSummary}

// faultOf finds the field that an error is about; ok is false for errors that are of no field.
func faultOf(err error) (f fault, ok bool) {
	var own *loop.InvalidError
	var training *ppo.InvalidError
	var rewards *reward.InvalidError
	var supervised *train.InvalidError
	p, known := problemOf(err)
	switch {
	case errors.As(err, &training):
		f.Field, f.Reason = "ppo."+training.Field, training.Reason
	case errors.As(err, &rewards):
		f.Field, f.Reason = "reward."+rewards.Field, rewards.Reason
	case errors.As(err, &supervised):
		f.Field, f.Reason = "sft."+supervised.Field, supervised.Reason
	case errors.As(err, &own):
		f.Field, f.Reason = own.Field, own.Reason
	case known && len(p.Errors) > 0:
		f.Field, f.Reason = strings.TrimPrefix(p.Errors[0].Pointer, "/"), p.Errors[0].Detail
	default:
		return f, false
	}
	f.Step = otherFields[f.Field]
	at := slices.IndexFunc(wizardFields, func(w struct {
		Label sentence
		Help  sentence
		fieldOf
	}) bool {
		return w.Name == f.Field
	})
	if at >= 0 {
		f.Step = wizardFields[at].Step
	}
	return f, true
}

// checkRound is Config.Validate, with the names of the trainings' own fields.
func checkRound(c loop.Config) error {
	for _, part := range []struct {
		has   loop.Stage
		check func() error
	}{{loop.StageSFT, c.SFT.Validate}, {loop.StageReward, c.Reward.Validate}, {loop.StagePPO, c.PPO.Validate}} {
		if c.Has(part.has) {
			if err := part.check(); err != nil {
				return err
			}
		}
	}
	return c.Validate()
}
