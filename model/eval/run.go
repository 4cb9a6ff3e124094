package eval

import (
	"context"
	"math"
	"slices"
)

// Options are the same for all models and tasks of a run, so that numbers can be compared.
type Options struct {
	Shots      []int  // numbers of examples, ascending; fine-tuned models are asked without any
	N          int    // items of each task
	Seed       uint64 // of items and examples
	Text       *Text  // for tasks that need one; nil = none
	Perplexity bool   // measure it on Text
	Stride     int    // of perplexity; 0 = half the context
	// Progress, where it is not nil, hears how far each piece of work is.
	Progress func(name string, done, total int)
}

// Report is the outcome of a run.
type Report struct {
	Seed       uint64       `json:"seed"`
	Shots      []int        `json:"shots"`
	Columns    []Column     `json:"columns"`
	Tasks      []Row        `json:"tasks"`
	Perplexity []Perplexity `json:"perplexity,omitempty"`
}

// Column is a model with a number of examples.
type Column struct {
	Model     string `json:"model"`
	FineTuned bool   `json:"fine_tuned"`
	Shots     int    `json:"shots"`
}

// Row is a task; Cells are in the order of Report.Columns.
type Row struct {
	Task   string  `json:"task"`
	Title  string  `json:"title"`
	Paper  string  `json:"paper,omitempty"`
	Rule   Rule    `json:"metric"`
	N      int     `json:"n"`
	Pool   int     `json:"examples"` // that shots are drawn from
	Chance float64 `json:"chance"`
	Cells  []Cell  `json:"cells"`
	Items  []Item  `json:"-"`
}

// Cell is a task asked of a model with a number of examples.
type Cell struct {
	Column
	Accuracy Estimate `json:"accuracy"` // Wilson's interval
	// Difference is from the row's first cell, paired by item; nil there.
	Difference *Estimate `json:"difference,omitempty"`
	Loss       Estimate  `json:"loss"`       // nats per right answer
	MeanShots  float64   `json:"mean_shots"` // examples that fitted
	Short      int       `json:"short"`      // items with fewer examples than asked for
	Cut        int       `json:"cut"`        // items that did not fit even without examples
	Verdicts   []Verdict `json:"-"`
}

func (o Options) check(tasks []Task, subjects []Subject) error {
	switch {
	case len(subjects) == 0:
		return invalid("model", "none is given")
	case len(tasks) == 0 && !o.Perplexity:
		return invalid("task", "none is given")
	case o.N < 1:
		return invalid("n", "%d: at least 1 is wanted", o.N)
	case len(o.Shots) == 0:
		return invalid("shots", "none are given")
	case o.Perplexity && o.Text == nil:
		return invalid("task", "perplexity needs a text")
	}
	for i, k := range o.Shots {
		if k < 0 || k > MaxShots || i > 0 && k <= o.Shots[i-1] {
			return invalid("shots", "%v: ascending numbers from 0 to %d are wanted", o.Shots, MaxShots)
		}
	}
	for _, t := range tasks {
		if t.NeedsText && o.Text == nil {
			return invalid("task", "%s needs a text", t.Name)
		}
	}
	for i, s := range subjects {
		if s.Tokenizer == nil {
			return invalid("model", "%s has no tokenizer; tasks are text, so it cannot be asked by ids", s.Name)
		}
		if slices.ContainsFunc(subjects[:i], func(o Subject) bool { return o.Name == s.Name }) {
			return invalid("model", "%s is given twice", s.Name)
		}
	}
	return nil
}

// Run asks every model all tasks. The report depends on the weights, the tasks and the options, not on batches or threads. It
// fails with *InvalidError before any work, and with ctx's error where that ends.
func Run(ctx context.Context, tasks []Task, subjects []Subject, o Options) (*Report, error) {
	if err := o.check(tasks, subjects); err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	r := &Report{Seed: o.Seed, Shots: o.Shots}
	for _, s := range subjects {
		for _, k := range o.shots(s) {
			r.Columns = append(r.Columns, Column{s.Name, s.FineTuned, k})
		}
	}
	type set struct{ ask, pool []Item }
	sets := make([]set, len(tasks))
	for i, t := range tasks {
		ask, pool := t.sets(o.Seed, o.N, o.Text)
		if len(ask) == 0 {
			return nil, invalid("text", "too short for %s: no passage of it fits the task", t.Name)
		}
		sets[i] = set{ask, pool}
		r.Tasks = append(r.Tasks, Row{Task: t.Name, Title: t.Title, Paper: t.Paper, Rule: t.Rule, N: len(ask), Pool: len(pool), Chance: t.chance(ask), Items: ask})
	}
	for _, s := range subjects {
		steps := len(tasks) * len(o.shots(s)) * o.N
		for i, t := range tasks {
			for j, k := range o.shots(s) {
				from := (i*len(o.shots(s)) + j) * o.N
				verdicts, err := judge(ctx, s, t, sets[i].ask, sets[i].pool, k, o.Seed, func(done int) { o.Progress(s.Name, from+done*o.N/len(sets[i].ask), steps) })
				if err != nil {
					return nil, err
				}
				r.Tasks[i].add(Column{s.Name, s.FineTuned, k}, verdicts)
			}
		}
		if o.Perplexity {
			p, err := predict(ctx, s, o.Text.Raw(), o.Stride, func(done, total int) { o.Progress(s.Name+" perplexity", done, total) })
			if err != nil {
				return nil, err
			}
			r.Perplexity = append(r.Perplexity, p)
		}
	}
	return r, nil
}

// shots lists the numbers of examples that a model is asked with.
func (o Options) shots(s Subject) []int {
	if s.FineTuned {
		return []int{0}
	}
	return o.Shots
}

func (r *Row) add(c Column, verdicts []Verdict) {
	cell := Cell{Column: c, Verdicts: verdicts}
	right, loss := 0, make([]float64, len(verdicts))
	for i, v := range verdicts {
		if v.Right {
			right++
		}
		if v.Examples < c.Shots {
			cell.Short++
		}
		if v.Cut {
			cell.Cut++
		}
		loss[i] = v.Loss
		cell.MeanShots += float64(v.Examples) / float64(len(verdicts))
	}
	cell.MeanShots = math.Round(1e9*cell.MeanShots) / 1e9
	cell.Accuracy, cell.Loss = Proportion(right, len(verdicts)), Mean(loss)
	if len(r.Cells) > 0 {
		d := Difference(cell.right(), r.Cells[0].right())
		cell.Difference = &d
	}
	r.Cells = append(r.Cells, cell)
}

func (c Cell) right() []bool {
	out := make([]bool, len(c.Verdicts))
	for i, v := range c.Verdicts {
		out[i] = v.Right
	}
	return out
}
