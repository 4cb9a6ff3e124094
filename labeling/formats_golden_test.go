package labeling

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs (%v):\n%s", name, err, got)
	}
}

// TestImportGolden: a small file of each format, detected by itself, gives the records and
// the reasons in the file beside it.
func TestImportGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/import/*.*")
	if err != nil {
		t.Fatal(err)
	}
	covered := map[string]bool{"parquet": true} // see TestExportGolden
	for _, name := range names {
		if strings.HasSuffix(name, ".golden") {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w := NewRankingsWriter(&out)
		report, err := Import(f, Reading{}, w.Write)
		f.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		covered[report.Format] = true
		fmt.Fprintf(&out, "%s: %d read, %d imported, %d duplicates, %d rejected\n", report.Format, report.Read, report.Imported, report.Duplicates, report.Rejected)
		for _, reason := range report.Reasons {
			fmt.Fprintln(&out, reason)
		}
		golden(t, strings.TrimSuffix(name, filepath.Ext(name))+".golden", out.Bytes())
	}
	covered["csv"] = true // is pairs, in another dress
	for _, name := range FormatNames() {
		if !covered[name] {
			t.Errorf("no file of %s", name)
		}
	}
}

func samplePrompts() []RankedPrompt {
	rankings := func(list ...LabelerRanking) []LabelerRanking { return list }
	answers := func(list ...string) (out []RankedCompletion) {
		for i, s := range list {
			out = append(out, RankedCompletion{ResponseID: fmt.Sprint("r", i), Text: s, ModelVersion: "sft"})
		}
		return out
	}
	return []RankedPrompt{
		{TaskID: "t1", PromptID: "p1", Prompt: "Name a bird 🐦.", Messages: []Message{{"user", "Name a bird 🐦."}}, Split: Train, CustomerID: "acme",
			Completions: answers("Robin, \"red\".", "鱈", "Wren\nor wren"), Rankings: rankings(LabelerRanking{RankingID: "k1", LabelerID: "ann", Ranks: []int{1, 3, 1}}, LabelerRanking{RankingID: "k2", LabelerID: "bo", Ranks: []int{2, 3, 1}})},
		{TaskID: "t2", PromptID: "p2", Prompt: "Bye", Messages: []Message{{"user", "Hi"}, {"assistant", "Hello <b>&</b>"}, {"user", "Bye"}}, Split: Valid,
			Completions: answers("Bye!", "No."), Rankings: rankings(LabelerRanking{RankingID: "k3", LabelerID: "ann", Ranks: []int{2, 1}})},
		{TaskID: "t3", PromptID: "p3", Prompt: "Hi", Messages: []Message{{"system", "Be brief."}, {"user", "Hi"}}, Split: Test,
			Completions: answers("Hello.", "Yo."), Rankings: rankings(LabelerRanking{RankingID: "k4", LabelerID: "ann", Ranks: []int{1, 1}})},
	}
}

func exported(t require, name string, list []RankedPrompt) ([]byte, ExportCounts) {
	t.Helper()
	var b bytes.Buffer
	n, err := Export(&b, name, func(f func(RankedPrompt) error) error {
		for _, p := range list {
			if err := f(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b.Bytes(), n
}

type require interface {
	Helper()
	Fatalf(format string, args ...any)
}

// TestExportGolden: each format's file of the same three prompts, and what was skipped.
func TestExportGolden(t *testing.T) {
	for _, name := range ExportNames() {
		file, n := exported(t, name, samplePrompts())
		if again, _ := exported(t, name, samplePrompts()); !bytes.Equal(file, again) {
			t.Errorf("%s: written again it is another file", name)
		}
		if want := map[string]ExportCounts{"rankings": {3, 4, 0}, "hh": {2, 6, 1}, "oasst": {2, 3, 1}, "labelstudio": {3, 4, 0}, "argilla": {3, 4, 0},
			"pairs": {3, 8, 0}, "csv": {1, 6, 2}, "trl": {2, 6, 1}, "parquet": {2, 6, 1}}[name]; n != want {
			t.Errorf("%s: %+v, want %+v", name, n, want)
		}
		if name != "parquet" {
			golden(t, "testdata/export/"+name+ExportSuffix(name), file)
			continue
		}
		rows, _ := exported(t, "trl", samplePrompts())
		if a, b := readBack(t, file, "parquet"), readBack(t, rows, "trl"); !reflect.DeepEqual(a, b) {
			t.Errorf("parquet holds %+v\ntrl %+v", a, b)
		}
		if !bytes.Contains(file, []byte("PAR1")) {
			t.Error("no parquet")
		}
	}
}

func readBack(t require, file []byte, name string) (list []Record) {
	t.Helper()
	report, err := Import(bytes.NewReader(file), Reading{Format: name}, func(r Record) error {
		if len(r.Messages) == 0 { // one question as text is one as a conversation
			r.Messages, r.Prompt = r.conversation(), ""
		}
		list = append(list, r)
		return nil
	})
	if err != nil || report.Rejected > 0 {
		t.Fatalf("%s: %+v, %v %v", name, report, report.Reasons, err)
	}
	return list
}

// TestRoundTrip: import(export(x)) = x for every format that can hold x.
func TestRoundTrip(t *testing.T) {
	holds := map[string]func(p *RankedPrompt) bool{ // makes of p what the format can hold
		"rankings":    func(p *RankedPrompt) bool { return true },
		"labelstudio": func(p *RankedPrompt) bool { return true },
		"argilla":     func(p *RankedPrompt) bool { return true },
		"oasst": func(p *RankedPrompt) bool { // names no labelers, customers, splits
			p.CustomerID, p.Split = "", ""
			for i := range p.Rankings {
				p.Rankings[i].LabelerID = fmt.Sprintf("labeler %d", i+1)
			}
			return p.Messages[0].Role != "system"
		},
		"pairs":   func(p *RankedPrompt) bool { return pairOnly(p, true) },
		"csv":     func(p *RankedPrompt) bool { p.Messages = p.Messages[len(p.Messages)-1:]; return pairOnly(p, true) },
		"trl":     func(p *RankedPrompt) bool { return pairOnly(p, false) },
		"parquet": func(p *RankedPrompt) bool { return pairOnly(p, false) },
		"hh": func(p *RankedPrompt) bool { // one unnamed labeler
			p.CustomerID, p.Split, p.Rankings = "", "", p.Rankings[:1]
			p.Rankings[0].LabelerID = ""
			return p.Messages[0].Role != "system" && pairOnly(p, false)
		},
	}
	for _, name := range ExportNames() {
		if holds[name] == nil {
			t.Errorf("nothing is known of %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var list []RankedPrompt
				var want []Record
				for i, p := range rapid.SliceOfN(rapid.Custom(drawPrompt), 1, 6).Draw(t, "prompts") {
					p.TaskID = fmt.Sprint("task", i)
					p.Messages[len(p.Messages)-1].Content += fmt.Sprint(" ", i) // no two alike
					p.Prompt = p.Messages[len(p.Messages)-1].Content
					if !holds[name](&p) {
						continue
					}
					list = append(list, p)
					want = append(want, p.Records()...)
				}
				file, _ := exported(t, name, list)
				if len(list) == 0 {
					return
				}
				for i, r := range want {
					want[i] = canonicalPair(name, r)
				}
				if got := readBack(t, file, name); !reflect.DeepEqual(got, want) {
					t.Fatalf("wrote %+v\nread  %+v\n%s", want, got, file)
				}
			})
		})
	}
}

// canonicalPair is how a format of pairs tells a record: the winner first where it has
// columns for winner and loser.
func canonicalPair(name string, r Record) Record {
	r.Prompt, r.PromptIDs, r.CompletionIDs, r.Tokenizer = "", nil, nil, ""
	if slices.Contains([]string{"hh", "trl", "parquet"}, name) && r.Ranks[0] > r.Ranks[1] {
		r.Completions, r.Ranks = []string{r.Completions[1], r.Completions[0]}, []int{1, 2}
	}
	return r
}

// pairOnly leaves two answers, strictly ordered where ties are not wanted.
func pairOnly(p *RankedPrompt, ties bool) bool {
	p.Completions = p.Completions[:2]
	var kept []LabelerRanking
	for _, k := range p.Rankings {
		k.Ranks, _ = Canonical(k.Ranks[:2])
		if ties || k.Ranks[0] != k.Ranks[1] {
			kept = append(kept, k)
		}
	}
	p.Rankings = kept
	return len(kept) > 0
}

func drawPrompt(t *rapid.T) RankedPrompt {
	text := rapid.StringMatching(`[a-zA-Z<&"\\,;'é長😀]{1,8}([\n\t ][a-zA-Z<&"\\,é長😀]{1,8}){0,3}`)
	var p RankedPrompt
	switch rapid.IntRange(0, 2).Draw(t, "turns") {
	case 0:
		p.Messages = []Message{{"user", text.Draw(t, "user")}}
	case 1:
		p.Messages = []Message{{"user", text.Draw(t, "user")}, {"assistant", text.Draw(t, "assistant")}, {"user", text.Draw(t, "user")}}
	default:
		p.Messages = []Message{{"system", text.Draw(t, "system")}, {"user", text.Draw(t, "user")}}
	}
	k := rapid.IntRange(2, 9).Draw(t, "k")
	for _, s := range rapid.SliceOfNDistinct(text, k, k, rapid.ID[string]).Draw(t, "answers") {
		p.Completions = append(p.Completions, RankedCompletion{Text: s})
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"ann", "bo", "明", "d e"}), 1, 3, rapid.ID[string]).Draw(t, "labelers") {
		ranks, _ := Canonical(drawRanks(t, k))
		p.Rankings = append(p.Rankings, LabelerRanking{LabelerID: name, Ranks: ranks})
	}
	p.Split = rapid.SampledFrom([]string{"", Train, Valid, Test}).Draw(t, "split")
	p.CustomerID = rapid.SampledFrom([]string{"", "acme"}).Draw(t, "customer")
	return p
}

// FuzzScan: the fast way through a line accepts nothing that the slow one refuses, and
// both see the same.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"a":"b\n\u00e9\ud83d\ude00","c":[1,-2.5e+3,{"d":null}],"e":true}`, `{"a":1,"a":2}`, `{"a":"\u0000"}`, ` { } `, `{"a":01}`,
		`{"a":"` + "\x01" + `"}`, `{"\u0061":1,"a":2}`, `{"a":[1,]}`, `{"a":-}`, "{\"a\":\"\xff\"}", strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fast, ok := scanObject(text)
		if !ok {
			return
		}
		slow, err := parseSlowly(text)
		if err != nil || len(fast) != len(slow) {
			t.Fatalf("%q: fast %v, slow %v, %v", text, fast, slow, err)
		}
		for k, v := range slow {
			if !bytes.Equal(fast[k], v) {
				t.Fatalf("%q: field %q is %q, not %q", text, k, fast[k], v)
			}
			var a, b string
			if there, err := field(object{"x": v}, "x", &a); there && err == nil && len(v) > 0 && v[0] == '"' {
				if _, err := field(slow, k, &b); err != nil || a != b {
					t.Fatalf("%q: %q, %q, %v", v, a, b, err)
				}
				var direct string
				if err := json.Unmarshal(v, &direct); err != nil || direct != a {
					t.Fatalf("%q: %q, not %q", v, a, direct)
				}
			}
		}
	})
}

func TestDetectRefuses(t *testing.T) {
	for _, file := range []string{`{"nothing":1}`, `{"completions":["a"]}`, `nothing`, `[3]`, `{`} {
		_, err := Import(strings.NewReader(file), Reading{}, func(Record) error { return nil })
		if err == nil {
			t.Errorf("%s went through", file)
		}
	}
	var e *InvalidError
	if _, err := Import(strings.NewReader(`{"nothing":1}`), Reading{}, nil); !errors.As(err, &e) || e.Field != "format" {
		t.Errorf("%v", err)
	}
	for _, how := range []Reading{{Format: "xls"}, {Format: "hh", Preset: "autoj"}, {Preset: "nobody"}, {Columns: "prompt=a"}, {Columns: "prompt"}, {Columns: "x=y"}} {
		if _, err := Import(strings.NewReader(`{}`), how, nil); !errors.As(err, &e) {
			t.Errorf("%+v: %v", how, err)
		}
	}
}

func TestColumns(t *testing.T) {
	const file = `{"q":"Name a bird.","ctx":"Small.","x":"Robin.","y":"Cod.","w1":"left","w2":"right","w3":"same","w4":null}`
	var list []Record
	report, err := Import(strings.NewReader(file), Reading{Format: "pairs", Columns: "prompt=q+ctx,a=x,b=y,annotators=w1+w2+w3+w4,a_wins=left,b_wins=right,tie=same"},
		func(r Record) error { list = append(list, r); return nil })
	if err != nil || report.Imported != 1 || len(list) != 3 {
		t.Fatalf("%+v, %v, %+v", report, err, list)
	}
	for i, want := range [][]int{{1, 2}, {2, 1}, {1, 1}} {
		if !slices.Equal(list[i].Ranks, want) || list[i].Labeler != fmt.Sprint("w", i+1) || list[i].Prompt != "Name a bird.\n\nSmall." {
			t.Errorf("%+v", list[i])
		}
	}
}
