package experiment

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Report is what is written of a call of Run.
type Report struct {
	Holds   bool     `json:"holds"`
	Results []Result `json:"results"`
}

// NewReport joins results. It holds where all of them do.
func NewReport(results []Result) Report {
	r := Report{Holds: len(results) > 0, Results: results}
	for _, x := range results {
		r.Holds = r.Holds && x.Holds
	}
	return r
}

// Save writes report.html, report.json, values.csv (a line a measured value) and points.csv (a line a point of a plot) into
// dir. Only the page tells how long it took: the other files are the same whenever the same seeds are run.
func (r Report) Save(dir string, s Speed) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	page, err := r.HTML(s)
	if err != nil {
		return err
	}
	values, err := r.values()
	if err != nil {
		return err
	}
	points, err := r.points()
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"report.json": string(b) + "\n", "report.html": page, "values.csv": values, "points.csv": points} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func lines(rows [][]string) (string, error) {
	var b strings.Builder
	w := csv.NewWriter(&b)
	if err := w.WriteAll(rows); err != nil {
		return "", err
	}
	return b.String(), nil
}

func (r Report) values() (string, error) {
	rows := [][]string{{"experiment", "world", "size", "seed", "what", "value", "low", "high", "n", "bound", "holds"}}
	for _, x := range r.Results {
		for _, row := range x.Rows {
			rows = append(rows, []string{x.Name, x.World, x.Size, strconv.Itoa(row.Seed), row.What, number(row.Value), number(row.Low),
				number(row.High), strconv.Itoa(row.N), row.Bound, strconv.FormatBool(row.Holds)})
		}
	}
	return lines(rows)
}

func (r Report) points() (string, error) {
	rows := [][]string{{"experiment", "plot", "line", "seed", "x", "y", "low", "high"}}
	for _, x := range r.Results {
		for _, p := range x.Plots {
			for _, l := range p.Lines {
				for _, q := range l.Points {
					rows = append(rows, []string{x.Name, p.Name, l.Name, strconv.Itoa(l.Seed), number(q.X), number(q.Y), number(q.Low), number(q.High)})
				}
			}
		}
	}
	return lines(rows)
}

// HTML is the report as a page that needs nothing else: no script, one style sheet that the policy names by its digest.
func (r Report) HTML(s Speed) (string, error) {
	digest := sha256.Sum256([]byte(pageStyle))
	var b strings.Builder
	err := pageTemplate.Execute(&b, struct {
		Report
		Style    template.CSS
		Policy   string
		Labelers string
		Speed    string
	}{r, pageStyle, "sha256-" + base64.StdEncoding.EncodeToString(digest[:]), labelers, s.String()})
	return b.String(), err
}

// Interval writes a mean with its interval over seeds.
func (s Summary) Interval() string {
	if s.Seeds < 2 {
		return fmt.Sprintf("%.4g", s.Mean)
	}
	return fmt.Sprintf("%.4g [%.4g, %.4g]", s.Mean, s.Low, s.High)
}

// Verdict says in a word whether what is demanded holds; it is empty where nothing is.
func (s Summary) Verdict() string {
	switch {
	case s.Bound == "":
		return ""
	case s.Holds:
		return "holds"
	}
	return "FAILS"
}

// Kept says how many seeds kept the bound.
func (s Summary) Kept() string {
	if s.Need == 0 {
		return ""
	}
	out := fmt.Sprintf("%d of %d", s.Held, s.Seeds)
	if s.Need < s.Seeds {
		out += fmt.Sprintf(" (%d needed)", s.Need)
	}
	return out
}

// Interval writes a value with its interval and the number of observations behind it.
func (row Row) Interval() string {
	if row.N == 0 {
		return fmt.Sprintf("%.4g", row.Value)
	}
	return fmt.Sprintf("%.4g [%.4g, %.4g], n = %d", row.Value, row.Low, row.High, row.N)
}

// Who names the seed of a row.
func (row Row) Who() string {
	if row.Seed == all {
		return "all"
	}
	return strconv.Itoa(row.Seed)
}

const pageStyle = `
:root{color-scheme:light dark;--bg:#fff;--ink:#1b2330;--muted:#586374;--line:#dce0e7;--soft:#eef0f4}
@media(prefers-color-scheme:dark){:root{--bg:#15191f;--ink:#e4e9f0;--muted:#9aa6b6;--line:#2a333f;--soft:#1d232c}}
body{margin:1rem auto;padding:0 1rem;max-width:76rem;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2.5rem}
.quiet{color:var(--muted)}
.wide{overflow-x:auto}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(440px,100%),1fr));gap:.5rem}
table{border-collapse:collapse;font-size:.85rem}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap;font-variant-numeric:tabular-nums}
thead th{background:var(--soft)}
.fails{font-weight:700}
svg{max-width:100%;height:auto}
a{color:inherit}
summary{cursor:pointer;margin:.6rem 0}
:focus-visible{outline:3px solid #2f7fd1;outline-offset:2px}
`

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"svg": func(p Plot) template.HTML { return template.HTML(p.SVG()) }, // escapes what it writes
}).Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '{{.Policy}}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Experiments</title>
<style>{{.Style}}</style>
</head>
<body>
<main>
<h1>Experiments: {{if .Holds}}all hold{{else}}not all hold{{end}}</h1>
<p>Labels come from {{.Labelers}}</p>
<p class="quiet">{{.Speed}}. Means over seeds have 95% intervals by Student's t; values of a seed have intervals over their observations.</p>
<div class="wide" tabindex="0"><table>
<thead><tr><th scope="col">Experiment</th><th scope="col">What it shows</th><th scope="col">Verdict</th></tr></thead>
<tbody>{{range .Results}}
<tr><th scope="row"><a href="#{{.Name}}">{{.Name}}</a></th><td>{{.Title}}</td><td{{if not .Holds}} class="fails"{{end}}>{{if .Holds}}holds{{else}}FAILS{{end}}</td></tr>{{end}}
</tbody></table></div>
{{range .Results}}
<h2 id="{{.Name}}">{{.Name}}: {{.Title}}</h2>
<p class="quiet">World {{.World}}, size {{.Size}}, seeds {{range $i, $s := .Seeds}}{{if $i}}, {{end}}{{$s}}{{end}}; recipe {{printf "%.12s" .Recipe}}. Synthetic labelers.</p>
{{range .Notes}}<p>{{.}}</p>
{{end}}<div class="plots">
{{range .Plots}}{{svg .}}{{end}}</div>
<div class="wide" tabindex="0"><table>
<thead><tr><th scope="col">Measured</th><th scope="col">Mean over seeds</th><th scope="col">Bound</th><th scope="col">Seeds that keep it</th><th scope="col">Verdict</th></tr></thead>
<tbody>{{range .Summary}}
<tr><th scope="row">{{.What}}</th><td>{{.Interval}}</td><td>{{.Bound}}</td><td>{{.Kept}}</td><td{{if not .Holds}} class="fails"{{end}}>{{.Verdict}}</td></tr>{{end}}
</tbody></table></div>
<details><summary>Every seed of {{.Name}}</summary>
<div class="wide" tabindex="0"><table>
<thead><tr><th scope="col">Seed</th><th scope="col">Measured</th><th scope="col">Value</th><th scope="col">Bound</th><th scope="col">Kept</th></tr></thead>
<tbody>{{range .Rows}}
<tr><td>{{.Who}}</td><td>{{.What}}</td><td>{{.Interval}}</td><td>{{.Bound}}</td><td{{if not .Holds}} class="fails"{{end}}>{{if .Bound}}{{if .Holds}}yes{{else}}no{{end}}{{end}}</td></tr>{{end}}
</tbody></table></div></details>
{{end}}</main>
</body>
</html>
`))
