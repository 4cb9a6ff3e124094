package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// estimateFlags ask for the cost model.
type estimateFlags struct {
	Estimate  bool    `help:"Print what it would take on paper instead of running it: operations, bytes, seconds, memory. The machine is measured for a second, or given by --peak and --bandwidth."`
	Peak      float64 `help:"With --estimate: GFLOP/s of multiply-adds of another machine, all threads." placeholder:"N"`
	Bandwidth float64 `help:"With --estimate: GB/s that it reads from memory." placeholder:"N"`
}

// machine is the one that is asked for: this one, with what the works of a shape need, or another.
func (f estimateFlags) machine(cfg model.Config, works ...model.Work) (machine, error) {
	if f.Peak == 0 && f.Bandwidth == 0 {
		return thisMachine(cfg, works...), nil
	}
	if !(f.Peak > 0 && f.Bandwidth > 0) {
		return machine{}, usageError{fmt.Errorf("--peak %g --bandwidth %g: another machine needs both, above 0", f.Peak, f.Bandwidth)}
	}
	return givenMachine(f.Peak*1e9, f.Bandwidth*1e9, kernel.Threads()), nil
}

// estimate is what a piece of work takes on paper.
type estimate struct {
	Name    string         `json:"name"`
	Tokens  float64        `json:"tokens"`
	FLOPs   float64        `json:"flops"`
	Bytes   float64        `json:"bytes"`
	Seconds float64        `json:"seconds"`
	Rate    float64        `json:"tokens_per_s"`
	Memory  int64          `json:"memory_bytes"`
	Parts   []estimatePart `json:"parts"`
}

type estimatePart struct {
	Name    string  `json:"name"`
	FLOPs   float64 `json:"flops"`
	Bytes   float64 `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// estimate adds up the operations of a piece of work.
func (m machine) estimate(name string, cfg model.Config, w model.Work) estimate {
	e := estimate{Name: name, Tokens: float64(w.Sequences * w.Tokens)}
	total := 4 * float64(cfg.NumParams())
	if w.Weight > 0 {
		total *= float64(w.Weight) / 4
	}
	for _, op := range cfg.Operations(w) {
		s := m.seconds(w, op, total)
		e.FLOPs, e.Bytes, e.Seconds = e.FLOPs+op.FLOPs, e.Bytes+op.Bytes, e.Seconds+s
		e.add(estimatePart{op.Name, op.FLOPs, op.Bytes, s})
	}
	e.Rate = e.Tokens / e.Seconds
	e.Memory = cfg.Memory(model.MemoryPlan{Tokens: w.Sequences * (w.Tokens + w.Past), Longest: w.Tokens + w.Past, Train: w.Train, BF16: w.Weight == 2}).Total()
	return e
}

// add adds a part to that of its name, or appends it.
func (e *estimate) add(p estimatePart) {
	for i := range e.Parts {
		if q := &e.Parts[i]; q.Name == p.Name {
			q.FLOPs, q.Bytes, q.Seconds = q.FLOPs+p.FLOPs, q.Bytes+p.Bytes, q.Seconds+p.Seconds
			return
		}
	}
	e.Parts = append(e.Parts, p)
}

// printEstimates prints a table of each, or JSON.
func (f benchFlags) printEstimates(std streams, m machine, cfg model.Config, list ...estimate) error {
	if f.JSON {
		return json.NewEncoder(std.out).Encode(map[string]any{"machine": m, "parameters": cfg.NumParams(), "estimates": list})
	}
	how := "as given, with usual shares"
	if m.Measured {
		how = "measured now"
	}
	fmt.Fprintf(std.out, "%.4g M parameters; %.4g GFLOP/s, %.3g GB/s, %d threads (%s)\n", float64(cfg.NumParams())/1e6, m.Peak/1e9, m.Memory/1e9, m.Threads, how)
	for _, e := range list {
		fmt.Fprintf(std.out, "\n%s: %s tokens/s, %.3g s; memory %.3g GiB\n", e.Name, digits(e.Rate), e.Seconds, float64(e.Memory)/(1<<30))
		tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(tw, "\tGFLOP\tGB\tseconds\tof all\t")
		for _, p := range e.Parts {
			fmt.Fprintf(tw, "%s\t%.4g\t%.3g\t%.3g\t%.0f%%\t\n", p.Name, p.FLOPs/1e9, p.Bytes/1e9, p.Seconds, 100*p.Seconds/e.Seconds)
		}
		fmt.Fprintf(tw, "sum\t%.4g\t%.3g\t%.3g\t\t\n", e.FLOPs/1e9, e.Bytes/1e9, e.Seconds)
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}
