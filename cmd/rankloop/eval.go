package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/eval"
)

type evalCmd struct {
	Model     []string `help:"A model folder, or base or sft for the starter model; may be repeated." placeholder:"MODEL"`
	FineTuned []string `help:"A model trained for such tasks, asked without examples; may be repeated." placeholder:"MODEL"`
	Task      []string `default:"all" help:"Names of --list, JSONL files with tasks of your own, perplexity, or all." placeholder:"T"`
	Shots     []int    `default:"0,1,4" help:"Numbers of examples before the question: zero-, one- and few-shot."`
	N         int      `short:"n" name:"n" default:"200" help:"Questions of each task."`
	Seed      uint64   `default:"0" help:"The same seed asks the same questions."`
	Text      string   `type:"existingfile" help:"A text for the tasks that need one." placeholder:"FILE"`
	Stride    int      `default:"0" help:"Perplexity: tokens predicted in each window; 0 is half the context."`
	Out       string   `help:"Folder for report.html, plot.svg, report.json, table.txt and items.jsonl." placeholder:"DIR" type:"path"`
	Training  int      `help:"Print this many further items of each task instead, as JSON lines for 'rankloop train sft' with template none: none of them is asked or shown with the same --n, --seed and --text." placeholder:"N"`
	List      bool     `help:"Name the tasks."`
	JSON      bool     `name:"json" help:"Print the report as one JSON line."`
	weightsFlag
}

func (evalCmd) Help() string {
	return `Asks the same questions of every model with and without examples, and of fine-tuned models without, and prints one table
with 95% intervals. Tasks are those of the GPT-2 and GPT-3 papers that need no download; the manual's page "Evaluation"
describes them and the format of your own.

Example:
  rankloop eval --model base --fine-tuned sft --task all --shots 0,1,4 --text story.txt --out report
  rankloop eval --task addition-2 --training 4000 > sums.jsonl`
}

// perplexityTask is the name by which perplexity is asked for; it is measured on the text as a whole.
const perplexityTask = "perplexity"

func (c evalCmd) Run(ctx context.Context, std streams) error {
	if c.List {
		return listTasks(std)
	}
	if len(c.Model)+len(c.FineTuned) == 0 && c.Training == 0 {
		return usageError{fmt.Errorf("give --model MODEL, or --list to see the tasks")}
	}
	slices.Sort(c.Shots)
	opt := eval.Options{Shots: slices.Compact(c.Shots), N: c.N, Seed: c.Seed, Stride: c.Stride}
	if c.Text != "" {
		b, err := os.ReadFile(c.Text)
		if err != nil {
			return err
		}
		opt.Text = eval.NewText(string(b))
	}
	tasks, perplexity, err := c.tasks()
	if err != nil {
		return err
	}
	if c.Training != 0 {
		return c.training(std, tasks, opt)
	}
	opt.Perplexity = perplexity
	subjects, err := c.subjects()
	if err != nil {
		return err
	}
	bar := newProgress(std.err)
	opt.Progress = func(name string, done, total int) { bar.show(name, done, total, "items") }
	report, err := eval.Run(ctx, tasks, subjects, opt)
	bar.end()
	if err != nil {
		return wrongUsage(err)
	}
	if c.Out != "" {
		if err := report.Save(c.Out); err != nil {
			return err
		}
		fmt.Fprintf(std.err, "wrote %s\n", filepath.Join(c.Out, "report.html"))
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(report)
	}
	return report.WriteTable(std.out)
}

// training prints items to fine-tune on.
func (c evalCmd) training(std streams, tasks []eval.Task, opt eval.Options) error {
	if c.Training < 0 || c.N < 0 {
		return usageError{fmt.Errorf("--training %d --n %d: numbers from 0 on are wanted", c.Training, c.N)}
	}
	enc := json.NewEncoder(std.out)
	enc.SetEscapeHTML(false)
	for _, t := range tasks {
		examples := t.Training(opt, c.Training)
		if len(examples) < c.Training {
			fmt.Fprintf(std.err, "%s has %d such items\n", t.Name, len(examples))
		}
		for _, e := range examples {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// wrongUsage turns what the evaluation refuses to do into a usage error that names the flag.
func wrongUsage(err error) error {
	var bad *eval.InvalidError
	if !errors.As(err, &bad) {
		return err
	}
	return usageError{fmt.Errorf("--%s: %s", bad.Field, bad.Reason)}
}

// tasks finds what --task names.
func (c evalCmd) tasks() (tasks []eval.Task, perplexity bool, err error) {
	seen := map[string]bool{}
	add := func(t eval.Task) {
		if !seen[t.Name] {
			seen[t.Name] = true
			tasks = append(tasks, t)
		}
	}
	for _, name := range c.Task {
		if name == "all" {
			for _, t := range eval.Tasks() {
				if c.Text != "" || !t.NeedsText {
					add(t)
				}
			}
			perplexity = perplexity || c.Text != ""
			continue
		}
		if name == perplexityTask {
			if perplexity = true; c.Text == "" {
				return nil, false, usageError{fmt.Errorf("--task %s needs --text FILE", name)}
			}
			continue
		}
		t, ok := eval.Find(name)
		if !ok {
			if t, err = readTask(name); err != nil {
				return nil, false, err
			}
			if seen[t.Name] {
				return nil, false, usageError{fmt.Errorf("--task %s: there is a task called %s already; name it in the file's first line", name, t.Name)}
			}
		}
		if t.NeedsText && c.Text == "" {
			return nil, false, usageError{fmt.Errorf("--task %s needs --text FILE", name)}
		}
		add(t)
	}
	return tasks, perplexity, nil
}

func readTask(file string) (eval.Task, error) {
	f, err := os.Open(file)
	if err != nil {
		return eval.Task{}, usageError{fmt.Errorf("--task %s is no task of --list, and no file that can be read", file)}
	}
	defer f.Close()
	return eval.ReadTask(f, file)
}

func (c evalCmd) subjects() ([]eval.Subject, error) {
	var out []eval.Subject
	for i, path := range append(c.Model[:len(c.Model):len(c.Model)], c.FineTuned...) {
		cp, err := loadModel(path)
		if err != nil {
			return nil, err
		}
		tok, err := needTokenizer(cp, path)
		if err != nil {
			return nil, fmt.Errorf("tasks are text: %w", err)
		}
		name := filepath.Base(path)
		for _, s := range out {
			if s.Name == name {
				name = path
			}
		}
		m := cp.Model
		if c.Weights != model.WeightsFloat32 {
			m = m.PackedCopy(c.Weights)
		}
		out = append(out, eval.Subject{Name: name, FineTuned: i >= len(c.Model), Model: m, Tokenizer: tok})
	}
	return out, nil
}

func listTasks(std streams) error {
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "TASK\tMETRIC\tWHAT IS ASKED\tPAPER")
	for _, t := range eval.Tasks() {
		title := t.Title
		if t.NeedsText {
			title += " (needs --text)"
		}
		fmt.Fprintln(tw, strings.Join([]string{t.Name, string(t.Rule), title, t.Paper}, "\t"))
	}
	fmt.Fprintln(tw, strings.Join([]string{perplexityTask, "bits per byte", "how well a text is predicted (needs --text)", "GPT-2, 3.1"}, "\t"))
	return tw.Flush()
}
