package experiment

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Plot is lines over a common axis. SVG draws it with presentation attributes only, text in the colour of what surrounds it and
// mid-tone lines, so that it can stand on any page under a strict policy and on light and dark ground alike.
type Plot struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	X     string `json:"x"`
	Y     string `json:"y"`
	LogX  bool   `json:"log_x,omitempty"`
	Lines []Line `json:"lines"`
}

// Line is what one seed measured, or the mean over seeds where all of them measured at the same places.
type Line struct {
	Name   string  `json:"name"`
	Seed   int     `json:"seed"` // -1: mean over seeds, with its 95% interval
	Points []Point `json:"points"`
}

// Point is a place on a line; Low = High = Y where there is no interval.
type Point struct {
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// draw joins the points that the seeds recorded.
func draw(plots []Plot, each []*recorder) []Plot {
	out := []Plot{}
	for _, p := range plots {
		var names []string
		lines := map[string][]Line{} // by name, a line a seed
		for _, r := range each {
			for _, m := range r.points {
				if m.plot != p.Name {
					continue
				}
				if !slices.Contains(names, m.line) {
					names = append(names, m.line)
				}
				ls := lines[m.line]
				if len(ls) == 0 || ls[len(ls)-1].Seed != r.seed {
					ls = append(ls, Line{Name: m.line, Seed: r.seed})
				}
				ls[len(ls)-1].Points = append(ls[len(ls)-1].Points, m.Point)
				lines[m.line] = ls
			}
		}
		for _, name := range names {
			p.Lines = append(p.Lines, lines[name]...)
			if mean, ok := meanLine(lines[name]); ok {
				p.Lines = append(p.Lines, mean)
			}
		}
		out = append(out, p)
	}
	return out
}

// meanLine is the mean of lines that have the same places.
func meanLine(lines []Line) (Line, bool) {
	if len(lines) < 2 || len(lines[0].Points) < 2 {
		return Line{}, false
	}
	out := Line{Name: lines[0].Name, Seed: all}
	for i, p := range lines[0].Points {
		var y []float64
		for _, l := range lines {
			if len(l.Points) != len(lines[0].Points) || l.Points[i].X != p.X {
				return Line{}, false
			}
			y = append(y, l.Points[i].Y)
		}
		mean, low, high := student(y)
		out.Points = append(out.Points, Point{p.X, mean, low, high})
	}
	return out, true
}

// palette is told apart with any colour vision (after Okabe and Ito); dashes differ too.
var (
	palette = []string{"#2f7fd1", "#c96a00", "#14906a", "#c0589f", "#7d7a10"}
	dashes  = []string{"", "7 4", "2 3", "9 3 2 3", "4 2"}
)

const (
	plotWidth, plotHeight = 440.0, 300.0
	plotLeft, plotRight   = 52.0, 14.0
	plotTop, plotBottom   = 30.0, 40.0
	legendLine            = 18.0
)

// scale maps values to coordinates.
type scale struct {
	low, high, from, to float64
	log                 bool
}

func (a scale) at(v float64) float64 {
	lo, hi := a.low, a.high
	if a.log {
		v, lo, hi = math.Log(v), math.Log(lo), math.Log(hi)
	}
	return a.from + (a.to-a.from)*(v-lo)/(hi-lo)
}

// ticks are four to nine round numbers, or powers of two where the axis is logarithmic.
func (a scale) ticks() []float64 {
	var out []float64
	if a.log {
		for v := math.Exp2(math.Ceil(math.Log2(a.low) - 1e-9)); v <= a.high*(1+1e-9); v *= 2 {
			out = append(out, v)
		}
		return out
	}
	step := math.Pow(10, math.Floor(math.Log10((a.high-a.low)/3)))
	for _, k := range []float64{5, 2} {
		if (a.high-a.low)/(step*k) >= 3 {
			step *= k
			break
		}
	}
	for k := math.Ceil(a.low/step - 1e-9); k*step <= a.high+1e-9*step; k++ {
		out = append(out, k*step)
	}
	return out
}

// SVG is the plot as an image.
func (p Plot) SVG() string {
	x := scale{math.Inf(1), math.Inf(-1), plotLeft, plotWidth - plotRight, p.LogX}
	y := scale{math.Inf(1), math.Inf(-1), plotHeight - plotBottom, plotTop, false}
	var names []string
	for _, l := range p.Lines {
		if !slices.Contains(names, l.Name) {
			names = append(names, l.Name)
		}
		for _, q := range l.Points {
			x.low, x.high = min(x.low, q.X), max(x.high, q.X)
			y.low, y.high = min(y.low, q.Low), max(y.high, q.High)
		}
	}
	height := plotHeight + legendLine*float64(len(names)) + 4
	var s strings.Builder
	text := func(at, up, size float64, attributes, what string) {
		fmt.Fprintf(&s, `<text x="%s" y="%s" font-size="%s" fill="currentColor"%s>%s</text>`+"\n", num(at), num(up), num(size), attributes, html.EscapeString(what))
	}
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-label="%s" font-family="system-ui, sans-serif">`+"\n",
		num(plotWidth), num(height), num(plotWidth), num(height), html.EscapeString(p.Title+": "+p.Y+" over "+p.X))
	text(plotLeft, 18, 13, ` font-weight="600"`, p.Title)
	if len(names) == 0 {
		text(plotLeft, plotHeight/2, 12, "", "nothing was measured")
		return s.String() + "</svg>\n"
	}
	x.widen()
	y.widen()
	for _, v := range x.ticks() {
		fmt.Fprintf(&s, `<path d="M%s %sV%s" stroke="currentColor" stroke-opacity="0.13"/>`+"\n", num(x.at(v)), num(y.from), num(y.to))
		text(x.at(v), y.from+15, 11, ` text-anchor="middle" fill-opacity="0.8"`, num(v))
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(&s, `<path d="M%s %sH%s" stroke="currentColor" stroke-opacity="0.13"/>`+"\n", num(x.from), num(y.at(v)), num(x.to))
		text(plotLeft-6, y.at(v)+4, 11, ` text-anchor="end" fill-opacity="0.8"`, num(v))
	}
	text((x.from+x.to)/2, y.from+32, 11, ` text-anchor="middle" fill-opacity="0.8"`, p.X)
	text(x.to, 18, 11, ` text-anchor="end" fill-opacity="0.8"`, p.Y)
	for i, name := range names {
		p.series(&s, i, name, x, y)
		up := plotHeight + legendLine*float64(i) + 12
		fmt.Fprintf(&s, `<path d="M%s %sh26" stroke="%s" stroke-width="2.5" stroke-dasharray="%s"/>`+"\n", num(plotLeft), num(up-4), palette[i%len(palette)], dashes[i%len(dashes)])
		text(plotLeft+34, up, 12, "", name)
	}
	return s.String() + "</svg>\n"
}

// widen leaves some room at both ends.
func (a *scale) widen() {
	if a.log {
		a.low, a.high = a.low/1.1, a.high*1.1
		return
	}
	room := 0.04 * (a.high - a.low)
	if room == 0 {
		room = 0.5
	}
	a.low, a.high = a.low-room, a.high+room
}

// series draws the lines of one name: each seed thin and the mean thick, or all alike where there is no mean.
func (p Plot) series(s *strings.Builder, i int, name string, x, y scale) {
	colour, dash := palette[i%len(palette)], dashes[i%len(dashes)]
	mean := slices.ContainsFunc(p.Lines, func(l Line) bool { return l.Name == name && l.Seed == all })
	for _, l := range p.Lines {
		if l.Name != name {
			continue
		}
		width, opacity, title := 1.6, 0.85, fmt.Sprintf("%s, seed %d", name, l.Seed)
		switch {
		case l.Seed == all:
			width, opacity, title = 2.5, 1, name+", mean over seeds with its 95% interval"
			band := ""
			for j, q := range l.Points {
				band += step2(j) + num(x.at(q.X)) + " " + num(y.at(q.High))
			}
			for j := len(l.Points) - 1; j >= 0; j-- {
				band += "L" + num(x.at(l.Points[j].X)) + " " + num(y.at(l.Points[j].Low))
			}
			fmt.Fprintf(s, `<path d="%sZ" fill="%s" fill-opacity="0.13"/>`+"\n", band, colour)
		case mean:
			width, opacity = 0.8, 0.45
		}
		path := ""
		for j, q := range l.Points {
			path += step2(j) + num(x.at(q.X)) + " " + num(y.at(q.Y))
		}
		fmt.Fprintf(s, `<path d="%s" stroke="%s" stroke-width="%s" stroke-opacity="%s" stroke-dasharray="%s" fill="none"><title>%s</title></path>`+"\n",
			path, colour, num(width), num(opacity), dash, html.EscapeString(title))
		if len(l.Points) == 1 {
			q := l.Points[0]
			fmt.Fprintf(s, `<circle cx="%s" cy="%s" r="4" fill="%s"><title>%s: %s</title></circle>`+"\n", num(x.at(q.X)), num(y.at(q.Y)), colour, html.EscapeString(title), num(q.Y))
		}
	}
}

// step2 begins a path or goes on with it.
func step2(i int) string {
	if i == 0 {
		return "M"
	}
	return "L"
}

// num is a number, short.
func num(x float64) string {
	s := strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", x), "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}
