package eval

import (
	"context"
	"sort"
	"strings"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/token"
)

// Subject is a model under evaluation.
type Subject struct {
	Name      string
	FineTuned bool // asked without examples only, and drawn as a level to compare with
	Model     *model.Transformer
	Tokenizer token.Tokenizer
}

// Verdict is what came out for one item.
type Verdict struct {
	Right    bool    `json:"right"`
	Output   string  `json:"output"`   // the text judged: the greedy line or word, or the choice taken
	Loss     float64 `json:"loss"`     // -log pi of the right answer, in nats
	Examples int     `json:"examples"` // that fitted the context
	Cut      bool    `json:"cut"`      // the question itself had to lose its beginning, or the answer its end
}

// question is an item with as many examples as fit, as token ids.
type question struct {
	prompt   []int32          // to continue greedily; nil under a rule that chooses
	options  []model.Sequence // the choices, or the right answer alone
	examples int
	cut      bool
}

// asker puts items into tokens for one model.
type asker struct {
	Subject
	context int
}

// ids encodes text as the beginning of a sequence.
func (a asker) ids(text string) []int32 {
	ids := a.Tokenizer.Encode(text)
	if bos := a.Tokenizer.BOS(); bos >= 0 {
		return append([]int32{bos}, ids...)
	}
	if eos := a.Tokenizer.EOS(); len(ids) == 0 && eos >= 0 {
		return []int32{eos}
	}
	return ids
}

// text composes the question: instruction, examples with the furthest first, prompt.
func (t Task) text(examples []Item, it Item) string {
	var b strings.Builder
	if t.Instruction != "" {
		b.WriteString(t.Instruction)
		b.WriteString(t.Separator)
	}
	for i := len(examples) - 1; i >= 0; i-- {
		b.WriteString(examples[i].Prompt)
		b.WriteString(examples[i].shown())
		b.WriteString(t.Separator)
	}
	b.WriteString(it.Prompt)
	return b.String()
}

// room is how many tokens an answer of that many bytes may take: a token each, and two to see that it has ended.
func (a asker) room(answer string) int { return min(len(answer)+2, a.context/2) }

// ask composes the question with the most examples that fit beside the answer, dropping the furthest first. Where not even the
// question fits, its beginning is cut off; an answer of more than half the context loses its end.
func (a asker) ask(t Task, examples []Item, it Item) question {
	completions := it.Choices
	if !t.Rule.chooses() {
		completions = []string{it.Answer}
	}
	need := func(k int) int {
		text := t.text(examples[:k], it)
		n := 0
		for _, c := range completions {
			n = max(n, len(a.ids(text+c)))
		}
		if !t.Rule.chooses() {
			n = max(n, len(a.ids(text))+a.room(it.Answer))
		}
		return n
	}
	k := sort.Search(len(examples), func(k int) bool { return need(k+1) > a.context })
	q := question{examples: k}
	text := t.text(examples[:k], it)
	before := a.ids(text)
	longest := 0
	for _, c := range completions {
		s := model.Sequence{IDs: a.ids(text + c)}
		for s.Start < min(len(before), len(s.IDs)-1) && before[s.Start] == s.IDs[s.Start] {
			s.Start++ // a token that spans the border belongs to the answer
		}
		s.Start = max(s.Start, 1)
		if n := s.Start + a.context/2; len(s.IDs) > n {
			s.IDs, q.cut = s.IDs[:n], true
		}
		longest = max(longest, len(s.IDs))
		q.options = append(q.options, s)
	}
	if !t.Rule.chooses() {
		longest = max(longest, len(before)+a.room(it.Answer))
		q.prompt = before
	}
	drop := longest - a.context
	if drop <= 0 {
		return q
	}
	q.cut = true
	for i, s := range q.options {
		q.options[i] = model.Sequence{IDs: a.behead(s.IDs, drop), Start: max(s.Start-drop, 1)}
	}
	if q.prompt != nil {
		q.prompt = a.behead(before, drop)
	}
	return q
}

// behead takes n tokens off the front, but for the start token.
func (a asker) behead(ids []int32, n int) []int32 {
	out := append([]int32(nil), ids[n:]...)
	if bos := a.Tokenizer.BOS(); bos >= 0 {
		out[0] = bos
	}
	return out
}

// judge asks the model all items with k examples each from the pool.
func judge(ctx context.Context, s Subject, t Task, ask, pool []Item, k int, seed uint64, progress func(done int)) ([]Verdict, error) {
	a := asker{s, s.Model.Config().Context}
	questions := make([]question, len(ask))
	var options []model.Sequence
	var prompts [][]int32
	room := 0
	for i, it := range ask {
		q := a.ask(t, t.examples(seed, i, pool, k), it)
		questions[i] = q
		options = append(options, q.options...)
		if q.prompt != nil {
			prompts = append(prompts, q.prompt)
			room = max(room, a.room(it.Answer))
		}
	}
	total := len(options) + len(prompts)
	heard := func(done int) { progress(done * len(ask) / max(total, 1)) }
	rows, err := logprobs(ctx, s.Model, options, heard)
	if err != nil {
		return nil, err
	}
	out := make([]Verdict, len(ask))
	var greedy []decode.Completion
	if len(prompts) > 0 {
		greedy, err = decode.Generate(ctx, s.Model, prompts, decode.Params{MaxTokens: room}, a.eos(), func(done int) { heard(len(options) + done) })
		if err != nil {
			return nil, err
		}
	}
	at := 0
	for i, it := range ask {
		v := Verdict{Examples: questions[i].examples, Cut: questions[i].cut}
		n := len(questions[i].options)
		if t.Rule.chooses() {
			best := choose(t.Rule, rows[at:at+n])
			v.Right, v.Output, v.Loss = best == it.Right, it.Choices[best], -sum(rows[at+it.Right])
		} else {
			ids := greedy[i].IDs
			if greedy[i].Finish == decode.FinishStop {
				ids = ids[:len(ids)-1]
			}
			ids = ids[:min(len(ids), a.room(it.Answer))] // other items' answers may be longer
			v.Output = t.Rule.read(token.Continue(s.Tokenizer, ids))
			v.Right, v.Loss = v.Output == t.Rule.read(it.Answer), -sum(rows[at])
		}
		at += n
		out[i] = v
	}
	return out, nil
}

// eos ends a completion.
func (a asker) eos() int32 {
	if eos := a.Tokenizer.EOS(); eos >= 0 {
		return eos
	}
	return int32(a.Model.Config().EOS)
}

// choose returns the choice with the largest likelihood by the rule, the first of equals.
func choose(r Rule, rows [][]float32) int {
	best, top := 0, 0.0
	for i, row := range rows {
		x := sum(row)
		if r == LikeliestPerToken {
			x /= float64(len(row))
		}
		if i == 0 || x > top {
			best, top = i, x
		}
	}
	return best
}

// read takes from a continuation what the rule compares.
func (r Rule) read(text string) string {
	if r == FirstWord {
		return firstWord(text)
	}
	text = strings.TrimLeft(text, " ")
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

func sum(row []float32) float64 {
	total := 0.0
	for _, x := range row {
		total += float64(x)
	}
	return total
}

// scoreTokens bounds the tokens that go through the model at once.
const scoreTokens = 8192

// logprobs scores all sequences, many at a time; the numbers do not depend on how many. progress, where it is not nil, hears
// how many are done. It ends early with ctx's error.
func logprobs(ctx context.Context, m *model.Transformer, seqs []model.Sequence, progress func(done int)) ([][]float32, error) {
	rows := make([][]float32, 0, len(seqs))
	for at := 0; at < len(seqs); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		end, tokens := at, 0
		for end < len(seqs) && (end == at || tokens+len(seqs[end].IDs) <= scoreTokens) {
			tokens += len(seqs[end].IDs)
			end++
		}
		rows = append(rows, m.Score(seqs[at:end], model.WantLogprobs).Logprobs...)
		at = end
		if progress != nil {
			progress(at)
		}
	}
	return rows, nil
}
