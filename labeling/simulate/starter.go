package simulate

import (
	"math/rand/v2"
	"strings"
	"sync"
)

// starter is the world of the starter model: people, animals, things and places.
type starter struct {
	grammar func() *grammar // what may stand next to what; built at first use
}

var theStarter = starter{grammar: sync.OnceValue(newGrammar)}

// Starter returns the world of the starter model.
func Starter() World { return theStarter }

// Name implements World.
func (starter) Name() string { return "starter" }

// Corpus implements World: stories, dialogues, descriptions, notes, and instructions as they stand in the wild, in
// lists or in chats whose turns were mixed up, so that nothing in it teaches to follow them.
func (starter) Corpus(seed uint64, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = corpusText(newRand(seed, streamCorpus, i))
	}
	return out
}

func corpusText(rng *rand.Rand) string {
	switch p := rng.Float64(); {
	case p < 0.55:
		return longStory(rng, newScene(rng), 2+rng.IntN(5))
	case p < 0.67:
		return dialogue(rng)
	case p < 0.75: // a few days and their weather
		return unasked(rng, taskDescribe) + " " + unasked(rng, taskDescribe)
	case p < 0.82:
		return unasked(rng, taskComfort) + " " + unasked(rng, taskAdvice)
	case p < 0.88:
		return unasked(rng, taskFact) + " " + unasked(rng, taskLookup) + " " + unasked(rng, taskFact)
	case p < 0.93: // a sheet of instructions
		var b strings.Builder
		for range 3 + rng.IntN(2) {
			b.WriteString(newInstruction(rng).prompt + "\n")
		}
		return strings.TrimSuffix(b.String(), "\n")
	}
	// a chat whose turns were mixed up
	return "User: " + newInstruction(rng).prompt + "\nAssistant: " +
		unasked(rng, pick(rng, []task{taskStory, taskStory, taskDescribe, taskComfort, taskFact}))
}

// unasked is an answer to an instruction that is not shown.
func unasked(rng *rand.Rand, t task) string {
	for {
		if in := newInstruction(rng); in.task == t {
			c := newCare(rng)
			c.unfinished = false // another text follows
			return in.answer(rng, c)
		}
	}
}

// dialogue is a talk of two about animals and things.
func dialogue(rng *rand.Rand) string {
	sc := newScene(rng)
	parts := []string{sc.fill(rng, pick(rng, []string{
		"{S} met {F} {at}.", "One {day} {time}, {S} and {F} sat {at}.", "{S} walked {to} with {F}.",
	}))}
	sc.who.adj, sc.other.adj = "", ""
	for range 2 + rng.IntN(2) {
		if chance(rng, 0.6) {
			in := &instruction{sc: sc}
			in.fact(rng)
			a := in.answerFact(rng, care{})
			a = strings.SplitAfter(a, ".")[0]
			parts = append(parts, sc.fill(rng, "\""+in.prompt+"\" asked {s}. \"")+strings.TrimSuffix(a, ".")+sc.fill(rng, ",\" said {f}."))
			continue
		}
		parts = append(parts, sc.fill(rng, pick(rng, []string{
			"\"I have {O},\" said {s}. \"It is very nice,\" said {f}.",
			"\"Do you like {place}?\" asked {s}. \"I do,\" said {f}.",
			"\"It is a {day} {time},\" said {f}. \"Let us {base},\" said {s}.",
			"\"Who are you?\" asked {f}. \"I am only passing by,\" said {s}.",
			"\"Have you seen my {noun}?\" asked {s}. \"It is {at},\" said {f}.",
			"\"I am hungry,\" said {s}. \"Then let us eat,\" said {f}.",
		})))
	}
	parts = append(parts, sc.fill(rng, pick(rng, []string{
		"Then they went home.", "They talked until it was late.", "{s} thanked {f} and left.", "And so they became friends.",
		"After that they did not speak for a while.",
	})))
	return text(parts...)
}

// Demonstrations implements World.
func (starter) Demonstrations(seed uint64, n int) []Demonstration {
	out := make([]Demonstration, n)
	for i := range out {
		rng := newRand(seed, streamDemos, i)
		in := drawInstruction(rng, false)
		out[i] = Demonstration{Prompt: in.prompt, Response: in.answer(rng, newCare(rng))}
	}
	return out
}

// drawInstruction draws until the prompt is on the wanted side of the split.
func drawInstruction(rng *rand.Rand, held bool) *instruction {
	for {
		if in := newInstruction(rng); heldOut(in.prompt) == held {
			return in
		}
	}
}

// Prompts implements World.
func (starter) Prompts(seed uint64, n int) []string {
	out := make([]string, 0, n)
	seen := make(map[string]bool, n)
	for i := 0; len(out) < n; i++ {
		p := drawInstruction(newRand(seed, streamPrompts, i), IsHeldOut(seed)).prompt
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}
