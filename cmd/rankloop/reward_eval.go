package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/reward"
)

type rewardEvalCmd struct {
	dataFlags
	Model string `required:"" help:"A reward model's folder." placeholder:"MODEL"`
	Split string `help:"Only this split of the data, such as valid." default:""`
	Out   string `help:"Folder for report.html with plots, report.json and table.txt." type:"path" placeholder:"DIR"`
	JSON  bool   `name:"json" help:"As JSON."`
}

func (rewardEvalCmd) Help() string {
	return `Measure on rankings that the model has not been trained on. The ceiling is what any judge can reach on labels that agree as far
as these do; it is known where several labelers ranked the same answers.

Examples:
  rankloop reward eval --model runs/reward/model --data rankings.jsonl --split valid --out report
  rankloop reward eval --model runs/reward/model --preset pandalm --data testset-v1.json`
}

func (c rewardEvalCmd) Run(ctx context.Context, std streams) error {
	if len(c.Data) == 0 {
		return usageError{fmt.Errorf("--data FILE is wanted")}
	}
	cp, scorer, err := openReward(c.Model)
	if err != nil {
		return err
	}
	if _, err := needTokenizer(cp, c.Model); err != nil {
		return err
	}
	records, err := c.read(std, c.Data)
	if err != nil {
		return err
	}
	if c.Split != "" {
		if !slices.ContainsFunc(records, func(r labeling.Record) bool { return r.Split != "" }) {
			return fmt.Errorf("--split %s: the data name no split", c.Split)
		}
		records = slices.DeleteFunc(records, func(r labeling.Record) bool { return r.Split != c.Split })
	}
	groups, _, err := rankedGroups(cp, records, asNamed)
	if err != nil {
		return err
	}
	analysis, err := reward.Analyse(ctx, scorer, groups)
	if err != nil {
		return err
	}
	if analysis.N == 0 {
		return fmt.Errorf("%s: no pair to compare: there are ties only, or nothing of the split", c.Data[0])
	}
	if c.Out != "" {
		if err := saveAnalysis(c.Out, "Reward model "+filepath.Base(c.Model)+" on "+filepath.Base(c.Data[0]), analysis); err != nil {
			return err
		}
		fmt.Fprintf(std.err, "wrote %s\n", filepath.Join(c.Out, "report.html"))
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(analysis)
	}
	return analysis.WriteTable(std.out)
}

// saveAnalysis writes report.html, report.json and table.txt into a folder.
func saveAnalysis(dir, title string, a reward.Analysis) error {
	return saveReport(dir, a.HTML(title), a, a.WriteTable)
}

// saveReport writes a page, the same as JSON, and as a table.
func saveReport(dir, page string, data any, table func(io.Writer) error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer) error{
		"report.html": func(w io.Writer) error { _, err := io.WriteString(w, page); return err },
		"report.json": func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", " ")
			return e.Encode(data)
		},
		"table.txt": table,
	} {
		if err := writeWhole(filepath.Join(dir, name), write); err != nil {
			return err
		}
	}
	return nil
}
