package eval

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable prints the report: a line per task, a column per model and number of examples, each cell an accuracy in percent
// with its 95% interval; then what differs from the first column, and perplexity.
func (r *Report) WriteTable(w io.Writer) error {
	if len(r.Tasks) > 0 {
		fmt.Fprintf(w, "accuracy in %%, [95%% interval]; seed %d\n", r.Seed)
		r.table(w, "TASK\tN\tCHANCE", func(row Row) string { return fmt.Sprintf("%s\t%d\t%s", row.Task, row.N, percent(row.Chance)) }, Cell.accuracy)
		for _, note := range r.Notes() {
			fmt.Fprintln(w, note)
		}
	}
	if len(r.Columns) > 1 && len(r.Tasks) > 0 {
		fmt.Fprintf(w, "\ndifference from %s in points, paired by item\n", r.Columns[0].title())
		r.table(w, "TASK", func(row Row) string { return row.Task }, Cell.difference)
	}
	if len(r.Perplexity) > 0 {
		fmt.Fprintln(w, "\nperplexity of the text, each token predicted once")
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "MODEL\tBITS PER BYTE\tPERPLEXITY PER TOKEN\tTOKENS\tBYTES\tWINDOW\tSTRIDE")
		for _, p := range r.Perplexity {
			fmt.Fprintln(tw, strings.Join(p.fields(), "\t"))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		for _, note := range r.lossy() {
			fmt.Fprintln(w, note)
		}
	}
	return nil
}

func (r *Report) table(w io.Writer, head string, first func(Row) string, cell func(Cell) string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, head)
	for _, c := range r.Columns {
		fmt.Fprint(tw, "\t", c.title())
	}
	fmt.Fprintln(tw)
	for _, row := range r.Tasks {
		fmt.Fprint(tw, first(row))
		for _, c := range row.Cells {
			fmt.Fprint(tw, "\t", cell(c))
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

func (c Column) title() string {
	if c.FineTuned {
		return c.Model + " fine-tuned"
	}
	return fmt.Sprintf("%s %d-shot", c.Model, c.Shots)
}

func percent(x float64) string { return fmt.Sprintf("%.1f", 100*x) }

// accuracy marks cells whose examples or questions did not all fit: the notes say more.
func (c Cell) accuracy() string {
	mark := ""
	if c.Short > 0 {
		mark += "*"
	}
	if c.Cut > 0 {
		mark += "†"
	}
	return fmt.Sprintf("%s%s [%s, %s]", percent(c.Accuracy.Mean), mark, percent(c.Accuracy.Low), percent(c.Accuracy.High))
}

func (c Cell) difference() string {
	if c.Difference == nil {
		return ""
	}
	return fmt.Sprintf("%+.1f [%+.1f, %+.1f]", 100*c.Difference.Mean, 100*c.Difference.Low, 100*c.Difference.High)
}

func (p Perplexity) fields() []string {
	return []string{p.Model, fmt.Sprintf("%.3f [%.3f, %.3f]", p.BitsPerByte.Mean, p.BitsPerByte.Low, p.BitsPerByte.High),
		fmt.Sprintf("%.2f [%.2f, %.2f]", p.Perplexity.Mean, p.Perplexity.Low, p.Perplexity.High),
		fmt.Sprint(p.Tokens), fmt.Sprint(p.Bytes), fmt.Sprint(p.Window), fmt.Sprint(p.Stride)}
}

// Notes lists where not all examples fitted the context, for each model and number of examples, and where the question alone
// did not, for each model.
func (r *Report) Notes() []string {
	var out []string
	for i, c := range r.Columns {
		var short, cut []string
		for _, row := range r.Tasks {
			cell := row.Cells[i]
			if cell.Short > 0 {
				short = append(short, fmt.Sprintf("%s %.1f", row.Task, cell.MeanShots))
			}
			if cell.Cut > 0 {
				cut = append(cut, fmt.Sprintf("%s %d of %d", row.Task, cell.Cut, row.N))
			}
		}
		if short != nil {
			out = append(out, fmt.Sprintf("* %s: fewer examples, because more did not fit the context or exist; on average: %s", c.title(), strings.Join(short, ", ")))
		}
		if cut != nil && (i == 0 || r.Columns[i-1].Model != c.Model) { // whatever the number of examples
			out = append(out, fmt.Sprintf("† %s: items too long for the context, which lost their beginning: %s", c.Model, strings.Join(cut, ", ")))
		}
	}
	return out
}

// lossy says whose tokenizers cannot write the text.
func (r *Report) lossy() []string {
	var out []string
	for _, p := range r.Perplexity {
		if p.Lossy {
			out = append(out, p.Model+"'s tokenizer cannot write all of the text: what it leaves out cost nothing")
		}
	}
	return out
}
