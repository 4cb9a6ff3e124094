package reward

import (
	"fmt"
	"html"
	"strings"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/eval"
)

// Size of a plot and of what stands round it, in pixels.
const (
	plotWidth  = 320.0
	plotHeight = 260.0
	plotLeft   = 46.0
	plotRight  = 12.0
	plotTop    = 14.0
	plotBottom = 42.0

	ink  = "#2f7fd1" // stands out on white and on near-black
	ink2 = "#c96a00"
)

// HTML is the analysis as a page that needs nothing else; title says of which model and data.
func (a Analysis) HTML(title string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<h1>%s</h1>\n<p class=\"quiet\">Accuracy is the share of decided pairs whose preferred answer gets the larger reward. Intervals hold the true share with 95%% confidence; pairs of one prompt are not taken for independent.</p>\n", html.EscapeString(title))
	b.WriteString("<div class=\"wide\"><table><tbody>\n")
	for _, row := range a.facts() {
		fmt.Fprintf(&b, "<tr><th scope=\"row\">%s</th><td>%s</td></tr>\n", row[0], row[1])
	}
	b.WriteString("</tbody></table></div>\n<h2>Calibration and confidence</h2>\n<p class=\"quiet\">Left: of the pairs where the model says that its choice is right with a probability, how many it has right; on the dashed line it means what it says. Right: accuracy by the size of the margin, with the ceiling that the labelers set, where it is known.</p>\n")
	fmt.Fprintf(&b, "<div class=\"panels\">%s%s</div>\n", a.calibrationPlot(), a.slicePlot("margin of the model, nats", a.Confidence))
	for _, p := range a.parts() {
		fmt.Fprintf(&b, "<h2>Accuracy %s</h2>\n<div class=\"wide\"><table><thead><tr><th>%s</th><th>Accuracy</th><th>95%% interval</th><th>n</th><th>Prompts</th></tr></thead><tbody>\n",
			html.EscapeString(p.title), html.EscapeString(p.title))
		for _, s := range p.slices {
			fmt.Fprintf(&b, "<tr><td>%s</td><td>%.1f%%</td><td>%.1f to %.1f</td><td>%d</td><td>%d</td></tr>\n",
				html.EscapeString(s.Name), 100*s.Accuracy, 100*s.Low, 100*s.High, s.N, s.Prompts)
		}
		b.WriteString("</tbody></table></div>\n")
	}
	b.WriteString("<h2>Calibration</h2>\n<div class=\"wide\"><table><thead><tr><th>Says</th><th>Is right</th><th>n</th></tr></thead><tbody>\n")
	for _, c := range a.Calibration {
		fmt.Fprintf(&b, "<tr><td>%.1f%%</td><td>%.1f%%</td><td>%d</td></tr>\n", 100*c.Confidence, 100*c.Accuracy, c.N)
	}
	b.WriteString("</tbody></table></div>\n")
	return eval.Page(title, ".panels{display:flex;flex-wrap:wrap;gap:1rem}\n", b.String())
}

// plot collects elements of a plot whose y runs over accuracies from bottom to 1.
type plot struct {
	strings.Builder
	bottom float64
}

func (p *plot) y(v float64) float64 {
	v = max(p.bottom, min(1, v))
	return plotTop + (1-v)/(1-p.bottom)*(plotHeight-plotTop-plotBottom)
}

func plotX(share float64) float64 { return plotLeft + share*(plotWidth-plotLeft-plotRight) }

func (p *plot) text(x, y float64, anchor, text string) {
	fmt.Fprintf(p, `<text x="%.1f" y="%.1f" font-size="11" fill="currentColor" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(text))
}

func (p *plot) line(x1, y1, x2, y2 float64, attributes string) {
	fmt.Fprintf(p, `<path d="M%.1f %.1fL%.1f %.1f" %s fill="none"/>`+"\n", x1, y1, x2, y2, attributes)
}

// grid draws the lines of the accuracies and the name of x.
func (p *plot) grid(x string) {
	for v := p.bottom; v <= 1.001; v += 0.25 {
		p.line(plotLeft, p.y(v), plotWidth-plotRight, p.y(v), `stroke="currentColor" stroke-opacity="0.16"`)
		p.text(plotLeft-6, p.y(v)+4, "end", fmt.Sprintf("%.0f%%", 100*v))
	}
	p.text(plotX(0.5), plotHeight-6, "middle", x)
}

// point draws an accuracy with its interval, in words on pointing at it.
func (p *plot) point(x, value, low, high float64, n int, what string) {
	fmt.Fprintf(p, "<g><title>%s: %.1f%% [%.1f, %.1f], n=%d</title>\n", html.EscapeString(what), 100*value, 100*low, 100*high, n)
	p.line(x, p.y(low), x, p.y(high), `stroke="`+ink+`" stroke-opacity="0.75"`)
	fmt.Fprintf(p, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/></g>`+"\n", x, p.y(value), ink)
}

func (a Analysis) calibrationPlot() string {
	var p plot
	at := func(confidence float64) float64 { return plotX((confidence - 0.5) / 0.5) }
	p.grid("the model's probability of its choice")
	for _, v := range []float64{0.5, 0.6, 0.7, 0.8, 0.9, 1} {
		p.text(at(v), plotHeight-plotBottom+16, "middle", fmt.Sprintf("%.0f%%", 100*v))
	}
	p.line(at(0.5), p.y(0.5), at(1), p.y(1), `stroke="currentColor" stroke-dasharray="4 4" stroke-opacity="0.7"`)
	for _, b := range a.Calibration {
		low, high := labeling.Wilson(b.Accuracy, float64(b.N))
		p.point(at(b.Confidence), b.Accuracy, low, high, b.N, fmt.Sprintf("says %.1f%%", 100*b.Confidence))
	}
	return eval.Figure(plotWidth, plotHeight, "calibration: accuracy over the probability that the model gives its choice", p.String())
}

func (a Analysis) slicePlot(x string, list []Slice) string {
	var p plot
	p.grid(x)
	p.line(plotX(0), p.y(0.5), plotX(1), p.y(0.5), `stroke="currentColor" stroke-dasharray="2 3" stroke-opacity="0.7"`)
	if a.AgreementN > 0 {
		p.line(plotX(0), p.y(a.Ceiling), plotX(1), p.y(a.Ceiling), `stroke="`+ink2+`" stroke-dasharray="6 4"`)
		p.text(plotX(0)+4, p.y(a.Ceiling)-4, "start", "ceiling")
	}
	for i, s := range list {
		at := plotX((float64(i) + 0.5) / float64(len(list)))
		p.point(at, s.Accuracy, s.Low, s.High, s.N, s.Name)
		p.text(at, plotHeight-plotBottom+16, "middle", strings.Replace(s.Name, " or more", "+", 1))
	}
	return eval.Figure(plotWidth, plotHeight, "accuracy by "+x, p.String())
}
