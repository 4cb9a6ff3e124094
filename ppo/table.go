package ppo

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Option is a field of a configuration, with what it is at each preset.
type Option struct {
	Name    string // JSON path
	Meaning string
	Source  string   // where it comes from; "" where it is bookkeeping
	Values  []string // of the presets, in the order of Columns
}

// meanings explains every field of every configuration, by its JSON path. A field that several have is explained once.
var meanings = map[string][2]string{
	"iterations":           {"rollout batches", ""},
	"rollouts":             {"episodes of an iteration", "InstructGPT C.4: 512"},
	"prompts":              {"prompts of an iteration", ""},
	"samples":              {"responses to each prompt: the group", "DeepSeekMath: 64; Back to basics: 2 or 4"},
	"minibatch":            {"episodes of an optimizer step", "InstructGPT C.4: 64"},
	"epochs":               {"passes over what an iteration has sampled (DPO: over the pairs)", "InstructGPT C.4: 1; Stiennon, Ziegler: 4"},
	"max_tokens":           {"longest response, the end token included", ""},
	"chunk":                {"episodes sampled in one unit of work (best of n: prompts)", ""},
	"lr":                   {"the policy's learning rate", "small models need 100 to 300 times the papers'"},
	"value_lr":             {"the critic's learning rate", "InstructGPT C.4: 9e-6"},
	"warmup":               {"iterations of linear warm-up from a tenth (DPO: optimizer steps)", "InstructGPT C.4: 10"},
	"schedule":             {"constant, linear (to 0) or cosine (to a tenth)", "InstructGPT: constant; Ziegler: linear"},
	"adam":                 {"torch, or tensorflow: epsilon beside the uncorrected root, smaller early steps", "N details, 2023"},
	"adam_eps":             {"Adam's epsilon", "Ziegler, N+: 1e-5"},
	"beta1":                {"Adam's decay of the first moment; 0 = 0.9", ""},
	"beta2":                {"Adam's decay of the second moment; 0 = 0.95", "InstructGPT C: 0.95; TensorFlow: 0.999"},
	"decay":                {"AdamW's weight decay", ""},
	"clip_norm":            {"largest gradient norm, for policy and critic each; 0 = not clipped", ""},
	"gamma":                {"discount", "InstructGPT C.4: 1"},
	"lambda":               {"of GAE", "Stiennon B.1: 0.95"},
	"clip":                 {"half width of the ratio's interval (RLOO: of the response's ratio, 0 = no clip)", "PPO eq. 7: 0.2"},
	"dual_clip":            {"largest factor on a negative advantage; 0 = none", "Ye et al. 2020 eq. 5: 3"},
	"value_clip":           {"half width of the interval round the old value", "Ziegler: 0.2"},
	"value_coef":           {"weight of the critic's loss", "Ziegler: 0.1"},
	"entropy":              {"weight of the entropy bonus", "PPO eq. 9"},
	"target_kl":            {"approxkl above which an iteration's remaining steps are left out; 0 = none", "PPO's early stopping"},
	"precision":            {"float32, or mixed: products of bfloat16 factors", ""},
	"critic":               {"separate (a network of its own, from the reward model) or shared (a head on the policy)", "InstructGPT; Ziegler"},
	"whiten_rewards":       {"scale token rewards to variance 1, keeping the mean", "Ziegler: yes; N+: no"},
	"whiten_per_minibatch": {"whiten within each minibatch, not the rollout batch", "lm-human-preferences"},
	"raw_advantages":       {"do not whiten advantages", "DeepSpeed-Chat"},
	"whiten":               {"scale advantages of an iteration to mean 0 and variance 1", ""},
	"temperature":          {"of sampling, and of every log-probability with it, so that the first ratio is 1; 0 = 1", "Ziegler, N+: 0.7"},
	"truncate.token":       {"id after which a response ends besides its end token", "Ziegler: '.'"},
	"truncate.after":       {"tokens that come before in any case", "Ziegler: 16"},
	"kl.coef":              {"coefficient of the KL penalty in the reward, beta; with a target the start", "InstructGPT eq. 2: 0.02"},
	"kl.target":            {"nats per episode that the coefficient is steered to; 0 = fixed", "Ziegler 2.2: 6"},
	"kl.horizon":           {"episodes of the controller", "Ziegler: 10000"},
	"kl.min":               {"KL per episode below which the run stops and goes back", "samples are not the policy's"},
	"kl.max":               {"KL per episode above which the run stops and goes back; 0 = no limit", ""},
	"kl.estimator":         {"k1, k2 or k3, of the penalty in the reward", "Schulman 2020"},
	"kl.loss_coef":         {"weight of the KL as a term of the loss; 0 = none", "DeepSeekMath eq. 3"},
	"kl.loss_form":         {"k3 or k2, of that term", "DeepSeekMath eq. 4: k3"},
	"kl_form":              {"k3 or k2", "DeepSeekMath eq. 4: k3"},
	"kl_min":               {"KL per episode below which the run stops and goes back", "samples are not the policy's"},
	"kl_max":               {"KL per episode above which the run stops and goes back; 0 = no limit", ""},
	"eos.missing":          {"score of a response without its end: set, subtract or keep", "N+: set; TRL: subtract"},
	"eos.value":            {"the value that is set or subtracted", "N+: -1"},
	"score.scale":          {"divide scores by a standard deviation: none, running or reference", "trlx"},
	"score.clip":           {"hold scores to [-clip, clip]; 0 = not", "DeepSpeed-Chat: 5; OpenRLHF: 10"},
	"ptx.coef":             {"weight of the pretraining loss; 0 = no mix", "InstructGPT eq. 2"},
	"ptx.ratio":            {"norm of the mix's gradient by PPO's; chooses the coefficient; 0 = fixed", "in the place of 27.8, which is tied to how OpenAI's losses are reduced"},
	"ptx.batch":            {"texts per optimizer step", "InstructGPT C.4: 8 for each episode"},
	"guard.ratio":          {"mean ratio of a minibatch above which the run stops and goes back; 0 = no limit", "TRL's ratio_threshold: 10"},
	"ema":                  {"decay of the averaged weights per optimizer step; 0 = none", "InstructGPT C.4: 0.992"},
	"seed":                 {"of sampling and of every order", ""},
	"micro_tokens":         {"tokens of a pass: memory", ""},
	"beta":                 {"hold to the reference: GRPO's KL in the loss, RLOO's in the reward, DPO's temperature", "DeepSeekMath: 0.04; DPO: 0.1"},
	"std":                  {"divide by the group's standard deviation", "DeepSeekMath 4.1.2: yes; Dr. GRPO: no"},
	"reduce":               {"the loss is a mean over: sequence, token or constant", "DeepSeekMath, DAPO, Dr. GRPO"},
	"keep":                 {"responses of each group that are learned, the best first", "Llama 2, 3.2.3: 1"},
	"batch":                {"pairs of an optimizer step", ""},
	"loss":                 {"sigmoid or ipo", "DPO eq. 7; IPO eq. 17"},
	"smoothing":            {"share of pairs whose label is taken to be wrong", "cDPO, Mitchell 2023"},
	"n":                    {"responses to each prompt", "AlpacaFarm: 16"},
}

// columns are the configurations that the options of a kind are shown for.
func columns(kind string) (names []string, configs []any) {
	switch kind {
	case KindPPO:
		for _, p := range presets {
			c := DefaultConfig()
			p.change(&c)
			names, configs = append(names, p.name), append(configs, c)
		}
		return names, configs
	case KindGRPO:
		return []string{"default"}, []any{DefaultGRPO()}
	case KindRLOO:
		return []string{"default"}, []any{DefaultRLOO()}
	case KindRejection:
		return []string{"default"}, []any{DefaultRejection()}
	case KindDPO:
		return []string{"default"}, []any{DefaultDPO()}
	case KindBestOfN:
		return []string{"default"}, []any{DefaultBestOfN()}
	}
	return nil, nil
}

// Kinds lists the kinds of training of this package.
func Kinds() []string {
	return []string{KindPPO, KindGRPO, KindRLOO, KindDPO, KindRejection, KindBestOfN}
}

// Columns names the presets of a kind of training, or "default".
func Columns(kind string) []string {
	names, _ := columns(kind)
	return names
}

// Options lists every field of a kind's configuration in its order; nil for an unknown kind.
func Options(kind string) (out []Option) {
	_, configs := columns(kind)
	for i, c := range configs {
		for j, f := range fields(reflect.ValueOf(c), "") {
			if i == 0 {
				m := meanings[f.name]
				out = append(out, Option{Name: f.name, Meaning: m[0], Source: m[1]})
			}
			out[j].Values = append(out[j].Values, f.value)
		}
	}
	return out
}

type field struct{ name, value string }

// unset is what a zero stands for, where it is not the value itself.
var unset = map[string]string{"temperature": "1", "beta1": "0.9", "beta2": "0.95", "adam": AdamTorch, "precision": "float32", "critic": CriticSeparate,
	"kl.estimator": KLK1, "kl.loss_form": KLK3, "kl_form": KLK3, "score.scale": ScaleNone, "loss": DPOSigmoid}

// fields lists the JSON paths and values of a struct.
func fields(v reflect.Value, prefix string) (out []field) {
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		name, _, _ := strings.Cut(t.Tag.Get("json"), ",")
		if f.Kind() == reflect.Pointer { // nil shows the fields that it would have
			nothing := f.IsNil()
			if nothing {
				f = reflect.New(f.Type().Elem())
			}
			inner := fields(f.Elem(), prefix+name+".")
			for j := range inner {
				if nothing {
					inner[j].value = "none"
				}
			}
			out = append(out, inner...)
			continue
		}
		switch {
		case t.Anonymous:
			out = append(out, fields(f, prefix)...)
		case f.Kind() == reflect.Struct:
			out = append(out, fields(f, prefix+name+".")...)
		default:
			value := fmt.Sprint(f.Interface())
			if other, ok := unset[prefix+name]; ok && f.IsZero() {
				value = other
			}
			out = append(out, field{prefix + name, value})
		}
	}
	return slices.Clip(out)
}
