package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model/starter"
)

type trainCmd struct {
	Pretrain trainPretrainCmd `cmd:"" help:"Next-token training on texts."`
	Sft      trainSFTCmd      `cmd:"" help:"Supervised fine-tuning on prompts with completions."`
	Reward   trainRewardCmd   `cmd:"" help:"A reward model from rankings."`
	Ppo      trainPPOCmd      `cmd:"" help:"PPO against a reward model, with a critic."`
	Grpo     trainGRPOCmd     `cmd:"" help:"GRPO against a reward model: several responses to a prompt are each other's baseline."`
	Rloo     trainRLOOCmd     `cmd:"" help:"REINFORCE with a leave-one-out baseline against a reward model."`
	Dpo      trainDPOCmd      `cmd:"" help:"DPO on rankings, without a reward model."`

	Rejection trainRejectionCmd `cmd:"" help:"Rejection sampling: fine-tuning on the best of n of the policy's own responses."`
	BestOfN   trainBestOfNCmd   `cmd:"" name:"best-of-n" help:"Draw the best of n responses; nothing is trained."`

	Metrics trainMetricsCmd `cmd:"" help:"What the figures of a run mean."`
	Options trainOptionsCmd `cmd:"" help:"What the fields of a configuration mean, with presets."`
	Compare trainCompareCmd `cmd:"" help:"Plot the figures of several runs."`
	Starter trainStarterCmd `cmd:"" help:"The starter model, from its recipe."`
}

// trainFlags are what all offline training shares.
type trainFlags struct {
	Config string   `help:"JSON configuration." type:"existingfile" placeholder:"FILE"`
	Set    []string `help:"Set a field of the configuration, such as --set reward.lr=0.001." placeholder:"KEY=VALUE" sep:"none"`
	Out    string   `required:"" help:"Folder for the finished model, the metrics and the state." placeholder:"DIR"`
	Resume bool     `help:"Go on with an interrupted run."`

	SaveState time.Duration `help:"How often the state to resume from is written." default:"30s" hidden:""`
}

// readPrompts reads a text file, one prompt a line.
func readPrompts(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no prompts", file)
	}
	return out, nil
}

type trainStarterCmd struct {
	Out string `required:"" help:"Folder for base and sft." placeholder:"DIR"`
	Set string `help:"Fields of the recipe to change, as a JSON object." placeholder:"JSON"`
}

func (trainStarterCmd) Help() string {
	return "Makes the weights that ship, to the bit on the same class of kernels.\n\nExample:\n  rankloop train starter --out starter"
}

func (c trainStarterCmd) Run(ctx context.Context, std streams) error {
	r := starter.Default()
	if c.Set != "" {
		if err := strictJSON([]byte(c.Set), &r); err != nil {
			return usageError{fmt.Errorf("--set: %w", err)}
		}
	}
	w := simulate.Starter()
	pairs := func(list []simulate.Demonstration) (out [][2]string) {
		for _, d := range list {
			out = append(out, [2]string{d.Prompt, d.Response})
		}
		return out
	}
	data := starter.Data{
		Texts: w.Corpus(r.Seed, r.Texts), HeldOutTexts: w.Corpus(simulate.HeldOut(r.Seed), r.HeldOut),
		Demos: pairs(w.Demonstrations(r.Seed, r.Demos)), HeldOutDemos: pairs(w.Demonstrations(simulate.HeldOut(r.Seed), r.HeldOut)),
	}
	show := newProgress(std.err)
	defer show.end()
	return starter.Train(ctx, r, data, c.Out, func(phase string, step, total int, m map[string]float64) {
		show.show(phase, step, total, "steps"+brief(m))
	})
}
