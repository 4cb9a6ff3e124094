package eval

import (
	"fmt"
	"html"
	"strings"
)

// legendWidth suits a telephone.
const legendWidth = 340

// HTML is the report as a page of its own: plot, tables, perplexity.
func (r *Report) HTML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<h1>Evaluation</h1>\n<p class=\"quiet\">Every model was asked the same questions (seed %d). Intervals hold the true accuracy with 95%% confidence.</p>\n", r.Seed)
	if len(r.Tasks) > 0 {
		var s svg
		height := r.legend(&s, legendWidth)
		fmt.Fprintf(&b, "<h2>Accuracy over the number of examples</h2>\n<div class=\"wide\">%s</div>\n<div class=\"panels\">\n", Figure(legendWidth, height, "models", s.String()))
		for _, row := range r.Tasks {
			b.WriteString(Figure(panelWidth, panelHeight, row.Task+": accuracy over the number of examples", r.panel(row)))
		}
		b.WriteString("</div>\n<h2>Accuracy in percent</h2>\n")
		r.htmlTable(&b, []string{"Task", "n", "Chance"}, func(row Row) []string {
			return []string{row.Task, fmt.Sprint(row.N), percent(row.Chance)}
		}, Cell.accuracy)
		for _, note := range r.Notes() {
			fmt.Fprintf(&b, "<p class=\"quiet\">%s</p>\n", html.EscapeString(note))
		}
	}
	if len(r.Columns) > 1 && len(r.Tasks) > 0 {
		fmt.Fprintf(&b, "<h2>Difference from %s, in points</h2>\n<p class=\"quiet\">Paired by item.</p>\n", html.EscapeString(r.Columns[0].title()))
		r.htmlTable(&b, []string{"Task"}, func(row Row) []string { return []string{row.Task} }, Cell.difference)
	}
	if len(r.Perplexity) > 0 {
		b.WriteString("<h2>Perplexity of the text</h2>\n<div class=\"wide\"><table><thead>")
		htmlRow(&b, "th", []string{"Model", "Bits per byte", "Perplexity per token", "Tokens", "Bytes", "Window", "Stride"})
		b.WriteString("</thead><tbody>")
		for _, p := range r.Perplexity {
			htmlRow(&b, "td", p.fields())
		}
		b.WriteString("</tbody></table></div>\n")
		for _, note := range r.lossy() {
			fmt.Fprintf(&b, "<p class=\"quiet\">%s</p>\n", html.EscapeString(note))
		}
	}
	return Page("Evaluation", ".panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(280px,100%),1fr));gap:.5rem}\n", b.String())
}

func (r *Report) htmlTable(b *strings.Builder, head []string, first func(Row) []string, cell func(Cell) string) {
	for _, c := range r.Columns {
		head = append(head, c.title())
	}
	b.WriteString("<div class=\"wide\"><table><thead>")
	htmlRow(b, "th", head)
	b.WriteString("</thead><tbody>\n")
	for _, row := range r.Tasks {
		fields := first(row)
		for _, c := range row.Cells {
			fields = append(fields, cell(c))
		}
		htmlRow(b, "td", fields)
	}
	b.WriteString("</tbody></table></div>\n")
}

func htmlRow(b *strings.Builder, element string, fields []string) {
	b.WriteString("<tr>")
	for _, f := range fields {
		fmt.Fprintf(b, "<%s>%s</%s>", element, html.EscapeString(f), element)
	}
	b.WriteString("</tr>\n")
}
