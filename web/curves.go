package web

import (
	"encoding/csv"
	"fmt"
	"html"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
)

// curve is one figure of a run over its steps.
type curve struct {
	X []int     `json:"x"`
	Y []float64 `json:"y"`
}

// curvesOf takes the figures of a run's points apart, with what is not finite left out.
func curvesOf(points []run.Point) map[string]curve {
	out := map[string]curve{}
	for _, p := range points {
		for name, v := range p.Metrics {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			c := out[name]
			c.X, c.Y = append(c.X, p.Step), append(c.Y, v)
			out[name] = c
		}
	}
	return out
}

// thin keeps at most about n points of a curve: of each stretch its lowest and its highest, so that no peak is lost, and both ends.
func (c curve) thin(n int) curve {
	if len(c.X) <= n || n < 4 {
		return c
	}
	buckets := (n - 2) / 2
	out := curve{X: make([]int, 0, n), Y: make([]float64, 0, n)}
	keep := func(i int) {
		if len(out.X) == 0 || out.X[len(out.X)-1] < c.X[i] {
			out.X, out.Y = append(out.X, c.X[i]), append(out.Y, c.Y[i])
		}
	}
	keep(0)
	for b := range buckets {
		low, high := b*len(c.X)/buckets, b*len(c.X)/buckets
		for i := low; i < (b+1)*len(c.X)/buckets; i++ {
			if c.Y[i] < c.Y[low] {
				low = i
			}
			if c.Y[i] > c.Y[high] {
				high = i
			}
		}
		keep(min(low, high))
		keep(max(low, high))
	}
	keep(len(c.X) - 1)
	return out
}

// between is the part of a curve from one step to another.
func (c curve) between(from, to int) curve {
	lo, _ := slices.BinarySearch(c.X, from)
	hi, _ := slices.BinarySearch(c.X, to+1)
	return curve{c.X[lo:hi], c.Y[lo:hi]}
}

// Kinds of runs whose curves a round shows.
var curveKinds = []string{loop.KindSFT, loop.KindReward, loop.KindPPO, loop.KindEvaluate}

// charts are the curves that are shown first; all other figures of a run stand under their own names.
var charts = []struct {
	title   sentence
	kind    string
	metrics []string
}{
	{"Loss on demonstrations, nats per token", loop.KindSFT, []string{"loss"}},
	{"Reward loss", loop.KindReward, []string{"loss", "heldout_loss"}},
	{"Reward accuracy", loop.KindReward, []string{"accuracy", "heldout_accuracy"}},
	{"Reward score", loop.KindPPO, []string{"score"}},
	{"KL from SFT, nats per answer", loop.KindPPO, []string{"kl"}},
	{"Entropy, nats per token", loop.KindPPO, []string{"entropy"}},
	{"Value loss", loop.KindPPO, []string{"value_loss"}},
	{"Answers ending by themselves", loop.KindPPO, []string{"eos_rate"}},
	{"Clipped share of ratios", loop.KindPPO, []string{"clipfrac"}},
	{"Length of answers, tokens", loop.KindPPO, []string{"length"}},
	{"Pairs of tokens said before", loop.KindPPO, []string{"repeat_rate"}},
	{"The same prompts: reward and held-out judge", loop.KindPPO, []string{"sample_score", "sample_held_score"}},
	{"Mean score on held-out prompts", loop.KindEvaluate, []string{"score_sft", "score_after"}},
}

// lineNames tell the lines of a chart apart.
var lineNames = map[string]sentence{
	"loss": "training", "heldout_loss": "held out", "accuracy": "training", "heldout_accuracy": "held out",
	"sample_score": "reward model", "sample_held_score": "held-out judge", "score_sft": "SFT", "score_after": "after the round",
}

// unseen are figures that say where a step stands, and are no curve.
var unseen = []string{"iteration", "epoch", "model"}

// curveFigure is a chart of a page: what is drawn where scripts do not run, what a script makes of it, and the same numbers as a table.
type curveFigure struct {
	ID      string
	Kind    string
	Title   string   // "" where the name of its metric is the title
	Metrics []string // that it may show
	Labels  []string // of the lines, "" where there is one
	Lines   []curve  // by metric; thinned
	Limits  []float64
	Rows    []figureRow
	Last    string
}

type figureRow struct {
	Step   int
	Values []string
}

// Sizes of what stands in the page itself.
const (
	plottedPoints = 240
	tableRows     = 40
)

// newFigure makes a chart; say translates a name.
func newFigure(say func(sentence) string, title sentence, kind string, metrics []string, all map[string]curve, limits []float64) curveFigure {
	f := curveFigure{ID: strings.ReplaceAll("curve-"+kind+"-"+metrics[0], ".", "-"), Kind: kind, Metrics: metrics, Limits: limits}
	if title != "" {
		f.Title = say(title)
	}
	var last []string
	for _, m := range metrics {
		c := all[m]
		label := ""
		if len(metrics) > 1 {
			label = say(lineNames[m])
		}
		f.Labels, f.Lines = append(f.Labels, label), append(f.Lines, c.thin(plottedPoints))
		if n := len(c.Y); n > 0 {
			last = append(last, num(c.Y[n-1]))
		}
	}
	f.Last = strings.Join(last, " · ")
	f.Rows = tableOf(f.Lines)
	return f
}

// tableOf is a table of lines, one row for each of so many steps.
func tableOf(lines []curve) (rows []figureRow) {
	values := map[int][]string{}
	for i, c := range lines {
		c = c.thin(tableRows)
		for j, x := range c.X {
			if values[x] == nil {
				values[x] = slices.Repeat([]string{"–"}, len(lines))
			}
			values[x][i] = num(c.Y[j])
		}
	}
	for _, x := range slices.Sorted(maps.Keys(values)) {
		rows = append(rows, figureRow{x, values[x]})
	}
	return rows
}

// Any says whether the chart has anything to show.
func (f curveFigure) Any() bool { return len(f.Rows) > 0 }

// Join is a list for a script.
func (curveFigure) Join(list []string) string { return strings.Join(list, "|") }

// Bounds are the limits for a script.
func (f curveFigure) Bounds() string {
	var out []string
	for _, l := range f.Limits {
		out = append(out, strconv.FormatFloat(l, 'g', 6, 64))
	}
	return strings.Join(out, "|")
}

// figuresOf are the charts of one run: those shown first, and the others by name.
func figuresOf(say func(sentence) string, kind string, all map[string]curve, limits map[string][]float64) (first, others []curveFigure) {
	shown := map[string]bool{}
	for _, c := range charts {
		if c.kind == kind {
			for _, m := range c.metrics {
				shown[m] = true
			}
			first = append(first, newFigure(say, c.title, kind, c.metrics, all, limits[c.metrics[0]]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !shown[name] && !slices.Contains(unseen, name) {
			others = append(others, newFigure(say, "", kind, []string{name}, all, limits[name]))
		}
	}
	return first, others
}

// linePlot draws lines over a common range of steps, with dashed lines at the limits that lie within reach.
func linePlot(id, title, desc string, lines []curve, limits []float64) template.HTML {
	var b strings.Builder
	svgHead(&b, id, title, desc, plotHeight)
	low, high, left, right := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, c := range lines {
		for i, v := range c.Y {
			low, high = math.Min(low, v), math.Max(high, v)
			left, right = math.Min(left, float64(c.X[i])), math.Max(right, float64(c.X[i]))
		}
	}
	if low > high {
		low, high, left, right = 0, 1, 0, 1
	}
	if low == high {
		low, high = low-math.Max(1e-9, math.Abs(low)*.1), high+math.Max(1e-9, math.Abs(high)*.1)
	}
	base := plotHeight - plotBottom
	x := func(v float64) float64 { return plotLeft + (v-left)/math.Max(1, right-left)*(plotWidth-plotLeft-12) }
	y := func(v float64) float64 { return base - (v-low)/(high-low)*(base-plotTop) }
	for _, v := range ticks(low, high, 4) {
		svgLine(&b, "grid", plotLeft, y(v), plotWidth, y(v))
		svgText(&b, plotLeft-6, y(v)+4, "end", "tick", num(v))
	}
	for _, v := range ticks(left, right, 5) {
		svgText(&b, x(v), base+16, "middle", "tick", num(v))
	}
	for i, c := range lines {
		var at []string
		for j, v := range c.Y {
			at = append(at, coordinate(x(float64(c.X[j])))+","+coordinate(y(v)))
		}
		fmt.Fprintf(&b, `<polyline class="curve c%d" points="%s"/>`, i, html.EscapeString(strings.Join(at, " ")))
	}
	svgLine(&b, "axis", plotLeft, base, plotWidth, base)
	for _, l := range limits {
		if l >= low && l <= high {
			svgLine(&b, "reference", plotLeft, y(l), plotWidth, y(l))
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// writeCSV writes all points of a round's runs: a row for each step, a column for each figure; what is not finite is empty.
func writeCSV(to io.Writer, kinds []string, points [][]run.Point) error {
	names := map[string]bool{}
	for _, list := range points {
		for _, p := range list {
			for name := range p.Metrics {
				names[name] = true
			}
		}
	}
	columns := slices.Sorted(maps.Keys(names))
	if _, err := io.WriteString(to, "\ufeff"); err != nil {
		return err
	}
	w := csv.NewWriter(to)
	w.UseCRLF = true
	if err := w.Write(append([]string{"run", "step", "at"}, columns...)); err != nil {
		return err
	}
	for i, list := range points {
		for _, p := range list {
			row := []string{kinds[i], strconv.Itoa(p.Step), p.At.UTC().Format(time.RFC3339Nano)}
			for _, name := range columns {
				v, ok := p.Metrics[name]
				if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
					row = append(row, "")
					continue
				}
				row = append(row, strconv.FormatFloat(v, 'g', -1, 64))
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
	}
	w.Flush()
	return w.Error()
}
