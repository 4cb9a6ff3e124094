package eval

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Chart is a plot with two logarithmic axes: what was measured as marks, what is expected as a line.
type Chart struct {
	Title        string
	X, Y         string // what the axes show
	XUnit, YUnit string // behind the numbers at the axes, empty = none
	Measured     []Point
	Line         []Point // in rising order of X; empty = none
	LineName     string
	Note         string // under the title
}

// Point is a place in a chart, both coordinates above 0. Name is told where one points at it.
type Point struct {
	X, Y float64
	Name string
}

const (
	chartWidth, chartHeight = 340.0, 280.0
	chartLeft, chartRight   = 52.0, 12.0
	chartTop, chartBottom   = 62.0, 40.0
)

// ChartsSVG draws charts side by side as a file of its own.
func ChartsSVG(label string, charts ...Chart) string {
	var s svg
	for i, c := range charts {
		fmt.Fprintf(&s, `<g transform="translate(%s 0)">`+"\n%s</g>\n", num(float64(i)*chartWidth), c.draw())
	}
	return alone(Figure(float64(len(charts))*chartWidth, chartHeight, label, s.String()))
}

// ChartsHTML draws charts as a page of its own, beside each other where there is room.
func ChartsHTML(title string, charts ...Chart) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<h1>%s</h1>\n", html.EscapeString(title))
	for _, c := range charts {
		b.WriteString(Figure(chartWidth, chartHeight, fmt.Sprintf("%s: %s over %s", c.Title, c.Y, c.X), c.draw()))
	}
	return Page(title, "", b.String())
}

// axis maps values to coordinates by their logarithms.
type axis struct{ low, high, from, to float64 }

// newAxis leaves some room at both ends of the values.
func newAxis(values []float64, from, to float64) axis {
	a := axis{math.Inf(1), 0, from, to}
	for _, v := range values {
		a.low, a.high = min(a.low, v), max(a.high, v)
	}
	room := math.Pow(a.high/a.low, 0.06) * 1.05
	a.low, a.high = a.low/room, a.high*room
	return a
}

func (a axis) at(v float64) float64 {
	return a.from + (a.to-a.from)*math.Log(v/a.low)/math.Log(a.high/a.low)
}

// ticks are round numbers within the axis: powers of ten, and 2 and 5 times them where there are few.
func (a axis) ticks() []float64 {
	steps := []float64{1, 2, 5}
	if a.high/a.low > 100 {
		steps = steps[:1]
	}
	var out []float64
	for e := math.Floor(math.Log10(a.low)); e <= math.Log10(a.high); e++ {
		for _, s := range steps {
			if v := s * math.Pow(10, e); v >= a.low && v <= a.high {
				out = append(out, v)
			}
		}
	}
	return out
}

// short writes a number with a prefix of the SI: 20 ms, 1 M.
func short(v float64, unit string) string {
	prefixes := []string{"n", "µ", "m", "", "k", "M", "G", "T"}
	e := max(-3, min(int(math.Floor(math.Log10(v)/3+1e-9)), 4))
	return strings.TrimSuffix(num(v/math.Pow(1000, float64(e)))+" "+prefixes[e+3]+unit, " ")
}

func (c Chart) draw() string {
	var s svg
	var xs, ys []float64
	for _, p := range append(append([]Point{}, c.Measured...), c.Line...) {
		xs, ys = append(xs, p.X), append(ys, p.Y)
	}
	right, bottom := chartWidth-chartRight, chartHeight-chartBottom
	x, y := newAxis(xs, chartLeft, right), newAxis(ys, bottom, chartTop)
	s.text(chartLeft, 16, 13, `font-weight="600"`, c.Title)
	s.text(chartLeft, 33, 11, `fill-opacity="0.8"`, c.Note)
	mark(&s, 0, chartLeft+6, 46)
	s.text(chartLeft+16, 50, 11, "", "measured")
	if len(c.Line) > 0 {
		s.el(`path d="M%s 46h22" stroke="%s" stroke-width="2"`, num(chartLeft+84), palette[1])
		s.text(chartLeft+112, 50, 11, "", c.LineName)
	}
	for _, v := range x.ticks() {
		s.el(`path d="M%s %sV%s" stroke="currentColor" stroke-opacity="0.16"`, num(x.at(v)), num(bottom), num(chartTop))
		s.text(x.at(v), bottom+15, 11, `text-anchor="middle" fill-opacity="0.8"`, short(v, c.XUnit))
	}
	for _, v := range y.ticks() {
		s.el(`path d="M%s %sH%s" stroke="currentColor" stroke-opacity="0.16"`, num(chartLeft), num(y.at(v)), num(right))
		s.text(chartLeft-6, y.at(v)+4, 11, `text-anchor="end" fill-opacity="0.8"`, short(v, c.YUnit))
	}
	s.el(`path d="M%s %sV%sH%s" stroke="currentColor" stroke-opacity="0.5" fill="none"`, num(chartLeft), num(chartTop), num(bottom), num(right))
	s.text((chartLeft+right)/2, bottom+32, 11, `text-anchor="middle" fill-opacity="0.7"`, c.X)
	if len(c.Line) > 0 {
		path, step := "", "M"
		for _, p := range c.Line {
			path += step + num(x.at(p.X)) + " " + num(y.at(p.Y))
			step = "L"
		}
		s.el(`path d="%s" stroke="%s" stroke-width="2" fill="none"`, path, palette[1])
	}
	for _, p := range c.Measured {
		fmt.Fprintf(&s, "<g><title>%s</title>\n", html.EscapeString(fmt.Sprintf("%s: %s", p.Name, short(p.Y, c.YUnit))))
		mark(&s, 0, x.at(p.X), y.at(p.Y))
		s.WriteString("</g>\n")
	}
	return s.String()
}
