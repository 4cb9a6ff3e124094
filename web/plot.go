package web

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Plots are SVG made by the server: presentation attributes and classes of plot.css only, so that they fit the content
// policy and follow the theme. Each has a title and a description for those who cannot see it, and stands above or inside a
// table with its numbers.

// column is a bar of a column plot. Error is half the length of its whisker, 0 for none.
type column struct {
	Label string
	Value float64
	Error float64
}

// dot is a row of a dot plot: an estimate with its interval.
type dot struct {
	Label            string
	Value, Low, High float64
}

const (
	plotWidth  = 460.0
	plotHeight = 200.0
	plotLeft   = 58.0
	plotBottom = 34.0
	plotTop    = 14.0
	dotLeft    = 112.0
	dotRow     = 22.0
	maxColumn  = 64.0 // width
	letter     = 6.6  // width of a label's letter
)

// coordinate is short, and no NaN.
func coordinate(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// svgHead opens an image of that height.
func svgHead(b *strings.Builder, id, title, desc string, height float64) {
	fmt.Fprintf(b, `<svg class="plot" role="img" aria-labelledby="%[1]s-title %[1]s-desc" viewBox="0 0 %[2]s %[3]s"><title id="%[1]s-title">%[4]s</title><desc id="%[1]s-desc">%[5]s</desc>`,
		html.EscapeString(id), coordinate(plotWidth), coordinate(height), html.EscapeString(title), html.EscapeString(desc))
}

func svgText(b *strings.Builder, x, y float64, anchor, class, text string) {
	fmt.Fprintf(b, `<text x="%s" y="%s" text-anchor="%s" class="%s">%s</text>`, coordinate(x), coordinate(y), anchor, class, html.EscapeString(text))
}

func svgLine(b *strings.Builder, class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, coordinate(x1), coordinate(y1), coordinate(x2), coordinate(y2))
}

// ticks are round values from at or above low to at or below high, about n of them.
func ticks(low, high float64, n int) []float64 {
	if !(high > low) || math.IsInf(high-low, 0) {
		return []float64{low}
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	for _, f := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*f) <= float64(n) {
			step *= f
			break
		}
	}
	var out []float64
	for v := math.Ceil(low/step-1e-9) * step; v <= high+step*1e-9; v += step {
		out = append(out, math.Round(v/step)*step+0) // no -0
	}
	return out
}

// columnPlot draws columns from zero. reference is the value of a dashed line, 0 for none.
func columnPlot(id, title, desc string, reference float64, columns []column) template.HTML {
	var b strings.Builder
	svgHead(&b, id, title, desc, plotHeight)
	top := reference
	for _, c := range columns {
		if end := c.Value + c.Error; end > top && !math.IsInf(end, 1) { // not for NaN
			top = end
		}
	}
	if top <= 0 {
		top = 1
	}
	base := plotHeight - plotBottom
	y := func(v float64) float64 { return base - math.Max(0, v)/top*(base-plotTop) }
	for _, v := range ticks(0, top, 4) {
		svgLine(&b, "grid", plotLeft, y(v), plotWidth, y(v))
		svgText(&b, plotLeft-6, y(v)+4, "end", "tick", num(v))
	}
	width := math.Min(maxColumn, (plotWidth-plotLeft)/math.Max(1, float64(len(columns))))
	every := 1 // only so many labels that they do not run into each other
	for _, c := range columns {
		every = max(every, int(math.Ceil((letter*float64(len([]rune(c.Label)))+4)/width)))
	}
	for i, c := range columns {
		x := plotLeft + float64(i)*width
		fmt.Fprintf(&b, `<rect class="bar" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`, coordinate(x+width*.1), coordinate(y(c.Value)),
			coordinate(width*.8), coordinate(base-y(c.Value)), html.EscapeString(c.Label+": "+num(c.Value)))
		if c.Error > 0 {
			svgLine(&b, "whisker", x+width/2, y(c.Value-c.Error), x+width/2, y(c.Value+c.Error))
		}
		if i%every == 0 {
			svgText(&b, x+width/2, base+16, "middle", "tick", c.Label)
		}
	}
	svgLine(&b, "axis", plotLeft, base, plotWidth, base)
	if reference > 0 {
		svgLine(&b, "reference", plotLeft, y(reference), plotWidth, y(reference))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// dotPlot draws a row for each dot between low and high, with a dashed line at reference where it lies within.
func dotPlot(id, title, desc string, low, high, reference float64, dots []dot) template.HTML {
	var b strings.Builder
	height := float64(len(dots))*dotRow + plotTop + plotBottom
	svgHead(&b, id, title, desc, height)
	base := height - plotBottom
	x := func(v float64) float64 {
		return dotLeft + (math.Min(high, math.Max(low, v))-low)/(high-low)*(plotWidth-dotLeft-12)
	}
	for _, v := range ticks(low, high, 5) {
		svgLine(&b, "grid", x(v), plotTop, x(v), base)
		svgText(&b, x(v), base+16, "middle", "tick", num(v))
	}
	if reference >= low && reference <= high {
		svgLine(&b, "reference", x(reference), plotTop, x(reference), base)
	}
	for i, d := range dots {
		y := plotTop + (float64(i)+.5)*dotRow
		svgText(&b, dotLeft-10, y+4, "end", "name", clipRunes(d.Label, 16))
		svgLine(&b, "whisker", x(d.Low), y, x(d.High), y)
		fmt.Fprintf(&b, `<circle class="dot" cx="%s" cy="%s" r="4.5"><title>%s</title></circle>`, coordinate(x(d.Value)), coordinate(y),
			html.EscapeString(fmt.Sprintf("%s: %s [%s, %s]", d.Label, num(d.Value), num(d.Low), num(d.High))))
	}
	svgLine(&b, "axis", dotLeft, base, plotWidth-12, base)
	b.WriteString("</svg>")
	return template.HTML(b.String())
}
