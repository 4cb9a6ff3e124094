package reward

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// String is the slice as a line of a table: percent, interval, number of pairs.
func (s Slice) String() string {
	if s.N == 0 {
		return "no pairs"
	}
	return fmt.Sprintf("%.1f%%  [%.1f, %.1f]  n=%d", 100*s.Accuracy, 100*s.Low, 100*s.High, s.N)
}

// part is one list of slices with its title.
type part struct {
	title  string
	slices []Slice
}

// shownLabelers bounds the labelers that a table lists.
const shownLabelers = 30

func (a Analysis) parts() []part {
	labelers := make([]Slice, 0, len(a.Labelers))
	for _, s := range a.Labelers[:min(shownLabelers, len(a.Labelers))] {
		if s.Name == "" {
			s.Name = "(not named)"
		}
		labelers = append(labelers, s)
	}
	title := "by labeler"
	if n := len(a.Labelers); n > shownLabelers {
		title = fmt.Sprintf("by labeler, the busiest %d of %d", shownLabelers, n)
	}
	splits := []Slice{}
	for _, s := range a.Splits {
		if s.Name == "" {
			s.Name = "(none named)"
		}
		splits = append(splits, s)
	}
	all := []part{
		{"by split", splits}, {title, labelers}, {"by margin of the model, nats", a.Confidence},
		{"by rank distance", a.Distance}, {"by strength", a.Strength},
		{"length", []Slice{named("longer one wins (no model)", a.Length.LongerWins), named("model, longer preferred", a.Length.Longer),
			named("model, shorter preferred", a.Length.Shorter), named("model, alike within 10%", a.Length.Alike)}},
		{"position", []Slice{named("first listed wins (no model)", a.Position.FirstWins)}},
	}
	var out []part
	for _, p := range all {
		if len(p.slices) > 0 {
			out = append(out, p)
		}
	}
	return out
}

func named(name string, s Slice) Slice {
	s.Name = name
	return s
}

// facts are the figures that are no slices.
func (a Analysis) facts() [][2]string {
	rows := [][2]string{
		{"accuracy", fmt.Sprintf("%.1f%%  95%% [%.1f, %.1f]  n=%d pairs of %d prompts", 100*a.Accuracy, 100*a.Low, 100*a.High, a.N, a.Prompts)},
		{"ceiling", "not known: no pair was decided by two labelers"},
		{"loss", fmt.Sprintf("%.4f nats a pair (chance 0.6931)", a.Loss)},
		{"calibration error", fmt.Sprintf("%.3f", a.ECE)},
		{"balanced for length", "not known: one of the two lengths never won"},
		{"reward and length", fmt.Sprintf("correlation %+.2f within prompts", a.Length.Correlation)},
		{"prefers the first listed", fmt.Sprintf("%.1f%%", 100*a.Position.ModelFirst)},
	}
	if a.AgreementN > 0 {
		rows[1][1] = fmt.Sprintf("%.1f%%, from an agreement of %.1f%% on n=%d", 100*a.Ceiling, 100*a.Agreement, a.AgreementN)
	}
	if a.Length.Balanced > 0 {
		rows[4][1] = fmt.Sprintf("%.1f%%", 100*a.Length.Balanced)
	}
	return rows
}

// WriteTable writes the analysis for people.
func (a Analysis) WriteTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range a.facts() {
		fmt.Fprintf(tw, "%s\t%s\n", row[0], row[1])
	}
	for _, p := range a.parts() {
		fmt.Fprintf(tw, "\n%s\t\n", p.title)
		for _, s := range p.slices {
			fmt.Fprintf(tw, "  %s\t%s\n", s.Name, s)
		}
	}
	fmt.Fprintf(tw, "\ncalibration\t\n")
	for _, b := range a.Calibration {
		fmt.Fprintf(tw, "  says %.1f%%\tis right in %.1f%%  n=%d\n", 100*b.Confidence, 100*b.Accuracy, b.N)
	}
	return tw.Flush()
}
