package eval

import (
	"fmt"
	"html"
	"math"
	"slices"
)

// The plot is accuracy over the number of examples, as in figures 1.2 and 3.8 of the GPT-3 paper: one panel per task, one line
// per model with its 95% intervals, fine-tuned models as levels without examples, and chance.

const (
	panelWidth, panelHeight = 280.0, 205.0
	plotLeft, plotRight     = 42.0, 14.0
	plotTop, plotBottom     = 30.0, 34.0
	panelsAcross            = 3
)

// series is a model in the plot.
type series struct {
	name      string
	fineTuned bool
}

func (r *Report) series() []series {
	var out []series
	for _, c := range r.Columns {
		if s := (series{c.Model, c.FineTuned}); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// SVG is the plot of all tasks as a file of its own.
func (r *Report) SVG() string {
	across := float64(max(1, min(panelsAcross, len(r.Tasks))))
	var s svg
	y := r.legend(&s, across*panelWidth)
	for i, row := range r.Tasks {
		fmt.Fprintf(&s, `<g transform="translate(%s %s)">`+"\n%s</g>\n", num(float64(i%panelsAcross)*panelWidth), num(y+float64(i/panelsAcross)*panelHeight), r.panel(row))
	}
	rows := (len(r.Tasks) + panelsAcross - 1) / panelsAcross
	return alone(Figure(across*panelWidth, y+float64(rows)*panelHeight, "accuracy over the number of examples, by task and model", s.String()))
}

// legend names the models, in as many lines as the width asks for, and returns its height.
func (r *Report) legend(s *svg, width float64) float64 {
	x, y := 14.0, 18.0
	place := func(name string) float64 {
		need := 42 + 7*float64(len(name))
		if x > 14 && x+need > width {
			x, y = 14, y+20
		}
		s.text(x+30, y, 13, "", name)
		return need
	}
	for i, m := range r.series() {
		name := m.name
		if m.fineTuned {
			name += " (fine-tuned)"
		}
		need := place(name)
		colour := palette[i%len(palette)]
		s.el(`path d="M%s %sh24" stroke="%s" stroke-width="2"%s`, num(x), num(y-4), colour, dash(m))
		mark(s, i, x+12, y-4)
		x += need
	}
	if slices.ContainsFunc(r.Tasks, func(row Row) bool { return row.Chance > 0 }) {
		place("chance")
		s.el(`path d="M%s %sh24" stroke="currentColor" stroke-dasharray="2 3" stroke-opacity="0.7"`, num(x), num(y-4))
	}
	return y + 12
}

func dash(m series) string {
	if m.fineTuned {
		return ` stroke-dasharray="6 4"`
	}
	return ""
}

// mark draws the shape of a series.
func mark(s *svg, i int, x, y float64) {
	colour := palette[i%len(palette)]
	shape := map[int]string{0: "", 1: "M-4 -4h8v8h-8z", 2: "M0 -5l5 9h-10z", 3: "M0 -5l5 5l-5 5l-5 -5z", 4: "M-5 -3h10l-5 9z"}[i%len(palette)]
	if shape == "" {
		s.el(`circle cx="%s" cy="%s" r="4" fill="%s"`, num(x), num(y), colour)
		return
	}
	s.el(`path d="%s" transform="translate(%s %s)" fill="%s"`, shape, num(x), num(y), colour)
}

// ceiling is the top of a panel's scale: the least of 10, 25, 50 and 100 percent that holds all intervals.
func (row Row) ceiling() float64 {
	top := row.Chance
	for _, c := range row.Cells {
		top = max(top, c.Accuracy.High)
	}
	for _, limit := range []float64{0.1, 0.25, 0.5} {
		if top <= limit {
			return limit
		}
	}
	return 1
}

// panel draws one task.
func (r *Report) panel(row Row) string {
	var s svg
	top := row.ceiling()
	bottom, right := panelHeight-plotBottom, panelWidth-plotRight
	y := func(p float64) float64 { return bottom - p/top*(bottom-plotTop) }
	x := func(shots int) float64 {
		at := float64(slices.Index(r.Shots, shots)) + 0.5
		return plotLeft + at*(right-plotLeft)/float64(len(r.Shots))
	}
	s.text(plotLeft, 18, 13, `font-weight="600"`, row.Task)
	s.text(right, 18, 11, `text-anchor="end" fill-opacity="0.7"`, fmt.Sprintf("n = %d", row.N))
	for i := range 5 {
		p := top * float64(i) / 4
		s.el(`path d="M%s %sH%s" stroke="currentColor" stroke-opacity="0.16"`, num(plotLeft), num(y(p)), num(right))
		if i%2 == 0 {
			s.text(plotLeft-6, y(p)+4, 11, `text-anchor="end" fill-opacity="0.8"`, num(100*p)+"%")
		}
	}
	for _, k := range r.Shots {
		s.text(x(k), bottom+15, 11, `text-anchor="middle" fill-opacity="0.8"`, fmt.Sprint(k))
	}
	s.text((plotLeft+right)/2, bottom+29, 11, `text-anchor="middle" fill-opacity="0.7"`, "examples")
	if row.Chance > 0 {
		s.el(`path d="M%s %sH%s" stroke="currentColor" stroke-dasharray="2 3" stroke-opacity="0.7"`, num(plotLeft), num(y(row.Chance)), num(right))
	}
	all := r.series()
	for i, m := range all {
		shift := 7 * (float64(i) - float64(len(all)-1)/2) // side by side, so that no interval hides another
		r.line(&s, row, i, m, func(k int) float64 { return x(k) + shift }, y, right)
	}
	return s.String()
}

// line draws one model: a path over its numbers of examples, or a level where it is fine-tuned, with intervals and marks.
func (r *Report) line(s *svg, row Row, i int, m series, x func(int) float64, y func(float64) float64, right float64) {
	colour := palette[i%len(palette)]
	path := ""
	for _, c := range row.Cells {
		if c.Model != m.name || c.FineTuned != m.fineTuned {
			continue
		}
		at, p := x(c.Shots), c.Accuracy
		if m.fineTuned {
			at = x(r.Shots[0])
			path = fmt.Sprintf("M%s %sH%s", num(plotLeft), num(y(p.Mean)), num(right))
		} else {
			step := "L"
			if path == "" {
				step = "M"
			}
			path += step + num(at) + " " + num(y(p.Mean))
		}
		fmt.Fprintf(s, "<g><title>%s</title>\n", html.EscapeString(fmt.Sprintf("%s: %s%% [%s, %s]", c.title(), percent(p.Mean), percent(p.Low), percent(p.High))))
		if !math.IsNaN(p.Low) {
			s.el(`path d="M%s %sV%sm-3 0h6m-3 0V%sm-3 0h6" stroke="%s" stroke-opacity="0.75" fill="none"`, num(at), num(y(p.Mean)), num(y(p.Low)), num(y(p.High)), colour)
		}
		mark(s, i, at, y(p.Mean))
		s.WriteString("</g>\n")
	}
	s.el(`path d="%s" stroke="%s" stroke-width="2" fill="none"%s`, path, colour, dash(m))
}
