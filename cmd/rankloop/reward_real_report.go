package main

import (
	"fmt"
	"html"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/model/eval"
	"github.com/rankloop/rankloop/reward"
)

// realFields are the columns of the table.
func (s realSet) fields() []string {
	r := s.Reward
	ceiling := "not known"
	if r.AgreementN > 0 {
		ceiling = fmt.Sprintf("%.1f%%  agreement %.1f%%  n=%d", 100*r.Ceiling, 100*r.Agreement, r.AgreementN)
	}
	short := func(r reward.Report) string {
		return fmt.Sprintf("%.1f%% [%.1f, %.1f]", 100*r.Accuracy, 100*r.Low, 100*r.High)
	}
	balanced := "not known"
	if r.Length.Balanced > 0 {
		balanced = fmt.Sprintf("%.1f%%", 100*r.Length.Balanced)
	}
	return []string{s.Set, fmt.Sprint(r.Prompts), fmt.Sprint(r.N), short(r.Report), short(s.Bag), short(s.Longer), short(s.Random), balanced, fmt.Sprintf("%.3f", r.ECE), ceiling}
}

var realHead = []string{"set", "prompts", "pairs", "reward model", "bag of words", "longer wins", "coin", "balanced", "ECE", "ceiling"}

func realTable(sets []realSet) func(io.Writer) error {
	return func(w io.Writer) error {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, strings.Join(realHead, "\t"))
		for _, s := range sets {
			if s.Reward.N == 0 {
				fmt.Fprintf(tw, "%s\tno decided pairs\n", s.Set)
				continue
			}
			fmt.Fprintln(tw, strings.Join(s.fields(), "\t"))
		}
		return tw.Flush()
	}
}

// Layout of the plot, in pixels.
const (
	realLeft  = 190.0
	realWide  = 620.0
	realRow   = 52.0
	realRight = 16.0
)

// realPage is the report as a page.
func realPage(decoder string, folds int, sets []realSet) string {
	var b, svg strings.Builder
	methods := []struct {
		name, colour string
		of           func(realSet) reward.Report
	}{
		{"reward model", "#2f7fd1", func(s realSet) reward.Report { return s.Reward.Report }},
		{"bag of words", "#c96a00", func(s realSet) reward.Report { return s.Bag }},
		{"longer wins", "#14906a", func(s realSet) reward.Report { return s.Longer }},
	}
	x := func(v float64) float64 { return realLeft + (max(0.2, min(1, v))-0.2)/0.8*(realWide-realLeft-realRight) }
	height := 56 + realRow*float64(len(sets))
	text := func(x, y float64, anchor, s string) {
		fmt.Fprintf(&svg, `<text x="%.1f" y="%.1f" font-size="12" fill="currentColor" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(s))
	}
	for i, m := range methods {
		at := 14 + 130*float64(i)
		fmt.Fprintf(&svg, `<circle cx="%.1f" cy="12" r="4" fill="%s"/>`+"\n", at, m.colour)
		text(at+10, 16, "start", m.name)
	}
	for v := 0.2; v <= 1.01; v += 0.2 {
		fmt.Fprintf(&svg, `<path d="M%.1f 28V%.1f" stroke="currentColor" stroke-opacity="0.16"/>`+"\n", x(v), height-22)
		text(x(v), height-6, "middle", fmt.Sprintf("%.0f%%", 100*v))
	}
	fmt.Fprintf(&svg, `<path d="M%.1f 28V%.1f" stroke="currentColor" stroke-dasharray="3 3" stroke-opacity="0.7"/>`+"\n", x(0.5), height-22)
	for i, s := range sets {
		y := 44 + realRow*float64(i)
		text(4, y+12, "start", s.Set)
		for j, m := range methods {
			r, at := m.of(s), y+13*float64(j)-4
			fmt.Fprintf(&svg, "<g><title>%s, %s: %.1f%% [%.1f, %.1f], n=%d</title>", html.EscapeString(s.Set), m.name, 100*r.Accuracy, 100*r.Low, 100*r.High, r.N)
			fmt.Fprintf(&svg, `<path d="M%.1f %.1fH%.1f" stroke="%s" stroke-opacity="0.75"/><circle cx="%.1f" cy="%.1f" r="4" fill="%s"/></g>`+"\n", x(r.Low), at, x(r.High), m.colour, x(r.Accuracy), at, m.colour)
		}
	}
	fmt.Fprintf(&b, "<h1>Reward models on real preferences</h1>\n<p class=\"quiet\">The decoder is %s. Each pair is judged once, by models trained on the other %d of %d parts of the prompts. Lines are 95%% intervals, pairs of one prompt not taken for independent; one half is chance.</p>\n", html.EscapeString(decoder), folds-1, folds)
	fmt.Fprintf(&b, "<div class=\"wide\">%s</div>\n<div class=\"wide\"><table><thead><tr>", eval.Figure(realWide, height, "accuracy by set and method, with intervals", svg.String()))
	for _, h := range realHead {
		fmt.Fprintf(&b, "<th>%s</th>", h)
	}
	b.WriteString("</tr></thead><tbody>\n")
	for _, s := range sets {
		b.WriteString("<tr>")
		for _, f := range s.fields() {
			fmt.Fprintf(&b, "<td>%s</td>", html.EscapeString(f))
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</tbody></table></div>\n<p class=\"quiet\">Balanced: mean of the reward model's accuracy where the longer answer was preferred and where the shorter one was. Ceiling: what any judge can reach on labels that agree as far as these do.</p>\n")
	return eval.Page("Reward models on real preferences", "", b.String())
}
