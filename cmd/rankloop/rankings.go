package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/reward"
)

// dataFlags say which rankings are read, and how.
type dataFlags struct {
	Data   []string `help:"Files of rankings." type:"existingfile" placeholder:"FILE"`
	Format string   `help:"Their format, as of 'rankloop import'; rankings.jsonl if left out." placeholder:"FORMAT"`
	Preset string   `help:"Columns of published pairs: pandalm, autoj or llmbar." placeholder:"NAME"`
	Map    string   `help:"Columns of pairs, as of 'rankloop import'." placeholder:"MAP"`
	Limit  int      `help:"Only so many rankings, the first ones; 0 = all." placeholder:"N"`
}

// read gives the rankings of files, and tells on stderr what could not be used.
func (f dataFlags) read(std streams, files []string) ([]labeling.Record, error) {
	switch {
	case f.Format != "" && !slices.Contains(labeling.FormatNames(), f.Format):
		return nil, usageError{fmt.Errorf("--format %s: there is %s", f.Format, strings.Join(labeling.FormatNames(), ", "))}
	case f.Preset != "" && !slices.Contains(labeling.Presets(), f.Preset):
		return nil, usageError{fmt.Errorf("--preset %s: there is %s", f.Preset, strings.Join(labeling.Presets(), ", "))}
	case f.Limit < 0:
		return nil, usageError{fmt.Errorf("--limit %d: a number from 0 on is wanted", f.Limit)}
	}
	var out []labeling.Record
	for _, file := range files {
		list, err := readRankings(std.err, file, labeling.Reading{Format: f.Format, Preset: f.Preset, Columns: f.Map})
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	if f.Limit > 0 {
		out = out[:min(f.Limit, len(out))]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no rankings", strings.Join(files, ", "))
	}
	return out, nil
}

// tellFormat asks readRankings to tell the format by the file's first record.
const tellFormat = "?"

// readRankings reads a file, plain or gzip: rankings.jsonl strictly where how says nothing, else what 'rankloop import' reads,
// of which it leaves out what is no ranking and tells what was rejected.
func readRankings(log io.Writer, file string, how labeling.Reading) ([]labeling.Record, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if how.Format == tellFormat {
		how.Format = ""
	} else if how == (labeling.Reading{}) {
		list, err := labeling.ReadRankings(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w (for another format say --format or --preset)", file, err)
		}
		return list, nil
	}
	var list []labeling.Record
	report, err := labeling.Import(f, how, func(r labeling.Record) error {
		if r.Kind == labeling.Ranked {
			list = append(list, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, reason := range report.Reasons[:min(5, len(report.Reasons))] {
		fmt.Fprintf(log, "%s: %s\n", file, reason)
	}
	if report.Rejected > 0 {
		fmt.Fprintf(log, "%s: %d of %d lines were left out\n", file, report.Rejected, report.Read)
	}
	return list, nil
}

// rankedData is what a reward model is trained with.
type rankedData struct {
	train, valid []reward.Group
	reference    []model.Sequence
}

// prepare reads configuration and data, and opens the model to start from.
func (f dataFlags) prepare(std streams, file string, set []string) (rewardConfig, *checkpoint.Checkpoint, rankedData, error) {
	cfg := rewardConfig{ValidShare: 0.1, Reward: reward.DefaultConfig()}
	var data rankedData
	fail := func(err error) (rewardConfig, *checkpoint.Checkpoint, rankedData, error) { return cfg, nil, data, err }
	if err := readConfig(file, set, &cfg); err != nil {
		return fail(err)
	}
	if len(f.Data) > 0 {
		cfg.Data = f.Data
	}
	if len(cfg.Data) == 0 {
		return fail(usageError{errors.New(`configuration: "data" names no rankings, and there is no --data`)})
	}
	if !(cfg.ValidShare >= 0 && cfg.ValidShare < 1) {
		return fail(usageError{fmt.Errorf(`configuration: "valid_share" %g is no share from 0 to below 1`, cfg.ValidShare)})
	}
	if err := cfg.Reward.Validate(); err != nil {
		return fail(usageError{fmt.Errorf("configuration: %w", err)})
	}
	records, err := f.read(std, cfg.Data)
	if err != nil {
		return fail(err)
	}
	cp, err := cfg.open(slices.Values(textsOf(records)), false)
	if err != nil {
		return fail(err)
	}
	groups, _, err := rankedGroups(cp, records, cfg.ValidShare)
	if err != nil {
		return fail(err)
	}
	for i := range groups {
		g := &groups[i]
		for j, labeler := range g.Labelers {
			if w, ok := cfg.Weights[labeler]; ok {
				if g.Weights == nil {
					g.Weights = slices.Repeat([]float64{1}, len(g.Labelers))
				}
				g.Weights[j] = w
			}
		}
		if g.Split == labeling.Train {
			data.train = append(data.train, *g)
		} else {
			data.valid = append(data.valid, *g)
		}
	}
	data.reference = references(data.train)
	return cfg, cp, data, nil
}

// maxReferences bounds the answers that the zero of the rewards is set by.
const maxReferences = 512

// references are the answers that were ranked first, one a prompt: files of rankings carry no demonstrations.
func references(groups []reward.Group) (out []model.Sequence) {
	for _, g := range groups[:min(maxReferences, len(groups))] {
		best := 0
		for k, r := range g.Rankings[0] {
			if r < g.Rankings[0][best] {
				best = k
			}
		}
		out = append(out, g.Sequences[best])
	}
	return out
}

// textsOf are all texts of rankings.
func textsOf(records []labeling.Record) (texts []string) {
	for _, r := range records {
		texts = append(append(texts, r.Prompt), r.Completions...)
		for _, m := range r.Messages {
			texts = append(texts, m.Content)
		}
	}
	return texts
}

// promptText is the prompt of a record, a conversation in the plain template.
func promptText(template token.ChatTemplate, r labeling.Record) (string, error) {
	if len(r.Messages) == 0 {
		return r.Prompt, nil
	}
	messages := make([]token.Message, len(r.Messages))
	for j, m := range r.Messages {
		messages[j] = token.Message{Role: m.Role, Content: m.Content}
	}
	return template.Prompt(messages)
}

// asNamed is the share to hold out that leaves the data's splits as they are, those without a name too.
const asNamed = -1

// rankedGroups encodes rankings for a model. Rankings of the same answers to the same prompt are one group, whoever gave them.
// Rankings of the same prompt stay on one side of the split; where the data name no split, every n-th prompt is held out, so
// that validShare of them are. answers are the groups' texts, [group][K].
func rankedGroups(cp *checkpoint.Checkpoint, records []labeling.Record, validShare float64) (groups []reward.Group, answers [][]string, err error) {
	template, err := token.Chat("plain")
	if err != nil {
		return nil, nil, err
	}
	type known struct{ id, split string }
	prompts, at := map[string]known{}, map[string]int{}
	for i, r := range records {
		prompt, err := promptText(template, r)
		if err != nil {
			return nil, nil, fmt.Errorf("ranking %d: %w", i+1, err)
		}
		p, ok := prompts[prompt]
		if !ok {
			n := float64(len(prompts))
			if p = (known{fmt.Sprint(len(prompts) + 1), r.Split}); p.split == "" && validShare != asNamed {
				if p.split = labeling.Train; int((n+1)*validShare) > int(n*validShare) {
					p.split = labeling.Valid
				}
			}
			prompts[prompt] = p
		}
		key := strings.Join(append([]string{prompt}, r.Completions...), "\x00")
		if g, ok := at[key]; ok {
			groups[g].Rankings, groups[g].Labelers = append(groups[g].Rankings, r.Ranks), append(groups[g].Labelers, r.Labeler)
			continue
		}
		at[key] = len(groups)
		g := reward.Group{PromptID: p.id, Split: p.split, Rankings: [][]int{r.Ranks}, Labelers: []string{r.Labeler}}
		ids := encodePrompt(cp.Tokenizer, prompt)
		for _, c := range r.Completions {
			g.Sequences = append(g.Sequences, fitting(cp, ids, " "+c))
			g.Lengths = append(g.Lengths, float64(utf8.RuneCountInString(c)))
		}
		groups, answers = append(groups, g), append(answers, r.Completions)
	}
	return groups, answers, nil
}

// fitting makes a sequence of a prompt and a completion that fits the model: what is too much goes from the prompt's
// beginning first, then from the completion's end.
func fitting(cp *checkpoint.Checkpoint, prompt []int32, completion string) model.Sequence {
	context := cp.Model.Config().Context
	answer := cp.Tokenizer.Encode(completion)
	if eos := cp.Model.Config().EOS; eos >= 0 {
		answer = append(answer, int32(eos))
	}
	answer = answer[:min(len(answer), context-1)]
	prompt = prompt[max(0, len(prompt)+len(answer)-context):]
	ids := append(append(make([]int32, 0, len(prompt)+len(answer)), prompt...), answer...)
	return model.Sequence{IDs: ids, Start: max(1, len(prompt))}
}
