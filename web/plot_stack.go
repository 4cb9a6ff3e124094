package web

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// stack is what a plot of piled columns shows: a value of each name in each column. There are at most five names.
type stack struct {
	Names   []string
	Columns []pile
}

// pile is a column, from the bottom up.
type pile struct {
	Label  string
	Values []float64
}

const legendRow = 20.0

// stackPlot draws columns whose parts are piled, with a legend above. Parts differ in colour and, for those who see none, in the words of
// their titles and of the table that stands by.
func stackPlot(id, title, desc string, s stack) template.HTML {
	var b strings.Builder
	height := plotHeight + legendRow
	svgHead(&b, id, title, desc, height)
	x := plotLeft
	for i, name := range s.Names {
		name = clipRunes(name, 20)
		fmt.Fprintf(&b, `<rect class="part p%d" x="%s" y="2" width="10" height="10"/>`, i, coordinate(x))
		svgText(&b, x+15, 11, "start", "name", name)
		x += 30 + letter*float64(len([]rune(name)))
	}
	top := 0.0
	for _, c := range s.Columns {
		sum := 0.0
		for _, v := range c.Values {
			sum += v
		}
		top = math.Max(top, sum)
	}
	if top <= 0 {
		top = 1
	}
	base := height - plotBottom
	y := func(v float64) float64 { return base - v/top*(base-plotTop-legendRow) }
	for _, v := range ticks(0, top, 4) {
		svgLine(&b, "grid", plotLeft, y(v), plotWidth, y(v))
		svgText(&b, plotLeft-6, y(v)+4, "end", "tick", num(v))
	}
	width := math.Min(maxColumn, (plotWidth-plotLeft)/math.Max(1, float64(len(s.Columns))))
	every := 1 // only so many labels that they do not run into each other
	for _, c := range s.Columns {
		every = max(every, int(math.Ceil((letter*float64(len([]rune(c.Label)))+4)/width)))
	}
	for i, c := range s.Columns {
		x, sum := plotLeft+float64(i)*width, 0.0
		for part, v := range c.Values {
			if !(v > 0) {
				continue
			}
			fmt.Fprintf(&b, `<rect class="part p%d" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`, part, coordinate(x+width*.1), coordinate(y(sum+v)),
				coordinate(width*.8), coordinate(y(sum)-y(sum+v)), html.EscapeString(c.Label+", "+s.Names[part]+": "+num(v)))
			sum += v
		}
		if i%every == 0 {
			svgText(&b, x+width/2, base+16, "middle", "tick", c.Label)
		}
	}
	svgLine(&b, "axis", plotLeft, base, plotWidth, base)
	b.WriteString("</svg>")
	return template.HTML(b.String())
}
