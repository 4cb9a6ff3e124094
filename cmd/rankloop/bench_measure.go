package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// figure is one result: samples of a rate or a time, each beside the limit measured just before it.
type figure struct {
	Name     string    `json:"name"`
	Unit     string    `json:"unit"`
	Value    float64   `json:"value"` // median
	Low      float64   `json:"low"`   // of the samples
	High     float64   `json:"high"`
	Limit    float64   `json:"limit,omitempty"` // median of the limits, in the same unit
	Ratio    float64   `json:"ratio,omitempty"` // median of the share of the limit that is reached, pair by pair
	Repeat   int       `json:"repeats"`
	Samples  []float64 `json:"samples"`
	Baseline *change   `json:"baseline,omitempty"`
}

// rises says whether more of the unit is better: of a rate, not of a time.
func rises(unit string) bool { return strings.HasSuffix(unit, "/s") }

// sample measures a rate several times: limit and then work, alternately, so that what disturbs the machine disturbs both.
// Either returns a figure of the unit; limit may be nil. The first round is for warming up.
func sample(ctx context.Context, name, unit string, repeats int, limit, work func() float64) (figure, error) {
	var values, limits []float64
	for i := range repeats + 1 {
		if err := ctx.Err(); err != nil {
			return figure{}, err
		}
		l := 0.0
		if limit != nil {
			l = limit()
		}
		v := work()
		if i > 0 {
			values, limits = append(values, v), append(limits, l)
		}
	}
	return newFigure(name, unit, values, limits), nil
}

// newFigure sums up samples and the limits measured beside them; limits may be nil.
func newFigure(name, unit string, values, limits []float64) figure {
	f := figure{Name: name, Unit: unit, Value: median(values), Low: slices.Min(values), High: slices.Max(values), Repeat: len(values), Samples: values}
	var ratios []float64
	for i, l := range limits {
		switch {
		case l <= 0 || values[i] <= 0:
		case rises(unit):
			ratios = append(ratios, values[i]/l)
		default:
			ratios = append(ratios, l/values[i])
		}
	}
	if len(ratios) > 0 {
		f.Limit, f.Ratio = median(limits), median(ratios)
	}
	return f
}

func median[T cmp.Ordered](x []T) T {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// rate runs f often enough to take least, and returns calls a second.
func rate(least time.Duration, f func()) float64 {
	calls, start := 0, time.Now()
	for calls == 0 || time.Since(start) < least {
		f()
		calls++
	}
	return float64(calls) / time.Since(start).Seconds()
}

// peakFLOPS is what multiply-adds in registers reach now, on all threads.
func peakFLOPS() float64 { return registers(kernel.FMALoop) }

// peakMixed is the same of products of bfloat16 pairs.
func peakMixed() float64 { return registers(kernel.MixedLoop) }

// peakOf is the peak of a precision's products.
func peakOf(precision string) func() float64 {
	if precision == model.PrecisionMixed {
		return peakMixed
	}
	return peakFLOPS
}

// registers is what a loop that touches no memory reaches on all threads, in operations a second.
func registers(loop func(rounds int) int64) float64 {
	const rounds = 100_000
	one := loop(1)
	tasks := 4 * kernel.Threads()
	return rate(20*time.Millisecond, func() {
		kernel.Parallel(tasks, 1, func(lo, hi int) {
			for range hi - lo {
				loop(rounds)
			}
		})
	}) * float64(tasks) * rounds * float64(one)
}

// bandwidth returns a function that measures how many bytes a second are read from memory now, on all threads.
func bandwidth() func() float64 {
	x := kernel.Floats(64 << 20) // 256 MB: no cache holds it
	for i := range x {
		x[i] = 1
	}
	return func() float64 {
		return rate(20*time.Millisecond, func() {
			kernel.Parallel(len(x), 1<<16, func(lo, hi int) { kernel.ReadLoop(x[lo:hi]) })
		}) * 4 * float64(len(x))
	}
}
