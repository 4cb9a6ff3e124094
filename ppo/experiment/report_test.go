package experiment

import (
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sample is a report of two seeds, one of which fails, with a name that must be escaped.
func sampleReport(t *testing.T) Report {
	t.Helper()
	l := &lab{recipe: recipe{World: WorldToy, Size: SizeFast}, digest: "0123456789abcdef", log: func(string) {}}
	s := spec{name: "example", title: "gain < 1 & more", plots: []Plot{{Name: "p", Title: "a <b> & c", X: "x", Y: "y"}, {Name: "empty", Title: "nothing"}, {Name: "log", LogX: true}}}
	var each []*recorder
	for seed := range 2 {
		r := &recorder{seed: seed, name: s.name, log: l.log}
		r.rate("gain", wilson(0.5+0.1*float64(seed), 1000), atLeast(0.55))
		r.show("shown", 3)
		for x := range 4 {
			r.point("p", "mean & all", float64(x), float64(x*seed))
			r.point("p", "apart", float64(x+seed), 2)
			r.point("log", "one", float64(int(1)<<x), 1)
		}
		r.note("a note")
		each = append(each, r)
	}
	return NewReport([]Result{l.result(s, []int{0, 1}, each)})
}

func TestReport(t *testing.T) {
	r := sampleReport(t)
	if r.Holds || len(r.Results[0].Summary) != 2 || r.Results[0].Summary[0].Held != 1 || len(r.Results[0].Notes) != 1 {
		t.Errorf("%+v", r)
	}
	dir := filepath.Join(t.TempDir(), "new", "folder")
	if err := r.Save(dir, Speed{Wall: 3 * time.Second, Tasks: 2, Episodes: 1000, PPO: time.Second}); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	page := read("report.html")
	for _, want := range []string{"synthetic labelers", "not all hold", "1 of 2", "gain &lt; 1 &amp; more", "1000 episodes of policy training at 1000 a second", "a note",
		"0.55 [", "[0.4691, 0.5309], n = 1000", "640 to 700"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, " style=") {
		t.Error("the page needs what its policy forbids")
	}
	var back Report
	if err := json.Unmarshal([]byte(read("report.json")), &back); err != nil || back.Results[0].Labelers == "" {
		t.Errorf("report.json: %v", err)
	}
	for name, want := range map[string]int{"values.csv": 1 + 4, "points.csv": 1 + 8 + 4 + 8 + 8 + 4} {
		rows, err := csv.NewReader(strings.NewReader(read(name))).ReadAll()
		if err != nil || len(rows) != want {
			t.Errorf("%s: %d rows instead of %d, %v", name, len(rows), want, err)
		}
	}
}

// TestPlots: images are well-formed, whatever they show, and hold what was measured.
func TestPlots(t *testing.T) {
	plots := sampleReport(t).Results[0].Plots
	if n := len(plots[0].Lines); n != 5 || plots[0].Lines[2].Seed != all || plots[0].Lines[2].Points[3].Y != 1.5 {
		t.Errorf("%d lines: %+v", n, plots[0].Lines)
	}
	for _, p := range plots {
		d := xml.NewDecoder(strings.NewReader(p.SVG()))
		paths := 0
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
			if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "path" {
				paths++
				for _, a := range e.Attr {
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
						t.Errorf("%s: %s", p.Name, a.Value)
					}
				}
			}
		}
		if (paths == 0) != (p.Name == "empty") {
			t.Errorf("%s: %d paths", p.Name, paths)
		}
	}
	if svg := plots[1].SVG(); !strings.Contains(svg, "nothing was measured") {
		t.Error("an empty plot does not say so")
	}
}
