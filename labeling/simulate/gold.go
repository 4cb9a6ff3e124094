package simulate

import (
	"fmt"
	"math"
	"strings"
)

// The weights of the gold score, in points. The sum lies in [-7.3, 4.05].
const (
	goldNames     = 1.5  // times the share of named things that appear
	goldAllNames  = 0.5  // when all of them do
	goldTask      = 1.0  // the kind of answer that was asked for
	goldWrongTask = -0.5 // another ending, a wrong fact
	goldKind      = 0.35 // each kind word, three at most
	goldUnkind    = -0.6 // each unkind word, three at most
	goldNoEnd     = -2.0 // cut off at the limit
	goldNoMark    = -1.0 // ended, but in the middle of a sentence
	goldRepeat    = -0.3 // each run of three words that was there before, five at most
	goldOdd       = -0.3 // each odd pair of words, five at most
	goldShort     = -1.0 // fewer than four words
)

// Gold implements World.
func (s starter) Gold(prompt, response string, ended bool) float64 {
	sum := 0.0
	for _, c := range s.Explain(prompt, response, ended) {
		sum += c.Points
	}
	return sum
}

// Explain implements World.
func (s starter) Explain(prompt, response string, ended bool) []Criterion {
	req := read(prompt)
	ws := words(strings.TrimSpace(response))
	low := make([]string, len(ws))
	in := make(map[string]bool, len(ws))
	for i, w := range ws {
		low[i] = strings.ToLower(w)
		in[low[i]] = true
	}
	return []Criterion{
		names(req, in),
		taskDone(req, low, in),
		kindness(low),
		finish(ws, ended),
		repeats(low),
		s.readsWell(ws),
	}
}

func present(in map[string]bool, word string) bool {
	if in[word] {
		return true
	}
	a := animalOf[word]
	return a != nil && in[a.plural]
}

func names(req request, in map[string]bool) Criterion {
	if len(req.needs) == 0 {
		return Criterion{"names", goldNames + goldAllNames, "nothing is named"}
	}
	found := 0
	var missing []string
	for _, n := range req.needs {
		if present(in, n) {
			found++
		} else {
			missing = append(missing, n)
		}
	}
	p := goldNames * float64(found) / float64(len(req.needs))
	if len(missing) == 0 {
		return Criterion{"names", p + goldAllNames, "all that is named appears"}
	}
	return Criterion{"names", p, "missing: " + strings.Join(missing, ", ")}
}

func taskDone(req request, low []string, in map[string]bool) Criterion {
	switch req.task {
	case taskStory:
		return storyDone(req, low)
	case taskFact, taskDescribe:
		for k := range req.right {
			if in[k] {
				return Criterion{"task", goldTask, "says what was asked for"}
			}
		}
		return Criterion{"task", goldWrongTask, "does not say what was asked for"}
	case taskLookup:
		return lookupDone(req, low)
	case taskComfort:
		if in["you"] || in["your"] {
			return Criterion{"task", goldTask, "speaks to the one in need"}
		}
		return Criterion{"task", goldWrongTask, "does not speak to the one in need"}
	}
	if !in["should"] && !in["could"] && !in["can"] {
		return Criterion{"task", goldWrongTask, "gives no advice"}
	}
	for k := range req.right {
		if in[k] {
			return Criterion{"task", goldTask, "gives advice that helps"}
		}
	}
	if len(req.right) == 0 {
		return Criterion{"task", goldTask, "gives advice"}
	}
	return Criterion{"task", 0, "gives advice for another trouble"}
}

// lookupDone wants the right holder before the wrong one.
func lookupDone(req request, low []string) Criterion {
	for _, w := range low {
		if req.right[w] {
			return Criterion{"task", goldTask, "the right answer"}
		}
		if req.wrong[w] {
			break
		}
	}
	return Criterion{"task", goldWrongTask, "not the right answer"}
}

func storyDone(req request, low []string) Criterion {
	sentences := 0
	for _, w := range low {
		if w == "." || w == "!" || w == "?" {
			sentences++
		}
	}
	got := endingOf(low)
	switch {
	case req.ending == "" && sentences >= 2:
		return Criterion{"task", goldTask, "a story"}
	case req.ending == "":
		return Criterion{"task", goldWrongTask, "not a story"}
	case got[req.ending]:
		return Criterion{"task", goldTask, "a " + req.ending + " ending"}
	case len(got) > 0:
		return Criterion{"task", goldWrongTask, "another ending than the " + req.ending + " one"}
	}
	return Criterion{"task", 0, "no " + req.ending + " ending"}
}

// endingOf returns the kinds of ending that the last sentence realises.
func endingOf(low []string) map[string]bool {
	end := len(low)
	for end > 0 && !isWord(low[end-1]) {
		end--
	}
	start := end
	for start > 0 && low[start-1] != "." && low[start-1] != "!" && low[start-1] != "?" {
		start--
	}
	got := map[string]bool{}
	for _, w := range low[start:end] {
		for kind, markers := range endingWords {
			if markers[w] {
				got[kind] = true
			}
		}
	}
	return got
}

func kindness(low []string) Criterion {
	kind, unkind := map[string]bool{}, 0
	for _, w := range low {
		if stem := kindStems[w]; stem != "" {
			kind[stem] = true
		}
		if unkindWords[w] {
			unkind++
		}
	}
	k, u := min(len(kind), 3), min(unkind, 3)
	return Criterion{"kind", goldKind*float64(k) + goldUnkind*float64(u), fmt.Sprintf("%d kind and %d unkind words", len(kind), unkind)}
}

func finish(ws []string, ended bool) Criterion {
	n := 0
	for _, w := range ws {
		if isWord(w) {
			n++
		}
	}
	switch {
	case !ended:
		return Criterion{"finish", goldNoEnd, "does not come to an end"}
	case n < 4:
		return Criterion{"finish", goldShort, "too short"}
	}
	last := ws[len(ws)-1]
	if last == `"` && len(ws) > 1 {
		last = ws[len(ws)-2]
	}
	if last == "." || last == "!" || last == "?" {
		return Criterion{"finish", 0, "ends with a full sentence"}
	}
	return Criterion{"finish", goldNoMark, "breaks off"}
}

// repeats counts runs of three words that stood in the answer before. Runs within another run count on, so a
// sentence of six words said twice costs four.
func repeats(low []string) Criterion {
	var ws []string
	for _, w := range low {
		if isWord(w) {
			ws = append(ws, w)
		}
	}
	seen := map[[3]string]bool{}
	n := 0
	for i := 0; i+3 <= len(ws); i++ {
		run := [3]string{ws[i], ws[i+1], ws[i+2]}
		if seen[run] {
			n++
		}
		seen[run] = true
	}
	return Criterion{"repeats", math.Max(goldRepeat*float64(n), 5*goldRepeat), fmt.Sprintf("%d phrases said before", n)}
}

func (s starter) readsWell(ws []string) Criterion {
	odd := s.grammar().odd(ws)
	note := "reads well"
	if len(odd) > 0 {
		note = "odd: " + strings.Join(odd, ", ")
	}
	return Criterion{"reads well", goldOdd * float64(min(len(odd), 5)), note}
}
