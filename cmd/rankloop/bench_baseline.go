package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"

	"github.com/rankloop/rankloop/model/kernel"
)

// benchKey is a figure in a file of results: its name there, without threads, and its unit.
type benchKey struct{ name, unit string }

// baseline is a file of results, the samples of each figure by its name with threads ("Train/small8k/4x256-2").
type baseline struct {
	samples map[benchKey][]float64
}

// change is a figure beside the one of a baseline.
type change struct {
	Value       float64 `json:"value"`       // the median then
	Delta       float64 `json:"delta"`       // the median now over the one then, less one
	P           float64 `json:"p"`           // that samples of one distribution differ so much: Mann-Whitney U, two-sided
	Significant bool    `json:"significant"` // P is below 0.05
	Note        string  `json:"note,omitempty"`
}

// cells are those of a row: before, change, p.
func (c *change) cells() string {
	if c == nil {
		return "\tnew\t\t"
	}
	delta := "~"
	if c.Significant {
		delta = fmt.Sprintf("%+.1f%%", 100*c.Delta)
	}
	return fmt.Sprintf("%s\t%s\t%.3f\t", digits(c.Value), delta, c.P)
}

// benchUnit is the unit of a file of results and how much of it one of unit is. Times are in the unit that the format's tools
// know.
func benchUnit(unit string) (name string, scale float64) {
	switch unit {
	case "s":
		return "sec/op", 1
	case "ms":
		return "sec/op", 1e-3
	}
	return unit, 1
}

// benchName is a figure's name as the format wants it: a capital first, no spaces, threads behind.
func benchName(name string) string {
	name = strings.ReplaceAll(name, " ", "_")
	return fmt.Sprintf("%s%s-%d", strings.ToUpper(name[:1]), name[1:], kernel.Threads())
}

// compare says how far g differs from the figure of that name and unit, or nil if there is none.
func (b *baseline) compare(g figure) *change {
	if b == nil {
		return nil
	}
	unit, scale := benchUnit(g.Unit)
	old := b.samples[benchKey{benchName(g.Name), unit}]
	if len(old) == 0 {
		return nil
	}
	before := make([]float64, len(old))
	for i, v := range old {
		before[i] = v / scale
	}
	x := benchmath.NewSample(before, &benchmath.DefaultThresholds)
	y := benchmath.NewSample(append([]float64(nil), g.Samples...), &benchmath.DefaultThresholds)
	test := benchmath.AssumeNothing.Compare(x, y)
	c := &change{Value: median(before), P: test.P, Significant: test.P < test.Alpha}
	c.Delta = g.Value/c.Value - 1
	if err := errors.Join(test.Warnings...); err != nil {
		c.Note = err.Error()
	}
	return c
}

// readBaseline reads a file in Go's benchmark format. One that says otherwise than this machine is read all the same: what
// another machine reached is a fair question.
func readBaseline(path string) (*baseline, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := &baseline{samples: map[benchKey][]float64{}}
	r := benchfmt.NewReader(file, path)
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, rec
		case *benchfmt.Result:
			for _, v := range rec.Values {
				key := benchKey{rec.Name.String(), v.Unit}
				b.samples[key] = append(b.samples[key], v.Value)
			}
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if len(b.samples) == 0 {
		return nil, fmt.Errorf("%s: no result of a benchmark in it", path)
	}
	return b, nil
}

// saveBaseline writes a line for each sample of each figure.
func saveBaseline(path string, figures []figure) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	err = writeBaseline(file, figures)
	return errors.Join(err, file.Close())
}

func writeBaseline(to io.Writer, figures []figure) error {
	w := benchfmt.NewWriter(to)
	units := map[string]bool{}
	for _, g := range figures {
		unit, _ := benchUnit(g.Unit)
		if units[unit] || !rises(unit) {
			continue
		}
		units[unit] = true
		m := &benchfmt.UnitMetadata{UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: unit, Key: "better"}, OrigUnit: unit, Value: "higher"}
		if err := w.Write(m); err != nil {
			return err
		}
	}
	var config []benchfmt.Config
	for _, kv := range [][2]string{{"goos", runtime.GOOS}, {"goarch", runtime.GOARCH}, {"pkg", "github.com/rankloop/rankloop"},
		{"cpu", cpuName()}, {"kernels", kernel.Class()}} {
		config = append(config, benchfmt.Config{Key: kv[0], Value: []byte(kv[1]), File: true})
	}
	for _, g := range figures {
		unit, scale := benchUnit(g.Unit)
		for _, v := range g.Samples {
			err := w.Write(&benchfmt.Result{Config: config, Name: benchfmt.Name(benchName(g.Name)), Iters: 1,
				Values: []benchfmt.Value{{Value: v * scale, Unit: unit}}})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// cpuName is the processor's name as the system tells it, or the architecture.
func cpuName() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}
