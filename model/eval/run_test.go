package eval

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// bytesOnly is a tokenizer of 256 bytes and an end-of-text token that begins texts too.
func bytesOnly(t *testing.T) token.Tokenizer {
	t.Helper()
	tok, err := token.Train(func(yield func(string) bool) { yield("a b") }, 257, []string{"<|endoftext|>"})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func subject(t *testing.T, tok token.Tokenizer, name string, context int) Subject {
	t.Helper()
	m, err := model.New(model.Config{Family: "gpt2", Vocab: tok.Vocab(), Context: context, Layers: 2, Width: 48, Heads: 2, BOS: int(tok.BOS()), EOS: int(tok.EOS())}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return Subject{Name: name, Model: m, Tokenizer: tok}
}

// colours is a task of few facts that a tiny model can learn by heart.
func colours(t *testing.T) Task {
	t.Helper()
	task, err := ReadTask(strings.NewReader(`{"task":"colours"}
{"prompt":"ice:","answer":"blue"}
{"prompt":"fire:","answer":"red"}
{"prompt":"grass:","answer":"green"}
{"prompt":"coal:","answer":"black"}
{"prompt":"milk:","answer":"white"}
{"prompt":"sun:","answer":"yellow","example":true}
{"prompt":"mud:","answer":"brown","example":true}
`), "colours.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// learn fits a model to sequences until their loss is small.
func learn(t *testing.T, m *model.Transformer, seqs []model.Sequence) {
	t.Helper()
	opt := model.AdamW{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8}
	for range 300 {
		pass := m.Forward(seqs, model.WantLogprobs)
		grads := make([][]float32, len(seqs))
		worst := 0.0
		for i, row := range pass.Logprobs {
			grads[i] = make([]float32, len(row))
			for j, lp := range row {
				grads[i][j] = -1 / float32(len(seqs))
				worst = max(worst, -float64(lp))
			}
		}
		if worst < 0.05 {
			return
		}
		pass.Backward(model.Grads{Logprobs: grads})
		opt.Step(m, 3e-3)
	}
	t.Fatal("the model did not learn the facts")
}

// A model that knows the answers gets them all right by every rule, one that knows nothing none, or as many as chance.
func TestRulesTellKnowledge(t *testing.T) {
	tok := bytesOnly(t)
	free := colours(t)
	knows, dull := subject(t, tok, "knows", 64), subject(t, tok, "dull", 64)
	ask, _ := free.sets(0, 5, nil)
	var seqs []model.Sequence
	for _, it := range ask {
		prompt := asker{knows, 64}.ids(it.Prompt)
		seqs = append(seqs, model.Sequence{IDs: append(append(prompt, tok.Encode(it.Answer)...), tok.EOS()), Start: len(prompt)})
	}
	learn(t, knows.Model, seqs)
	word, choose, each := free, free, free
	word.Name, word.Rule = "word", FirstWord
	choose.Name, choose.Rule, choose.Draw = "choose", Likeliest, choicesOf(ask)
	each.Name, each.Rule, each.Draw = "each", LikeliestPerToken, choicesOf(ask)
	r, err := Run(t.Context(), []Task{free, word, choose, each}, []Subject{dull, knows}, Options{Shots: []int{0}, N: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Tasks {
		unaware, aware := row.Cells[0], row.Cells[1]
		if aware.Accuracy.Mean != 1 || aware.Loss.Mean > 0.5 {
			t.Errorf("%s: the model that knows is right in %g, loss %g: %+v", row.Task, aware.Accuracy.Mean, aware.Loss.Mean, aware.Verdicts)
		}
		if unaware.Accuracy.Mean > 0.6 || row.Chance == 0 && unaware.Accuracy.Mean > 0 || unaware.Loss.Mean < 5 {
			t.Errorf("%s: the model that knows nothing is right in %g, loss %g", row.Task, unaware.Accuracy.Mean, unaware.Loss.Mean)
		}
		if d := aware.Difference; d == nil || d.Mean != aware.Accuracy.Mean-unaware.Accuracy.Mean || unaware.Difference != nil {
			t.Errorf("%s: difference %+v", row.Task, d)
		}
	}
}

// choicesOf asks the same with two wrong answers beside the right one.
func choicesOf(items []Item) func(*rand.Rand, *Text) func() (Item, bool) {
	var out []Item
	for i, it := range items {
		it.Choices = []string{items[(i+1)%len(items)].Answer, it.Answer, items[(i+2)%len(items)].Answer}
		it.Right = 1
		out = append(out, it)
	}
	return func(*rand.Rand, *Text) func() (Item, bool) { return list(out) }
}

// An untrained model chooses among ten as a die would.
func TestUntrainedIsChance(t *testing.T) {
	tok := bytesOnly(t)
	task, _ := Find("cbt-nouns")
	r, err := Run(t.Context(), []Task{task}, []Subject{subject(t, tok, "new", 128)}, Options{Shots: []int{0}, N: 60, Text: story(2400)})
	if err != nil {
		t.Fatal(err)
	}
	if row := r.Tasks[0]; math.Abs(row.Chance-0.1) > 1e-12 || row.Cells[0].Accuracy.Mean > 0.3 || row.N != 60 {
		t.Errorf("n %d, chance %g, accuracy %g", row.N, row.Chance, row.Cells[0].Accuracy.Mean)
	}
}

func TestChoose(t *testing.T) {
	rows := [][]float32{{-1, -1, -1, -1}, {-1.5, -1.5}, {-4}}
	if got := choose(Likeliest, rows); got != 1 {
		t.Errorf("likeliest: %d", got)
	}
	if got := choose(LikeliestPerToken, rows); got != 0 {
		t.Errorf("per token: %d", got)
	}
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		rule       Rule
		text, want string
	}{
		{Exact, " 124\n\nQ: What", "124"}, {Exact, "124", "124"}, {Exact, " 124.", "124."}, {Exact, "\n124", ""},
		{FirstWord, " Bob. He", "bob"}, {FirstWord, " \"Don't!", "don't"}, {FirstWord, " bobsled", "bobsled"}, {FirstWord, " 12 ", ""},
	} {
		if got := c.rule.read(c.text); got != c.want {
			t.Errorf("%s of %q: %q, want %q", c.rule, c.text, got, c.want)
		}
	}
}

// Examples that do not fit are dropped from the front, a question too long loses its beginning, and both are counted.
func TestFitsTheContext(t *testing.T) {
	tok := bytesOnly(t)
	for context := 8; context <= 80; context++ {
		a := asker{subject(t, tok, "m", context), context}
		for _, name := range []string{"addition-5", "anagrams-1", "continuation"} {
			task, _ := Find(name)
			ask, pool := task.sets(1, 3, story(200))
			for i, it := range ask {
				examples := task.examples(1, i, pool, 4)
				q := a.ask(task, examples, it)
				room := 0
				if q.prompt != nil {
					room = a.room(it.Answer)
					text := task.text(examples[:q.examples], it)
					if got := tok.Decode(q.prompt); !strings.HasSuffix(text, got) || !q.cut && got != text {
						t.Fatalf("context %d: asked %q of %q", context, got, text)
					}
				}
				if len(q.prompt)+room > context || q.cut && q.examples > 0 {
					t.Fatalf("context %d: %d tokens and %d for the answer, %d examples, cut %v", context, len(q.prompt), room, q.examples, q.cut)
				}
				for j, s := range q.options {
					if err := a.Model.Check(s, model.WantLogprobs); err != nil || len(s.IDs) > context {
						t.Fatalf("context %d: %v (%d tokens)", context, err, len(s.IDs))
					}
					want := it.Answer
					if it.Choices != nil {
						want = it.Choices[j]
					}
					if got := tok.Decode(s.IDs[s.Start:]); !q.cut && got != want || !strings.HasPrefix(want, got) {
						t.Fatalf("context %d: scores %q of %q", context, got, want)
					}
				}
			}
		}
	}
}

func TestReportTellsWhatDidNotFit(t *testing.T) {
	tok := bytesOnly(t)
	task, _ := Find("addition-2")
	r, err := Run(t.Context(), []Task{task}, []Subject{subject(t, tok, "small", 64)}, Options{Shots: []int{0, 1, 8}, N: 6})
	if err != nil {
		t.Fatal(err)
	}
	cells := r.Tasks[0].Cells
	if cells[0].Short != 0 || cells[1].Short != 0 || cells[1].MeanShots != 1 || cells[2].Short != 6 || cells[2].MeanShots >= 2 {
		t.Errorf("%+v", cells)
	}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "* small 8-shot: fewer examples") || !strings.Contains(b.String(), "0.0* [") {
		t.Error(b.String())
	}
}

// Reports are the same with one thread and with many, and whether models are asked together or apart.
func TestReportIsDeterministic(t *testing.T) {
	tok := bytesOnly(t)
	a, b := subject(t, tok, "a", 96), subject(t, tok, "b", 96)
	text := story(300)
	var tasks []Task
	for _, name := range []string{"addition-1", "cloze", "cbt-names", "continuation"} {
		task, _ := Find(name)
		tasks = append(tasks, task)
	}
	run := func(threads int, tasks []Task, subjects ...Subject) *Report {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		r, err := Run(t.Context(), tasks, subjects, Options{Shots: []int{0, 2}, N: 12, Seed: 5, Text: text, Perplexity: true})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, many := run(1, tasks, a, b), run(4, tasks, a, b)
	if !reflect.DeepEqual(one.Tasks, many.Tasks) || !reflect.DeepEqual(one.Perplexity, many.Perplexity) {
		t.Error("the number of threads changes the report")
	}
	apart := run(4, tasks[1:2], a)
	if !reflect.DeepEqual(apart.Tasks[0].Cells, one.Tasks[1].Cells[:2]) {
		t.Error("what else is asked changes a cell")
	}
}

func TestPerplexityPredictsEachTokenOnce(t *testing.T) {
	ids := make([]int32, 23)
	for i := range ids {
		ids[i] = int32(i)
	}
	for context := 2; context < 30; context++ {
		for stride := 1; stride < context; stride++ {
			next := int32(1)
			for i, s := range windows(ids, context, stride) {
				if len(s.IDs) > context || s.Start < 1 || i > 0 && len(s.IDs)-s.Start > stride {
					t.Fatalf("context %d, stride %d: window %d holds %d tokens from %d", context, stride, i, len(s.IDs), s.Start)
				}
				for _, id := range s.IDs[s.Start:] {
					if id != next {
						t.Fatalf("context %d, stride %d: predicts %d, want %d", context, stride, id, next)
					}
					next++
				}
			}
			if next != 23 {
				t.Fatalf("context %d, stride %d: %d tokens predicted", context, stride, next-1)
			}
		}
	}
}

// Where all fits one window, perplexity is HeldOutLoss's, and bits per byte the nats over the bytes.
func TestPerplexity(t *testing.T) {
	tok := bytesOnly(t)
	s := subject(t, tok, "m", 64)
	const text = "Grüße, a short text."
	p, err := predict(t.Context(), s, text, 0, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	loss, perplexity, err := HeldOutLoss(t.Context(), s.Model, []model.Sequence{{IDs: asker{s, 64}.ids(text), Start: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Loss.Mean != loss.Mean || p.Perplexity.Mean != perplexity || p.Tokens != loss.N || p.Lossy {
		t.Errorf("%+v, want loss %g, perplexity %g", p, loss.Mean, perplexity)
	}
	if p.Bytes != len(text) || math.Abs(p.BitsPerByte.Mean-loss.Mean*float64(loss.N)/math.Ln2/float64(len(text))) > 1e-9 {
		t.Errorf("%d bytes, %g bits per byte", p.Bytes, p.BitsPerByte.Mean)
	}
	long := strings.Repeat(text, 20)
	p, err = predict(t.Context(), s, long, 16, func(int, int) {})
	if err != nil || p.Bytes != len(long) || p.Stride != 16 || !(p.BitsPerByte.Low < p.BitsPerByte.Mean && p.BitsPerByte.Mean < p.BitsPerByte.High) {
		t.Errorf("%+v, %v", p, err)
	}
	var bad *InvalidError
	if _, err := predict(t.Context(), s, long, 64, nil); !errors.As(err, &bad) || bad.Field != "stride" {
		t.Errorf("a stride of the window: %v", err)
	}
}

// lossy is a tokenizer that cannot write x.
type lossy struct{ token.Tokenizer }

func (l lossy) Encode(text string) []int32 {
	return l.Tokenizer.Encode(strings.ReplaceAll(text, "x", ""))
}

// What a tokenizer leaves out of the text still counts as bytes of it, and the report says so.
func TestPerplexityOfALossyTokenizer(t *testing.T) {
	s := subject(t, lossy{bytesOnly(t)}, "m", 64)
	p, err := predict(t.Context(), s, "a box of wax", 0, func(int, int) {})
	if err != nil || p.Bytes != 12 || p.Tokens != 10 || !p.Lossy {
		t.Errorf("%+v, %v", p, err)
	}
	if notes := (&Report{Perplexity: []Perplexity{p}}).lossy(); len(notes) != 1 {
		t.Errorf("%q", notes)
	}
}

func TestRunRefuses(t *testing.T) {
	tok := bytesOnly(t)
	s := subject(t, tok, "m", 32)
	sum, _ := Find("addition-1")
	cloze, _ := Find("cloze")
	good := Options{Shots: []int{0}, N: 1}
	for name, c := range map[string]struct {
		tasks    []Task
		subjects []Subject
		change   func(*Options)
		field    string
	}{
		"no model":           {[]Task{sum}, nil, func(*Options) {}, "model"},
		"no task":            {nil, []Subject{s}, func(*Options) {}, "task"},
		"no tokenizer":       {[]Task{sum}, []Subject{{Name: "m", Model: s.Model}}, func(*Options) {}, "model"},
		"the same twice":     {[]Task{sum}, []Subject{s, s}, func(*Options) {}, "model"},
		"no items":           {[]Task{sum}, []Subject{s}, func(o *Options) { o.N = 0 }, "n"},
		"no shots":           {[]Task{sum}, []Subject{s}, func(o *Options) { o.Shots = nil }, "shots"},
		"negative shots":     {[]Task{sum}, []Subject{s}, func(o *Options) { o.Shots = []int{-1} }, "shots"},
		"shots twice":        {[]Task{sum}, []Subject{s}, func(o *Options) { o.Shots = []int{1, 1} }, "shots"},
		"many shots":         {[]Task{sum}, []Subject{s}, func(o *Options) { o.Shots = []int{101} }, "shots"},
		"no text":            {[]Task{cloze}, []Subject{s}, func(*Options) {}, "task"},
		"short text":         {[]Task{cloze}, []Subject{s}, func(o *Options) { o.Text = NewText("One. Two.") }, "text"},
		"nothing to predict": {nil, []Subject{s}, func(o *Options) { o.Perplexity = true }, "task"},
	} {
		o := good
		c.change(&o)
		_, err := Run(t.Context(), c.tasks, c.subjects, o)
		var bad *InvalidError
		if !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Run(ended, []Task{sum}, []Subject{s}, good); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

func TestSave(t *testing.T) {
	tok := bytesOnly(t)
	s := subject(t, tok, "m<&>", 64)
	tuned := s
	tuned.Name, tuned.FineTuned = "tuned", true
	r, err := Run(t.Context(), []Task{colours(t)}, []Subject{s, tuned}, Options{Shots: []int{0, 1}, N: 3, Text: story(20), Perplexity: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Columns) != 3 || r.Columns[2] != (Column{"tuned", true, 0}) {
		t.Errorf("columns %+v", r.Columns)
	}
	dir := filepath.Join(t.TempDir(), "report")
	if err := r.Save(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || back.Tasks[0].Cells[1].Shots != 1 {
		t.Errorf("report.json: %v: %s", err, b)
	}
	b, err = os.ReadFile(filepath.Join(dir, "items.jsonl"))
	if err != nil || strings.Count(string(b), "\n") != 9 || !strings.Contains(string(b), `"prompt":"ice:","answer":" blue"`) && !strings.Contains(string(b), `"answer":" `) {
		t.Errorf("items.jsonl: %v: %s", err, b)
	}
	for _, name := range []string{"report.html", "plot.svg", "table.txt"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(b), "colours") {
			t.Errorf("%s: %v", name, err)
		}
		if strings.HasSuffix(name, "l") || strings.HasSuffix(name, "g") {
			checkPicture(t, name, string(b))
		}
	}
}
