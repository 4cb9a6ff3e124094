package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/eval"
	"github.com/rankloop/rankloop/model/kernel"
)

type benchScalingCmd struct {
	Shape   string `default:"small8k" help:"Shape of the steps that differ in tokens: ${bench_shapes}."`
	Batches []int  `default:"1,2,4,8,16" help:"Sequences of the steps that differ in tokens."`
	Seq     int    `default:"256" help:"Tokens of each sequence of them."`
	Ladder  int    `default:"7" help:"Shapes of the steps that differ in parameters: the largest of seven from half a million to a hundred million."`
	Tokens  int    `default:"512" help:"Tokens of each of them, in four sequences."`
	Repeats int    `default:"2" help:"Samples of each figure; the median is shown."`
	Threads int    `default:"0" help:"Threads; 0 = as many as the program uses."`
	Out     string `help:"Draw it: an .svg picture, or an .html page." placeholder:"FILE"`
	JSON    bool   `name:"json" help:"As JSON."`
}

func (benchScalingCmd) Help() string {
	return `Measures training steps over tokens, with one shape, and over parameters, with a ladder of shapes and as many tokens for each, and
fits a power: a slope of 1 is a time that grows in proportion. R² is the share of the logarithms' variance that the fit explains. The
estimates of the cost model stand beside.

Example:
  rankloop bench scaling --shape small8k --out scaling.svg`
}

// ladder are shapes of about twice as many parameters each, wider and deeper at the same time.
var ladder = []model.Config{
	gpt2Like(2048, 256, 3, 96, 3),
	gpt2Like(2048, 256, 4, 128, 4),  // tiny
	gpt2Like(4096, 512, 4, 256, 4),  // mini
	gpt2Like(8192, 1024, 6, 384, 6), // small8k
	gpt2Like(8192, 1024, 8, 512, 8),
	gpt2Like(8192, 1024, 10, 640, 10),
	gpt2Like(16384, 1024, 12, 768, 12),
}

// scaling is a time over something that grows.
type scaling struct {
	Of     string         `json:"of"`
	Points []scalingPoint `json:"points"`
	Slope  float64        `json:"slope"` // of the logarithms
	R2     float64        `json:"r2"`
}

type scalingPoint struct {
	X float64 `json:"x"`
	checked
}

func (c benchScalingCmd) Run(ctx context.Context, std streams) error {
	if c.Repeats < 1 || c.Seq < 2 || c.Tokens < 8 || c.Ladder < 2 || c.Ladder > len(ladder) || len(c.Batches) < 2 {
		return usageError{fmt.Errorf("--repeats %d --seq %d --tokens %d --ladder %d and %d --batches: at least 1, 2, 8, 2 to %d and 2 are wanted", c.Repeats, c.Seq, c.Tokens, c.Ladder, len(c.Batches), len(ladder))}
	}
	for _, b := range c.Batches {
		if b < 1 {
			return usageError{fmt.Errorf("--batches %d: at least 1 is wanted", b)}
		}
	}
	for _, cfg := range ladder[len(ladder)-c.Ladder:] {
		if c.Tokens/4 > cfg.Context {
			return usageError{fmt.Errorf("--tokens %d: a sequence of %d does not fit the context of %d", c.Tokens, c.Tokens/4, cfg.Context)}
		}
	}
	if ext := filepath.Ext(c.Out); c.Out != "" && ext != ".svg" && ext != ".html" {
		return usageError{fmt.Errorf("--out %s: neither .svg nor .html", c.Out)}
	}
	if c.Threads > 0 {
		kernel.SetThreads(c.Threads)
	}
	m, err := benchModel(shapeFlags{c.Shape}, c.Seq)
	if err != nil {
		return err
	}
	show := newProgress(std.err)
	defer show.end()
	done, total := 0, len(c.Batches)+c.Ladder
	tokens, parameters := scaling{Of: "tokens"}, scaling{Of: "parameters"}
	for _, b := range c.Batches {
		if err := tokens.add(ctx, m, float64(b*c.Seq), b, c.Seq, c.Repeats); err != nil {
			return err
		}
		done++
		show.show("scaling", done, total, "steps")
	}
	for _, cfg := range ladder[len(ladder)-c.Ladder:] {
		m, err = model.New(cfg, 1) // the last one may go
		if err != nil {
			return err
		}
		if err := parameters.add(ctx, m, float64(m.NumParams()), 4, c.Tokens/4, c.Repeats); err != nil {
			return err
		}
		done++
		show.show("scaling", done, total, "steps")
	}
	show.end()
	return c.report(std, tokens, parameters)
}

// add measures one step and estimates it.
func (s *scaling) add(ctx context.Context, m *model.Transformer, x float64, batch, seq, repeats int) error {
	k := &checked{Name: fmt.Sprintf("%.3g M parameters, %dx%d tokens", float64(m.NumParams())/1e6, batch, seq), work: trainWork(batch, seq, false), run: trainStep(m, batch, seq), share: 1}
	if err := compare(ctx, m.Config(), repeats, k); err != nil {
		return err
	}
	s.Points = append(s.Points, scalingPoint{x, *k})
	s.Slope, s.R2 = s.fit()
	return nil
}

// fit is the slope of a straight line through the logarithms, by least squares, and the share of their variance that it explains.
func (s *scaling) fit() (slope, r2 float64) {
	n, mx, my := float64(len(s.Points)), 0.0, 0.0
	for _, p := range s.Points {
		mx, my = mx+math.Log(p.X)/n, my+math.Log(p.Measured)/n
	}
	xx, xy, yy := 0.0, 0.0, 0.0
	for _, p := range s.Points {
		dx, dy := math.Log(p.X)-mx, math.Log(p.Measured)-my
		xx, xy, yy = xx+dx*dx, xy+dx*dy, yy+dy*dy
	}
	if xx == 0 || yy == 0 {
		return 0, 0
	}
	return xy / xx, xy * xy / (xx * yy)
}

// chart draws it.
func (s *scaling) chart(title string) eval.Chart {
	c := eval.Chart{Title: title, X: s.Of, Y: "time of a step", YUnit: "s", LineName: "estimated", Note: fmt.Sprintf("slope %.2f, R² %.4f", s.Slope, s.R2)}
	for _, p := range s.Points {
		c.Measured = append(c.Measured, eval.Point{X: p.X, Y: p.Measured, Name: p.Name})
		c.Line = append(c.Line, eval.Point{X: p.X, Y: p.Estimated})
	}
	return c
}

func (c benchScalingCmd) report(std streams, tokens, parameters scaling) error {
	if c.Out != "" {
		charts := []eval.Chart{tokens.chart("Step over tokens, " + c.Shape), parameters.chart(fmt.Sprintf("Step over parameters, %d tokens", c.Tokens/4*4))}
		picture := eval.ChartsSVG("time of a training step over tokens and over parameters", charts...)
		if filepath.Ext(c.Out) == ".html" {
			picture = eval.ChartsHTML("Time of a training step", charts...)
		}
		if err := os.WriteFile(c.Out, []byte(picture), 0o644); err != nil {
			return err
		}
		fmt.Fprintln(std.err, "wrote", c.Out)
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(map[string]any{"threads": kernel.Threads(), "class": kernel.Class(), "shape": c.Shape, "scaling": []scaling{tokens, parameters}})
	}
	fmt.Fprintf(std.out, "%d threads, %s kernels; medians of %d, in milliseconds\n", kernel.Threads(), kernel.Class(), c.Repeats)
	for _, s := range []scaling{tokens, parameters} {
		fmt.Fprintf(std.out, "\ntime of a training step over %s: slope %.3f, R² %.5f\n", s.Of, s.Slope, s.R2)
		tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(tw, "\tmeasured\testimated\tratio\t")
		for _, p := range s.Points {
			fmt.Fprintf(tw, "%s\t%.4g\t%.4g\t%.2f\t\n", p.Name, 1e3*p.Measured, 1e3*p.Estimated, p.Ratio)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}
