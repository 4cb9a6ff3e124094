package ppo

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tableMark is a place in the manual that a table of this package fills.
var tableMark = regexp.MustCompile(`(?s)<!-- (options|metrics) ([a-z-]+) -->\n(.*?)<!-- end -->\n`)

// TestManual holds the tables of the manual to the tables of this package, and every kind of training to have both. With
// RANKLOOP_WRITE_DOCS set it writes them.
func TestManual(t *testing.T) {
	seen := map[string]bool{}
	pages, err := filepath.Glob(filepath.Join("..", "web", "docs", "*.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		old, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := tableMark.ReplaceAllStringFunc(string(old), func(place string) string {
			m := tableMark.FindStringSubmatch(place)
			seen[m[1]+" "+m[2]] = true
			table := optionsTable(m[2])
			if m[1] == "metrics" {
				table = metricsTable(m[2])
			}
			return fmt.Sprintf("<!-- %s %s -->\n%s<!-- end -->\n", m[1], m[2], table)
		})
		if text == string(old) {
			continue
		}
		if os.Getenv("RANKLOOP_WRITE_DOCS") == "" {
			t.Errorf("%s is not what the tables say: RANKLOOP_WRITE_DOCS=1 go test ./ppo -run TestManual writes it", page)
		} else if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range Kinds() {
		if !seen["options "+kind] || !seen["metrics "+kind] {
			t.Errorf("the manual has no tables of %s", kind)
		}
	}
}

func optionsTable(kind string) string {
	var b strings.Builder
	b.WriteString("<div class=\"scroll\"><table>\n<tr><th>field</th>")
	for _, c := range Columns(kind) {
		fmt.Fprintf(&b, "<th>%s</th>", html.EscapeString(c))
	}
	b.WriteString("<th>what it is</th><th>source</th></tr>\n")
	for _, o := range Options(kind) {
		fmt.Fprintf(&b, "<tr><td><code>%s</code></td>", o.Name)
		for _, v := range o.Values {
			fmt.Fprintf(&b, "<td>%s</td>", html.EscapeString(v))
		}
		fmt.Fprintf(&b, "<td>%s</td><td>%s</td></tr>\n", html.EscapeString(o.Meaning), html.EscapeString(o.Source))
	}
	b.WriteString("</table></div>\n")
	return b.String()
}

func metricsTable(kind string) string {
	var b strings.Builder
	b.WriteString("<div class=\"scroll\"><table>\n<tr><th>figure</th><th>unit</th><th>what it is</th><th>healthy</th></tr>\n")
	for _, m := range Metrics(kind) {
		fmt.Fprintf(&b, "<tr><td><code>%s</code></td><td>%s</td><td>%s</td><td>%s</td></tr>\n", m.Name, html.EscapeString(m.Unit), html.EscapeString(m.Meaning), html.EscapeString(m.Healthy))
	}
	b.WriteString("</table></div>\n")
	return b.String()
}
