package eval

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
)

// header is the optional first line of a task file.
type header struct {
	Task        string  `json:"task"`
	Title       string  `json:"title"`
	Metric      Rule    `json:"metric"`
	Instruction string  `json:"instruction"`
	Separator   *string `json:"separator"`
	Join        *string `json:"join"`
}

// line is a question of a task file. Answer is a text, or the index of the right choice.
type line struct {
	Prompt  *string         `json:"prompt"`
	Answer  json.RawMessage `json:"answer"`
	Choices []string        `json:"choices"`
	Example bool            `json:"example"`
}

// maxTaskLine bounds one line of a task file.
const maxTaskLine = 1 << 20

// ReadTask reads a task of the user's own: JSON lines
//
//	{"task":"capitals","metric":"exact","instruction":"...","separator":"\n\n","join":" "}     optional, first; each field optional
//	{"prompt":"The capital of France is","answer":"Paris"}
//	{"prompt":"Ice is","choices":["cold","hot"],"answer":0,"example":true}
//
// The metric is one of the rules, by default exact, and likeliest-per-token where there are choices. Lines marked as examples
// are the pool of shots; where none is, part of the questions becomes it. join is put between prompt and answer where neither
// has white space there. Errors are *InvalidError and name the file and the line.
func ReadTask(r io.Reader, file string) (Task, error) {
	base := filepath.Base(file)
	t := Task{Name: strings.TrimSuffix(base, filepath.Ext(base)), Title: "questions of " + base, Separator: "\n\n"}
	join := " "
	var asked, marked []Item
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), maxTaskLine)
	n, first := 0, true
	bad := func(format string, args ...any) error {
		return invalid(fmt.Sprintf("%s:%d", file, n), format, args...)
	}
	for sc.Scan() {
		n++
		b := bytes.TrimSpace(sc.Bytes())
		if len(b) == 0 {
			continue
		}
		if first {
			first = false
			var any map[string]json.RawMessage
			if err := json.Unmarshal(b, &any); err == nil && any["prompt"] == nil && any["answer"] == nil {
				var h header
				if err := strict(b, &h); err != nil {
					return t, bad("%v; a question has prompt and answer", err)
				}
				if h.Metric != "" && !slices.Contains(rules, h.Metric) {
					return t, bad("metric %q is not one of %v", h.Metric, rules)
				}
				t.Rule, t.Instruction = h.Metric, h.Instruction
				if h.Task != "" {
					t.Name = h.Task
				}
				if h.Title != "" {
					t.Title = h.Title
				}
				if h.Separator != nil {
					t.Separator = *h.Separator
				}
				if h.Join != nil {
					join = *h.Join
				}
				continue
			}
		}
		var l line
		if err := strict(b, &l); err != nil {
			return t, bad("%v", err)
		}
		if t.Rule == "" {
			t.Rule = Exact
			if l.Choices != nil {
				t.Rule = LikeliestPerToken
			}
		}
		it, err := l.item(t.Rule, join)
		if err != nil {
			return t, bad("%v", err)
		}
		if l.Example {
			marked = append(marked, it)
		} else {
			asked = append(asked, it)
		}
	}
	if err := sc.Err(); err != nil {
		n++
		return t, bad("%v", err)
	}
	if len(asked) == 0 {
		return t, invalid(file, "no questions in it")
	}
	t.Pool = marked
	t.Draw = func(rng *rand.Rand, _ *Text) func() (Item, bool) {
		items := slices.Clone(asked)
		shuffle(rng, items)
		return list(items)
	}
	return t, nil
}

func (l line) item(r Rule, join string) (Item, error) {
	if l.Prompt == nil {
		return Item{}, fmt.Errorf("prompt is missing")
	}
	if l.Answer == nil {
		return Item{}, fmt.Errorf("answer is missing")
	}
	glue := func(answer string) string {
		space := func(s string, at int) bool { return s == "" || strings.ContainsRune(" \t\n", rune(s[at])) }
		if space(*l.Prompt, max(len(*l.Prompt)-1, 0)) || space(answer, 0) {
			return answer
		}
		return join + answer
	}
	it := Item{Prompt: *l.Prompt}
	if !r.chooses() {
		var answer string
		if err := json.Unmarshal(l.Answer, &answer); err != nil || l.Choices != nil {
			return it, fmt.Errorf("metric %s wants a text as answer, and no choices", r)
		}
		if r.read(answer) == "" || r == Exact && strings.Contains(strings.TrimSpace(answer), "\n") {
			return it, fmt.Errorf("answer %q: metric %s wants one line of text that is not empty", answer, r)
		}
		it.Answer = glue(answer)
		return it, nil
	}
	if len(l.Choices) < 2 {
		return it, fmt.Errorf("metric %s wants at least 2 choices", r)
	}
	if err := json.Unmarshal(l.Answer, &it.Right); err != nil || it.Right < 0 || it.Right >= len(l.Choices) {
		return it, fmt.Errorf("answer %s: the index of a choice is wanted, 0 to %d", l.Answer, len(l.Choices)-1)
	}
	for i, c := range l.Choices {
		if c == "" || slices.Contains(l.Choices[:i], c) {
			return it, fmt.Errorf("choice %d, %q, is empty or there already", i, c)
		}
		it.Choices = append(it.Choices, glue(c))
	}
	it.Answer = it.Choices[it.Right]
	return it, nil
}

// strict decodes one value and refuses unknown fields.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return fmt.Errorf("more than one value on the line")
	}
	return nil
}
