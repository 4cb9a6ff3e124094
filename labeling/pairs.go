package labeling

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Generic pairs: a prompt, two answers, and which is better, under any column names; JSON
// lines, a JSON array or CSV. Without a map the columns are those that are written:
//
//	{"prompt": "..", "response_a": "..", "response_b": "..", "label": 1 | 2 | 0, "labeler": "..", "split": ".."}
//
// label 0 is a tie. A prompt may be a conversation in JSON lines.

// pairColumns says which columns hold what.
type pairColumns struct {
	prompt   []string // joined by a blank line where several are there and not empty
	a, b     string
	label    []string // one a labeler
	labelers []string // names beside label; "" = read from the column labeler
	aWins    string   // labels
	bWins    string
	tie      string
}

// pairPresets are the maps of published files; "" is the one that Export writes.
var pairPresets = map[string]pairColumns{
	"": {prompt: []string{"prompt"}, a: "response_a", b: "response_b", label: []string{"label"}, labelers: []string{""}, aWins: "1", bWins: "2", tie: "0"},
	// PandaLM's test set: three annotators a pair (Wang et al. 2023).
	"pandalm": {prompt: []string{"instruction", "input"}, a: "response1", b: "response2", label: []string{"annotator1", "annotator2", "annotator3"},
		labelers: []string{"annotator1", "annotator2", "annotator3"}, aWins: "1", bWins: "2", tie: "0"},
	// Auto-J's pairwise test set (Li et al. 2023).
	"autoj": {prompt: []string{"prompt"}, a: "response 1", b: "response 2", label: []string{"label"}, labelers: []string{""}, aWins: "0", bWins: "1", tie: "2"},
	// LLMBar, and the sets that it brought into the same shape (Zeng et al. 2023).
	"llmbar": {prompt: []string{"input"}, a: "output_1", b: "output_2", label: []string{"label"}, labelers: []string{""}, aWins: "1", bWins: "2", tie: "0"},
}

// presetOf tells the map by the columns that are there.
func presetOf(o object) string {
	for _, name := range []string{"pandalm", "autoj", "llmbar"} {
		p := pairPresets[name]
		if has(append([]string{p.prompt[0], p.a, p.b}, p.label...)...)(o) {
			return name
		}
	}
	return ""
}

func isPairs(o object) bool {
	return presetOf(o) != "" || has("prompt", "response_a", "response_b", "label")(o)
}

// parseColumns reads a map such as "prompt=question+context,a=x,b=y,label=win": prompt, a, b
// and label (or annotators=c1+c2, one labeler each) name columns; a_wins, b_wins and tie
// say what stands in label, by default 1, 2 and 0.
func parseColumns(text string) (pairColumns, error) {
	p := pairColumns{aWins: "1", bWins: "2", tie: "0"}
	for _, item := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(item, "=")
		if !ok || value == "" {
			return p, invalid("columns", "%q is not NAME=COLUMN", item)
		}
		switch strings.TrimSpace(name) {
		case "prompt":
			p.prompt = strings.Split(value, "+")
		case "a":
			p.a = value
		case "b":
			p.b = value
		case "label":
			p.label, p.labelers = []string{value}, []string{""}
		case "annotators":
			p.label = strings.Split(value, "+")
			p.labelers = p.label
		case "a_wins":
			p.aWins = value
		case "b_wins":
			p.bWins = value
		case "tie":
			p.tie = value
		default:
			return p, invalid("columns", "%q is none of prompt, a, b, label, annotators, a_wins, b_wins, tie", name)
		}
	}
	if len(p.prompt) == 0 || p.a == "" || p.b == "" || len(p.label) == 0 {
		return p, invalid("columns", "prompt, a, b and label (or annotators) must be there")
	}
	return p, nil
}

func (p pairColumns) parse(o object) ([]Record, error) {
	base := Record{Completions: make([]string, 2)}
	var parts []string
	for i, column := range p.prompt {
		if raw := bytes.TrimSpace(o[column]); len(raw) > 0 && raw[0] == '[' && len(p.prompt) == 1 {
			if err := need(o, column, &base.Messages); err != nil {
				return nil, err
			}
			continue
		}
		var text string
		there, err := field(o, column, &text)
		if err == nil && !there && i == 0 {
			err = invalid(column, "missing")
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(text) != "" {
			parts = append(parts, text)
		}
	}
	base.Prompt = strings.Join(parts, "\n\n")
	for i, column := range []string{p.a, p.b} {
		if err := need(o, column, &base.Completions[i]); err != nil {
			return nil, err
		}
	}
	if base.Completions[0] == base.Completions[1] {
		return nil, invalid(p.b, "equal to %s", p.a)
	}
	for name, at := range map[string]*string{"labeler": &base.Labeler, "customer": &base.Customer, "split": &base.Split} {
		if _, err := field(o, name, at); err != nil {
			return nil, err
		}
	}
	var list []Record
	for i, column := range p.label {
		r := base
		if p.labelers[i] != "" {
			r.Labeler = p.labelers[i]
		}
		label, err := labelText(o, column)
		if err != nil {
			return nil, err
		}
		switch label {
		case p.aWins:
			r.Ranks = []int{1, 2}
		case p.bWins:
			r.Ranks = []int{2, 1}
		case p.tie:
			r.Ranks = []int{1, 1}
		case "":
			continue // this annotator gave none
		default:
			return nil, invalid(column, "%q is none of %s (a), %s (b), %s (tie)", label, p.aWins, p.bWins, p.tie)
		}
		list = append(list, r)
	}
	if len(list) == 0 {
		return nil, invalid(p.label[0], "missing")
	}
	return list, nil
}

// labelText is a label as text, whether the file has a number, a string or true.
func labelText(o object, column string) (string, error) {
	raw := bytes.TrimSpace(o[column])
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		var s string
		err := need(o, column, &s)
		return strings.TrimSpace(s), err
	case raw[0] == '[' || raw[0] == '{':
		return "", invalid(column, "a label is a number or a string")
	}
	if f, err := strconv.ParseFloat(string(raw), 64); err == nil && f == float64(int64(f)) { // 1.0
		return strconv.FormatInt(int64(f), 10), nil
	}
	return string(raw), nil
}

// eachPair calls f with every pair of every ranking, ties too.
func eachPair(p RankedPrompt, f func(k LabelerRanking, a, b, label int) error) (n int, err error) {
	for _, k := range p.Rankings {
		for i := range k.Ranks {
			for j := i + 1; j < len(k.Ranks); j++ {
				if p.Completions[i].Text == p.Completions[j].Text {
					continue
				}
				label := 0
				if k.Ranks[i] < k.Ranks[j] {
					label = 1
				} else if k.Ranks[i] > k.Ranks[j] {
					label = 2
				}
				if err := f(k, i, j, label); err != nil {
					return n, err
				}
				n++
			}
		}
	}
	return n, nil
}

type pairsEncoder struct{ w io.Writer }

func encodePairs(w io.Writer) encoder { return pairsEncoder{w} }

func (e pairsEncoder) write(p RankedPrompt) (int, error) {
	prompt := promptText(p)
	return eachPair(p, func(k LabelerRanking, a, b, label int) error {
		line := append([]byte(`{"prompt":`), prompt...)
		line = appendText(append(line, `,"response_a":`...), p.Completions[a].Text)
		line = appendText(append(line, `,"response_b":`...), p.Completions[b].Text)
		line = fmt.Appendf(line, `,"label":%d`, label)
		_, err := e.w.Write(append(appendSource(line, p, k), "}\n"...))
		return err
	})
}

func (pairsEncoder) close() error { return nil }

// appendSource adds who ranked, on which side of the split, brought by whom.
func appendSource(line []byte, p RankedPrompt, k LabelerRanking) []byte {
	for _, f := range []struct{ name, value string }{{"labeler", k.LabelerID}, {"customer", p.CustomerID}, {"split", p.Split}} {
		if f.value != "" {
			line = appendText(append(appendText(append(line, ','), f.name), ':'), f.value)
		}
	}
	return line
}

// promptText is a prompt as JSON: text where it is one question, else the conversation.
func promptText(p RankedPrompt) []byte {
	if len(p.Messages) == 0 {
		return appendText(nil, p.Prompt)
	}
	if len(p.Messages) == 1 && p.Messages[0].Role == "user" {
		return appendText(nil, p.Messages[0].Content)
	}
	return appendMessages(nil, p.Messages)
}

// appendMessages adds a conversation as JSON.
func appendMessages(b []byte, messages []Message) []byte {
	b = append(b, '[')
	for i, m := range messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"role":`...), m.Role)
		b = append(appendText(append(b, `,"content":`...), m.Content), '}')
	}
	return append(b, ']')
}

const hexDigits = "0123456789abcdef"

// appendText adds s as a JSON string: nothing but quotes, backslashes and control
// characters is escaped.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}
