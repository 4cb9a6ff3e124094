package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/reward"
)

type rewardRealCmd struct {
	Data  string   `help:"Folder of preferences: .jsonl, .json, .csv or .parquet, all but parquet also in gzip." required:"" type:"existingdir" placeholder:"DIR"`
	Only  []string `help:"Only the files whose name begins so." placeholder:"NAME"`
	Out   string   `help:"Folder for report.html with a plot, report.json and table.txt." type:"path" placeholder:"DIR"`
	Model string   `help:"Decoder that the reward models start from: a folder, or base or sft for the starter model." default:"base" placeholder:"MODEL"`
	Folds int      `help:"Parts that the prompts are dealt into; each is held out once." default:"5"`
	Limit int      `help:"Only so many rankings of each file, the first ones; 0 = all." placeholder:"N"`
	Set   []string `help:"Set a field of the reward model's training, such as --set epochs=1." placeholder:"KEY=VALUE" sep:"none"`
	Seed  uint64   `help:"Of the folds, the heads and the data orders." default:"1"`
	JSON  bool     `name:"json" help:"As JSON."`
}

func (rewardRealCmd) Help() string {
	return `For each file: a reward model and a bag of words are trained on the same prompts and judged on those held out, so that every pair
is judged once by models that did not see its prompt; beside them stand the longer answer and a coin. hh, oasst, pandalm, autoj and llmbar
files (also mtbench, faireval and llmeval2 in llmbar's columns) are known by their names, others by their content. Small models learn
little from a few hundred pairs: read the intervals.

Example:
  rankloop reward real --data preferences --folds 3 --set epochs=2 --out report`
}

// realFormats says how files are read, by how their names begin.
var realFormats = []struct {
	prefix string
	how    labeling.Reading
}{
	{"hh_", labeling.Reading{Format: "hh"}}, {"oasst_", labeling.Reading{Format: "oasst"}},
	{"pandalm", labeling.Reading{Preset: "pandalm"}}, {"autoj", labeling.Reading{Preset: "autoj"}},
	{"llmbar", labeling.Reading{Preset: "llmbar"}}, {"mtbench", labeling.Reading{Preset: "llmbar"}},
	{"faireval", labeling.Reading{Preset: "llmbar"}}, {"llmeval", labeling.Reading{Preset: "llmbar"}},
}

// realSet is the result on one file.
type realSet struct {
	Set    string          `json:"set"`
	Reward reward.Analysis `json:"reward"`
	Bag    reward.Report   `json:"bag_of_words"`
	Longer reward.Report   `json:"longer"`
	Random reward.Report   `json:"random"`
}

func (c rewardRealCmd) Run(ctx context.Context, std streams) error {
	cfg := reward.DefaultConfig()
	if err := readConfig("", c.Set, &cfg); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return usageError{fmt.Errorf("--set: %w", err)}
	}
	if cfg.Seeds > 1 {
		return usageError{errors.New("--set seeds: choosing among models by the prompts held out would flatter them; 1 is possible")}
	}
	if c.Folds < 2 {
		return usageError{fmt.Errorf("--folds %d: at least 2 are wanted", c.Folds)}
	}
	cfg.Seed = c.Seed
	cp, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	if _, err := needTokenizer(cp, c.Model); err != nil {
		return err
	}
	files, err := c.files()
	if err != nil {
		return err
	}
	bar := newProgress(std.err)
	defer bar.end()
	var sets []realSet
	for i, file := range files {
		name := setName(file)
		records, err := readRankings(std.err, file, realFormat(name))
		if err != nil {
			return err
		}
		if c.Limit > 0 {
			records = records[:min(c.Limit, len(records))]
		}
		set, err := c.one(ctx, cp, cfg, records, func(step, total int) {
			bar.show(fmt.Sprintf("%s (%d of %d)", name, i+1, len(files)), step, total, "steps")
		})
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		set.Set = name
		sets = append(sets, set)
	}
	bar.end()
	if c.Out != "" {
		if err := saveReport(c.Out, realPage(c.Model, c.Folds, sets), sets, realTable(sets)); err != nil {
			return err
		}
		fmt.Fprintf(std.err, "wrote %s\n", filepath.Join(c.Out, "report.html"))
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(sets)
	}
	return realTable(sets)(std.out)
}

// files are those of the folder that may hold preferences, in the order of their names.
func (c rewardRealCmd) files() ([]string, error) {
	entries, err := os.ReadDir(c.Data)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		switch filepath.Ext(strings.TrimSuffix(name, ".gz")) {
		case ".jsonl", ".json", ".csv", ".parquet":
		default:
			continue
		}
		wanted := len(c.Only) == 0
		for _, prefix := range c.Only {
			wanted = wanted || strings.HasPrefix(name, prefix)
		}
		if wanted && !e.IsDir() {
			out = append(out, filepath.Join(c.Data, name))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no preferences: files that end in .jsonl, .json, .csv or .parquet are wanted, with or without .gz", c.Data)
	}
	return out, nil
}

func setName(file string) string {
	name := strings.TrimSuffix(filepath.Base(file), ".gz")
	return strings.TrimSuffix(name, filepath.Ext(name))
}

func realFormat(name string) labeling.Reading {
	for _, f := range realFormats {
		if strings.HasPrefix(name, f.prefix) {
			return f.how
		}
	}
	return labeling.Reading{Format: tellFormat}
}

// streamRealFolds deals prompts to folds; streamCoin is the judge that knows nothing.
const (
	streamRealFolds = 0x7265616c00000001
	streamCoin      = 0x7265616c00000002
)

// one is the result on one file's rankings.
func (c rewardRealCmd) one(ctx context.Context, cp *checkpoint.Checkpoint, cfg reward.Config, records []labeling.Record, show func(step, total int)) (realSet, error) {
	var set realSet
	groups, answers, err := rankedGroups(cp, records, asNamed)
	if err != nil {
		return set, err
	}
	fold, prompts := dealPrompts(groups, c.Folds, c.Seed)
	if prompts < c.Folds {
		return set, fmt.Errorf("%d prompts cannot be dealt into %d parts: say --folds with a smaller number", prompts, c.Folds)
	}
	learned, bag := make([][]float64, len(groups)), make([][]float64, len(groups))
	for f := range c.Folds {
		var train, held []reward.Group
		var trainTexts [][]string
		var at []int
		for i, g := range groups {
			if fold[i] == f {
				held, at = append(held, g), append(at, i)
			} else {
				train, trainTexts = append(train, g), append(trainTexts, answers[i])
			}
		}
		t, err := reward.NewTrainer(cfg, cp.Model, train, nil, references(train))
		if err != nil {
			return set, err
		}
		for !t.Done() {
			if _, err := t.Step(ctx); err != nil {
				return set, err
			}
			step, total := t.Progress()
			show(f*total+step, c.Folds*total)
		}
		scorer, err := t.Scorer()
		if err != nil {
			return set, err
		}
		words := reward.TrainBagOfWords(train, trainTexts, c.Seed)
		for j, g := range held {
			if learned[at[j]], err = scorer.Score(ctx, g.Sequences); err != nil {
				return set, err
			}
			for _, a := range answers[at[j]] {
				bag[at[j]] = append(bag[at[j]], words.Score(a))
			}
		}
	}
	coin := rand.New(rand.NewPCG(c.Seed, streamCoin))
	var flat, flatBag, length, random []float64
	for i, g := range groups {
		flat, flatBag, length = append(flat, learned[i]...), append(flatBag, bag[i]...), append(length, g.Lengths...)
		for range g.Sequences {
			random = append(random, coin.Float64())
		}
	}
	set.Reward = reward.AnalyseRewards(flat, groups)
	set.Bag, set.Longer = reward.AnalyseRewards(flatBag, groups).Report, reward.AnalyseRewards(length, groups).Report
	set.Random = reward.AnalyseRewards(random, groups).Report
	return set, nil
}

// dealPrompts gives each group the fold of its prompt, and says how many prompts there are.
func dealPrompts(groups []reward.Group, folds int, seed uint64) (fold []int, prompts int) {
	number := map[string]int{}
	for _, g := range groups {
		if _, ok := number[g.PromptID]; !ok {
			number[g.PromptID] = len(number)
		}
	}
	place := rand.New(rand.NewPCG(seed, streamRealFolds)).Perm(len(number))
	for _, g := range groups {
		fold = append(fold, place[number[g.PromptID]]%folds)
	}
	return fold, len(number)
}
