package eval

import (
	"slices"
	"strings"
	"unicode"
)

// class is a word class as the text itself shows it. There is no tagger here, so it is an approximation.
type class int

const (
	otherClass  class = iota
	name              // capitalised within sentences, and never lower case
	noun              // mostly after an article, with a mark or a function word behind: "the needle in", "a button."
	verb              // mostly after a personal pronoun or "to": "she wanted to", "to share"
	preposition       // of a closed list
)

var (
	prepositions  = strings.Fields("about above across after against along among around at before behind below beneath beside between beyond by down during for from in inside into near of off on onto out over past since through to toward towards under until up upon with within without")
	determiners   = strings.Fields("a an the this that these those my your his her its our their some any every each no another two three")
	pronouns      = strings.Fields("i you he she it we they who")
	functionWords = strings.Fields("and or but if then than so as because when while where who which that is was were are be been am has had have do does did will would could can should may might must not to there here too very all again said what how just like also only even still yet now")
)

// stop says that w, lower case, says little by itself: never asked for in a cloze.
func stop(w string) bool {
	return slices.Contains(prepositions, w) || slices.Contains(determiners, w) || slices.Contains(pronouns, w) || slices.Contains(functionWords, w) ||
		slices.Contains([]string{"me", "him", "them", "us", "it", "one", "mine", "yours", "hers", "theirs"}, w)
}

// evidence counts how a word is used.
type evidence struct{ total, noun, verb, upper, lower int }

// classOf gives the class of the word w as it stands in the text.
func (t *Text) classOf(w string) class {
	if t.classes == nil {
		t.classify()
	}
	lower := strings.ToLower(w)
	c := t.classes[lower]
	if c != name && w != lower { // a common word that begins a sentence or shouts is no candidate
		return otherClass
	}
	return c
}

func (t *Text) classify() {
	seen := map[string]*evidence{}
	for _, s := range t.sentences {
		for i, w := range s.words {
			lower := strings.ToLower(t.at(w))
			e := seen[lower]
			if e == nil {
				e = &evidence{}
				seen[lower] = e
			}
			e.total++
			if first := []rune(t.at(w))[0]; unicode.IsUpper(first) {
				if i > 0 && t.clean[s.words[i-1].hi:w.lo] == " " {
					e.upper++
				}
			} else {
				e.lower++
			}
			if i == 0 || t.clean[s.words[i-1].hi:w.lo] != " " {
				continue
			}
			before := strings.ToLower(t.at(s.words[i-1]))
			ends := i+1 == len(s.words) || t.clean[w.hi:s.words[i+1].lo] != " "
			if !ends {
				next := strings.ToLower(t.at(s.words[i+1]))
				ends = stop(next)
			}
			switch {
			case slices.Contains(determiners, before) && ends:
				e.noun++
			case slices.Contains(pronouns, before) || before == "to":
				e.verb++
			}
		}
	}
	t.classes = map[string]class{}
	for w, e := range seen {
		switch {
		case slices.Contains(prepositions, w):
			t.classes[w] = preposition
		case stop(w) || len(w) < 3:
		case e.lower == 0 && e.upper >= 2:
			t.classes[w] = name
		case e.noun >= 2 && 4*e.noun >= e.total && e.noun > 2*e.verb:
			t.classes[w] = noun
		case e.verb >= 2 && 4*e.verb >= e.total && e.verb > 2*e.noun:
			t.classes[w] = verb
		}
	}
}

// ofClass lists the text's words of a class, sorted, as they are written.
func (t *Text) ofClass(c class) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range t.sentences {
		for _, w := range s.words {
			if x := t.at(w); !seen[x] && t.classOf(x) == c {
				seen[x] = true
				out = append(out, x)
			}
		}
	}
	slices.Sort(out)
	return out
}
