package web

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/web/lang"
)

// tableMark is a place in the manual that a table of package ppo fills.
var tableMark = regexp.MustCompile(`(?s)<!-- (options|metrics) ([a-z-]+) -->\n(.*?)<!-- end -->\n`)

// TestManualTables holds the tables of the manual, in every language, to the tables of package ppo, and every kind of training to have
// both. With RANKLOOP_WRITE_DOCS set it writes them.
func TestManualTables(t *testing.T) {
	speaks, err := lang.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range speaks {
		seen := map[string]bool{}
		dir := filepath.Join("docs", l.Tag)
		if l.Tag == "en" {
			dir = "docs"
		}
		pages, err := filepath.Glob(filepath.Join(dir, "*.html"))
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
				table := optionsTable(l, m[2])
				if m[1] == "metrics" {
					table = metricsTable(l, m[2])
				}
				return fmt.Sprintf("<!-- %s %s -->\n%s<!-- end -->\n", m[1], m[2], table)
			})
			if text == string(old) {
				continue
			}
			if os.Getenv("RANKLOOP_WRITE_DOCS") == "" {
				t.Errorf("%s is not what the tables say: RANKLOOP_WRITE_DOCS=1 go test ./web -run TestManualTables writes it", page)
			} else if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, kind := range ppo.Kinds() {
			if !seen["options "+kind] || !seen["metrics "+kind] {
				t.Errorf("the manual in %s has no tables of %s", l.Tag, kind)
			}
		}
	}
}

func tableRow(b *strings.Builder, cell string, texts ...string) {
	b.WriteString("<tr>")
	for _, text := range texts {
		fmt.Fprintf(b, "<%[1]s>%[2]s</%[1]s>", cell, text)
	}
	b.WriteString("</tr>\n")
}

// The heads of the tables.
var (
	optionHeads = []sentence{"field", "what it is", "source"}
	metricHeads = []sentence{"figure", "unit", "what it is", "healthy"}
)

func optionsTable(l *lang.Language, kind string) string {
	var b strings.Builder
	say := func(text string) string { return html.EscapeString(l.T(text)) }
	b.WriteString("<div class=\"scroll\"><table>\n")
	head := []string{say(string(optionHeads[0]))}
	for _, c := range ppo.Columns(kind) {
		head = append(head, say(c))
	}
	for _, h := range optionHeads[1:] {
		head = append(head, say(string(h)))
	}
	tableRow(&b, "th", head...)
	for _, o := range ppo.Options(kind) {
		row := []string{"<code>" + o.Name + "</code>"}
		for _, v := range o.Values {
			row = append(row, html.EscapeString(v))
		}
		tableRow(&b, "td", append(row, say(o.Meaning), say(o.Source))...)
	}
	b.WriteString("</table></div>\n")
	return b.String()
}

func metricsTable(l *lang.Language, kind string) string {
	var b strings.Builder
	say := func(text string) string { return html.EscapeString(l.T(text)) }
	b.WriteString("<div class=\"scroll\"><table>\n")
	var head []string
	for _, h := range metricHeads {
		head = append(head, say(string(h)))
	}
	tableRow(&b, "th", head...)
	for _, m := range ppo.Metrics(kind) {
		tableRow(&b, "td", "<code>"+m.Name+"</code>", say(m.Unit), say(m.Meaning), say(m.Healthy))
	}
	b.WriteString("</table></div>\n")
	return b.String()
}

// ofTraining takes what the tables of package ppo say.
func (s sentences) ofTraining() {
	add := func(texts ...string) {
		for _, text := range texts {
			if strings.ContainsFunc(text, unicode.IsLetter) {
				s.add(text, "ppo")
			}
		}
	}
	for _, h := range append(optionHeads, metricHeads...) {
		add(string(h))
	}
	for _, m := range ppo.Metrics("") {
		add(m.Unit, m.Meaning, m.Healthy)
	}
	for _, kind := range ppo.Kinds() {
		for _, o := range ppo.Options(kind) {
			add(o.Meaning, o.Source)
		}
	}
}

// TestMeasuredIsTheManuals: what a model's page says of its figures stands in the manual, in each language, beside their names.
func TestMeasuredIsTheManuals(t *testing.T) {
	speaks, err := lang.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range speaks {
		pages, err := loadHelp(l)
		if err != nil {
			t.Fatal(err)
		}
		text := map[string]string{}
		for _, p := range pages {
			text[p.Name] = string(p.Body)
		}
		for _, m := range measured {
			page := map[bool]string{true: "reward", false: "rounds"}[m.reward]
			if want := fmt.Sprintf("<td><code>%s</code></td><td>%s</td>", m.name, l.T(string(m.meaning))); !strings.Contains(text[page], want) {
				t.Errorf("the page %s in %s lacks %s", page, l.Tag, want)
			}
		}
	}
}
