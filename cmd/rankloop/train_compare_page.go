package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// The page of a comparison stands alone: no script, no file beside it, light and dark by the reader's own setting. Curves differ in
// colour and in dashes, and the numbers stand in a table below each plot.

const comparePageHead = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Comparison of runs</title><style>
:root { color-scheme: light dark; --ink: #1b1f24; --muted: #57606a; --line: #d8dee4; --ground: #ffffff; --c0: #0b62c4; --c1: #b3410e; --c2: #17703a; --c3: #7b3fb5; --c4: #8a6100; --c5: #0f7285; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --muted: #9aa6b2; --line: #30363d; --ground: #0d1117; --c0: #6cb0ff; --c1: #ff9a66; --c2: #5bd18a; --c3: #cfa0ff; --c4: #e6bd55; --c5: #62d0e6; } }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .2rem; } p { margin: .2rem 0 .6rem; } .muted { color: var(--muted); }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; } .grid { stroke: var(--line); } text { fill: var(--muted); }
path { fill: none; stroke-width: 2; stroke-linejoin: round; } circle { stroke: none; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid var(--line); }
.key { display: inline-block; width: 2.2rem; height: .7rem; vertical-align: middle; }
`

// dashes tell curves apart without colour.
var dashes = []string{"", "7 4", "2 3", "10 3 2 3", "4 2", "12 5"}

// comparePage writes the page.
func comparePage(w io.Writer, runs []string, all []comparison) error {
	var b strings.Builder
	b.WriteString(comparePageHead)
	for i := range dashes {
		fmt.Fprintf(&b, ".s%d { stroke: var(--c%d); } .f%d { fill: var(--c%d); }\n", i, i, i, i)
	}
	b.WriteString("</style></head><body><main>\n<h1>Comparison of runs</h1>\n<p>")
	for i, run := range runs {
		fmt.Fprintf(&b, `%s %s &#160; `, key(i), html.EscapeString(run))
	}
	b.WriteString("</p>\n")
	for i, c := range all {
		unit := ""
		if c.Unit != "" && c.Unit != "1" {
			unit = " (" + c.Unit + ")"
		}
		fmt.Fprintf(&b, "<h2>%s%s</h2>\n", html.EscapeString(c.Metric), html.EscapeString(unit))
		if c.Meaning != "" {
			fmt.Fprintf(&b, "<p class=\"muted\">%s</p>\n", html.EscapeString(sentenceCase(c.Meaning)))
		}
		if c.Healthy != "" {
			fmt.Fprintf(&b, "<p class=\"muted\">Healthy: %s.</p>\n", html.EscapeString(c.Healthy))
		}
		comparePlot(&b, i, runs, c)
		b.WriteString(`<div class="scroll" tabindex="0" role="region" aria-label="` + html.EscapeString("numbers of "+c.Metric) + `"><table><tr><th></th><th>run</th><th>first</th><th>last tenth</th><th>least</th><th>most</th><th>points</th></tr>` + "\n")
		for _, s := range c.Series {
			fmt.Fprintf(&b, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%d</td></tr>\n", key(slices.Index(runs, s.Run)), html.EscapeString(s.Run),
				fourDigits(s.Y[0]), fourDigits(lastMean(s.Y)), fourDigits(slices.Min(s.Y)), fourDigits(slices.Max(s.Y)), len(s.Y))
		}
		b.WriteString("</table></div>\n")
	}
	b.WriteString("</main></body></html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// sentenceCase makes a sentence of a definition.
func sentenceCase(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// key is the sign of run i.
func key(i int) string {
	k := i % len(dashes)
	return fmt.Sprintf(`<svg class="key" viewBox="0 0 36 10" aria-hidden="true"><path class="s%d" d="M0 5H36" stroke-dasharray="%s"/></svg>`, k, dashes[k])
}

const (
	plotW, plotH        = 720.0, 260.0
	plotLeft, plotRight = 62.0, 12.0
	plotTop, plotFoot   = 10.0, 40.0
	plotPoints          = 400 // of a curve: more cannot be seen
)

// comparePlot draws a figure of all runs.
func comparePlot(b *strings.Builder, n int, runs []string, c comparison) {
	var xs, ys []float64
	for _, s := range c.Series {
		xs, ys = append(xs, s.X...), append(ys, s.Y...)
	}
	x0, x1 := padded(slices.Min(xs), slices.Max(xs), 0)
	y0, y1 := padded(slices.Min(ys), slices.Max(ys), 0.05)
	px := func(v float64) float64 { return plotLeft + (v-x0)/(x1-x0)*(plotW-plotLeft-plotRight) }
	py := func(v float64) float64 { return plotTop + (y1-v)/(y1-y0)*(plotH-plotTop-plotFoot) }
	fmt.Fprintf(b, `<svg role="img" aria-labelledby="t%d d%d" viewBox="0 0 %g %g"><title id="t%d">%s over %s</title><desc id="d%d">%s</desc>`+"\n",
		n, n, plotW, plotH, n, html.EscapeString(c.Metric), html.EscapeString(c.X), n, html.EscapeString(told(c)))
	for _, v := range roundTicks(y0, y1, 5) {
		fmt.Fprintf(b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`, plotLeft, plotW-plotRight, py(v), py(v), plotLeft-6, py(v)+4, fourDigits(v))
	}
	for _, v := range roundTicks(x0, x1, 8) {
		fmt.Fprintf(b, `<text x="%.1f" y="%g" text-anchor="middle">%s</text>`, px(v), plotH-plotFoot+18, fourDigits(v))
	}
	fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="end">%s</text>`+"\n", plotW-plotRight, plotH-4, html.EscapeString(c.X))
	for _, s := range c.Series {
		k := slices.Index(runs, s.Run) % len(dashes)
		s = thinned(byX(s), plotPoints)
		var d strings.Builder
		for i := range s.X {
			fmt.Fprintf(&d, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[i == 0], px(s.X[i]), py(s.Y[i]))
		}
		fmt.Fprintf(b, `<path class="s%d" d="%s" stroke-dasharray="%s"/>`, k, d.String(), dashes[k])
		fmt.Fprintf(b, `<circle class="f%d" cx="%.1f" cy="%.1f" r="3"/>`+"\n", k, px(s.X[len(s.X)-1]), py(s.Y[len(s.Y)-1]))
	}
	b.WriteString("</svg>\n")
}

// told says a plot in words.
func told(c comparison) string {
	var parts []string
	for _, s := range c.Series {
		parts = append(parts, fmt.Sprintf("%s from %s to %s", s.Run, fourDigits(s.Y[0]), fourDigits(lastMean(s.Y))))
	}
	return strings.Join(parts, "; ")
}

// padded widens an interval, and makes one of a point.
func padded(lo, hi, share float64) (float64, float64) {
	if hi == lo {
		return lo - 0.5, hi + 0.5
	}
	d := share * (hi - lo)
	return lo - d, hi + d
}

// roundTicks are about n round numbers between lo and hi.
func roundTicks(lo, hi float64, n int) (out []float64) {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(n))))
	for _, f := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(step*f) <= float64(n) {
			step *= f
			break
		}
	}
	for k := math.Ceil(lo/step - 1e-9); k*step <= hi+step*1e-9; k++ {
		out = append(out, k*step+0) // no -0
	}
	return out
}

// thinned is a curve of at most n points, each the mean of its share.
func thinned(s series, n int) series {
	if len(s.X) <= n {
		return s
	}
	out := series{Run: s.Run}
	for i := range n {
		lo, hi := i*len(s.X)/n, (i+1)*len(s.X)/n
		var x, y float64
		for j := lo; j < hi; j++ {
			x += s.X[j] / float64(hi-lo)
			y += s.Y[j] / float64(hi-lo)
		}
		out.X, out.Y = append(out.X, x), append(out.Y, y)
	}
	return out
}
