package experiment

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// all is the seed of a row over all seeds.
const all = -1

// bound is an interval that a value must be in; an end that is NaN is open. The zero bound demands nothing.
type bound struct {
	set       bool
	low, high float64
}

func atLeast(x float64) bound     { return bound{true, x, math.NaN()} }
func atMost(x float64) bound      { return bound{true, math.NaN(), x} }
func within(lo, hi float64) bound { return bound{true, lo, hi} }
func equals(x float64) bound      { return bound{true, x, x} }

func (b bound) String() string {
	switch {
	case !b.set:
		return ""
	case math.IsNaN(b.high):
		return fmt.Sprintf(">= %g", b.low)
	case math.IsNaN(b.low):
		return fmt.Sprintf("<= %g", b.high)
	case b.low == b.high:
		return fmt.Sprintf("= %g", b.low)
	}
	return fmt.Sprintf("%g .. %g", b.low, b.high)
}

func (b bound) holds(x float64) bool {
	return !math.IsNaN(x) && !(x < b.low) && !(x > b.high)
}

// Row is one measured value of one seed against its bound.
type Row struct {
	Seed  int     `json:"seed"` // -1: over all seeds
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Low   float64 `json:"low"`  // 95% interval; Low = High = Value where none was estimated
	High  float64 `json:"high"` //
	N     int     `json:"n"`    // observations behind the interval, 0 where there is none
	Bound string  `json:"bound"`
	Holds bool    `json:"holds"` // true where nothing is demanded
}

// Summary is one measured thing over all seeds. It decides whether the experiment holds.
type Summary struct {
	What  string  `json:"what"`
	Mean  float64 `json:"mean"` // over seeds
	Low   float64 `json:"low"`  // 95% interval of the mean over seeds (Student's t); both are Mean with one seed
	High  float64 `json:"high"`
	Seeds int     `json:"seeds"`
	Held  int     `json:"held"`  // seeds that kept the bound
	Need  int     `json:"need"`  // seeds that must; 0 = the mean must, or nothing is demanded
	Bound string  `json:"bound"` // "" = shown, not demanded
	Holds bool    `json:"holds"`
}

// Result is what an experiment found. It holds where every summary does.
type Result struct {
	Name     string    `json:"name"`
	Title    string    `json:"title"`
	Holds    bool      `json:"holds"`
	World    string    `json:"world"`
	Size     string    `json:"size"`
	Labelers string    `json:"labelers"` // what they are
	Recipe   string    `json:"recipe"`   // digest of recipe, data and class of kernels
	Seeds    []int     `json:"seeds"`
	Summary  []Summary `json:"summary"`
	Rows     []Row     `json:"rows"`
	Plots    []Plot    `json:"plots"`
	Notes    []string  `json:"notes,omitempty"`
}

// labelers stands on every report.
const labelers = "synthetic labelers: programs that rank by a declared preference and err at random. This shows that the machinery learns what it is given; it says nothing of human preference."

// Speed is how long a call of Run took. It is no part of the results, which are the same each time.
type Speed struct {
	Wall     time.Duration `json:"wall"`
	Tasks    int           `json:"tasks"`    // seeds of experiments
	Episodes int           `json:"episodes"` // of policy training, all runs together
	PPO      time.Duration `json:"ppo"`      // thread time of policy training
}

// PerThread is the number of episodes that one thread trained on in a second, rollouts and updates together.
func (s Speed) PerThread() float64 {
	if s.PPO <= 0 {
		return 0
	}
	return float64(s.Episodes) / s.PPO.Seconds()
}

func (s Speed) String() string {
	out := fmt.Sprintf("%d seeds of experiments in %.0f s", s.Tasks, s.Wall.Seconds())
	if s.Episodes > 0 {
		out += fmt.Sprintf("; %d episodes of policy training at %.0f a second and thread (a PyTorch script of the toy: 640 to 700 on one thread)", s.Episodes, s.PerThread())
	}
	return out
}

// recorder collects what one seed of an experiment finds. It is used by one goroutine.
type recorder struct {
	seed   int
	name   string
	rows   []Row
	bounds []bound // of rows
	points []mark
	notes  []string
	log    func(string)
}

// mark is a point of a plot, to be joined with those of other seeds.
type mark struct {
	plot, line string
	Point
}

func (r *recorder) add(row Row, b bound) {
	row.Seed, row.Bound, row.Holds = r.seed, b.String(), !b.set || b.holds(row.Value)
	r.rows, r.bounds = append(r.rows, row), append(r.bounds, b)
	mark := ""
	if !row.Holds {
		mark = "  FAILS"
	}
	at := "all seeds"
	if r.seed >= 0 {
		at = fmt.Sprintf("seed %d", r.seed)
	}
	r.log(fmt.Sprintf("%s: %s: %s = %.5g %s%s", r.name, at, row.What, row.Value, row.Bound, mark))
}

// show records a value of which nothing is demanded.
func (r *recorder) show(what string, value float64) { r.check(what, value, bound{}) }

// check records a value against a bound.
func (r *recorder) check(what string, value float64, b bound) {
	r.add(Row{What: what, Value: value, Low: value, High: value}, b)
}

// rate records a value with its interval.
func (r *recorder) rate(what string, e estimate, b bound) {
	r.add(Row{What: what, Value: e.mean, Low: e.low, High: e.high, N: e.n}, b)
}

// point adds a point to a plot of the spec.
func (r *recorder) point(plot, line string, x, y float64) {
	r.points = append(r.points, mark{plot, line, Point{X: x, Y: y, Low: y, High: y}})
}

func (r *recorder) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// result joins the seeds of an experiment.
func (l *lab) result(s spec, seeds []int, each []*recorder) Result {
	res := Result{
		Name: s.name, Title: s.title, World: l.recipe.World, Size: l.recipe.Size, Labelers: labelers, Recipe: l.digest,
		Seeds: seeds, Holds: true,
	}
	over := &recorder{seed: all, name: s.name, log: l.log}
	if s.finish != nil {
		s.finish(over, each)
	}
	demands := slices.DeleteFunc(slices.Clone(s.demands), func(d demand) bool { return d.toy && l.recipe.World != WorldToy })
	var bounds []bound
	for _, r := range append(slices.Clone(each), over) {
		res.Rows, bounds = append(res.Rows, r.rows...), append(bounds, r.bounds...)
		for _, n := range r.notes {
			if !slices.Contains(res.Notes, n) {
				res.Notes = append(res.Notes, n)
			}
		}
	}
	for i, row := range res.Rows {
		if slices.ContainsFunc(res.Summary, func(x Summary) bool { return x.What == row.What }) {
			continue
		}
		sum := summarise(row.What, bounds[i], res.Rows, demands)
		res.Summary = append(res.Summary, sum)
		res.Holds = res.Holds && sum.Holds
	}
	res.Holds = res.Holds && len(res.Summary) > 0
	res.Plots = draw(s.plots, append(slices.Clone(each), over))
	return res
}

// summarise joins the rows of one measured thing.
func summarise(what string, b bound, rows []Row, demands []demand) Summary {
	s := Summary{What: what, Bound: b.String()}
	var values []float64
	for _, row := range rows {
		if row.What != what {
			continue
		}
		values = append(values, row.Value)
		if row.Holds {
			s.Held++
		}
	}
	s.Seeds = len(values)
	s.Mean, s.Low, s.High = student(values)
	s.Holds = true
	if b.set {
		s.Need = s.Seeds
	}
	for _, d := range demands {
		switch {
		case d.what != what:
		case d.share > 0:
			s.Need = int(math.Ceil(d.share*float64(s.Seeds) - 1e-9))
		default:
			s.Holds = d.mean.holds(s.Mean)
			if s.Bound != "" {
				s.Bound += ", "
			}
			s.Bound += "mean " + d.mean.String()
		}
	}
	s.Holds = s.Holds && s.Held >= s.Need
	return s
}
