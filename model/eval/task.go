package eval

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
)

// InvalidError says which option or file is wrong, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return "eval: " + e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Rule says how an item is judged.
type Rule string

const (
	// Exact: the greedy continuation up to the end of its line, without surrounding space, is the answer.
	Exact Rule = "exact"
	// FirstWord: the first word of the greedy continuation is the answer, whatever case and punctuation.
	FirstWord Rule = "word"
	// Likeliest: the right choice has the largest log-likelihood of all.
	Likeliest Rule = "likeliest"
	// LikeliestPerToken: the same after division by the number of tokens (GPT-3, section 2.4).
	LikeliestPerToken Rule = "likeliest-per-token"
)

var rules = []Rule{Exact, FirstWord, Likeliest, LikeliestPerToken}

// chooses says that the rule picks among choices, and does not generate.
func (r Rule) chooses() bool { return r == Likeliest || r == LikeliestPerToken }

// Item is one question. Prompt and what follows are joined as they stand: an answer begins with its space.
type Item struct {
	Prompt  string
	Answer  string   // the right one
	Choices []string // under a rule that chooses: all, Answer among them
	Right   int      // Choices[Right] == Answer
	// Shown is what follows Prompt where the item is an example; empty = Answer.
	Shown string
}

func (it Item) shown() string {
	if it.Shown != "" {
		return it.Shown
	}
	return it.Answer
}

// Task is data and a rule. Draw returns a source of items that says false when there are no more; it may repeat itself,
// and repetitions are left out. What it gives depends on rng and text alone.
type Task struct {
	Name  string
	Title string // one line: what is asked
	Paper string // where it comes from
	Rule  Rule
	// Instruction stands once before the examples; Separator between it, the examples and the question.
	Instruction, Separator string
	NeedsText              bool
	// Pool are the examples; nil = a part of what is drawn.
	Pool []Item
	Draw func(rng *rand.Rand, text *Text) func() (Item, bool)
}

// Tasks are the built-in tasks. A new one is a file with its Draw, and its rows here.
func Tasks() []Task { return slices.Concat(arithmetic, scrambles, clozes, bookTests, continuations) }

// Find returns the built-in task of that name.
func Find(name string) (Task, bool) {
	all := Tasks()
	i := slices.IndexFunc(all, func(t Task) bool { return t.Name == name })
	if i < 0 {
		return Task{}, false
	}
	return all[i], true
}

const (
	// MaxShots is how many examples a pool holds, where the task has as many items.
	MaxShots = 100
	// poolEvery: each fourth item goes to the pool until that is full, so that a task with few items keeps most of
	// them for asking.
	poolEvery = 4
	// repeats: after as many draws in a row that were seen before, a task counts as drawn out.
	repeats = 1000
)

// sets draws up to n items to ask and the pool that examples come from. No item is in both. Item i depends on (task, seed,
// text) only: a larger n continues the same list.
func (t Task) sets(seed uint64, n int, text *Text) (ask, pool []Item) {
	next := t.Draw(stream(seed, t.Name), text)
	pool = t.Pool
	seen := map[string]bool{}
	for _, it := range pool {
		seen[it.Prompt] = true
	}
	again := 0
	for drawn := 0; (len(ask) < n || t.Pool == nil && len(pool) < MaxShots) && again < repeats; {
		it, ok := next()
		if !ok {
			break
		}
		if seen[it.Prompt] {
			again++
			continue
		}
		again = 0
		seen[it.Prompt] = true
		if drawn++; t.Pool == nil && drawn%poolEvery == 0 && len(pool) < MaxShots {
			pool = append(pool, it)
		} else if len(ask) < n {
			ask = append(ask, it)
		}
	}
	return ask, pool
}

// examples draws the examples for item i, nearest to the question first: one order per item, so that more shots put further
// examples in front of the same ones (GPT-3, section 2.4: drawn for each question from the task's training set).
func (t Task) examples(seed uint64, i int, pool []Item, k int) []Item {
	rng := rand.New(rand.NewPCG(seed, hash(t.Name)+uint64(i)+1))
	k = min(k, len(pool))
	out := make([]Item, 0, k)
	for _, at := range rng.Perm(len(pool))[:k] {
		out = append(out, pool[at])
	}
	return out
}

// chance is the accuracy of guessing: over the choices, and nothing where the answer is free.
func (t Task) chance(ask []Item) float64 {
	if !t.Rule.chooses() || len(ask) == 0 {
		return 0
	}
	sum := 0.0
	for _, it := range ask {
		sum += 1 / float64(len(it.Choices))
	}
	return sum / float64(len(ask))
}

func stream(seed uint64, name string) *rand.Rand { return rand.New(rand.NewPCG(seed, hash(name))) }

func hash(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// list gives the items one after another.
func list(items []Item) func() (Item, bool) {
	return func() (Item, bool) {
		if len(items) == 0 {
			return Item{}, false
		}
		it := items[0]
		items = items[1:]
		return it, true
	}
}

func shuffle[T any](rng *rand.Rand, x []T) {
	rng.Shuffle(len(x), func(i, j int) { x[i], x[j] = x[j], x[i] })
}
