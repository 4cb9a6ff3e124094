package simulate

import "strings"

// request is what a reader takes from a prompt: what must stand in the answer, and what kind of answer it must be.
type request struct {
	task   task
	needs  []string        // words that the instruction names, lower case
	ending string          // of a story; "" = none asked for
	right  map[string]bool // words of which one must stand in the answer
	wrong  map[string]bool // of a lookup: the other answers
}

// words splits a text into words and marks, as the gold score sees it. Letters, digits and apostrophes make words.
func words(s string) []string {
	var out []string
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && letter(s[j]) {
			j++
		}
		switch {
		case j > i:
			out = append(out, s[i:j])
		case s[i] == ' ' || s[i] == '\n':
			j = i + 1
		default:
			j = i + 1
			out = append(out, s[i:j])
		}
		i = j
	}
	return out
}

func letter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '\'' || c >= 0x80
}

func isWord(w string) bool { return letter(w[0]) }

// The nouns of the world in lower case, by what they are; animals in both numbers.
var (
	animalOf = index(animals, func(a *animal) []string { return []string{a.noun, a.plural} })
	personOf = index(people, func(p *person) []string { return []string{strings.ToLower(p.name)} })
	objectOf = index(objects, func(o *object) []string { return []string{o.noun} })
	placeOf  = index(places, func(p *place) []string { return []string{p.noun} })
	skyOf    = index(weathers, func(w *weather) []string { return []string{w.name} })
)

func index[T any](table []T, keys func(*T) []string) map[string]*T {
	m := make(map[string]*T)
	for i := range table {
		for _, k := range keys(&table[i]) {
			m[k] = &table[i]
		}
	}
	return m
}

// read takes a prompt apart.
func read(prompt string) request {
	ws := words(strings.ToLower(prompt))
	has := func(any string) bool {
		s := set(any)
		for _, w := range ws {
			if s[w] {
				return true
			}
		}
		return false
	}
	var r request
	var sky *weather
	var kinds []*animal
	for _, w := range ws {
		switch {
		case animalOf[w] != nil:
			r.need(animalOf[w].noun)
			kinds = append(kinds, animalOf[w])
		case personOf[w] != nil, objectOf[w] != nil, placeOf[w] != nil:
			r.need(w)
		case skyOf[w] != nil:
			sky = skyOf[w]
		}
	}
	question := has("where what who how")
	switch {
	case has("if and") && has("who where") && len(r.needs) >= 3 && has("has is"):
		r.lookup(ws)
	case question && len(kinds) == 1 && has("live sleep eat sound noise do good make") && !has("should") && has("do are can") && !has("if"):
		r.fact(kinds[0], has)
	case has("something know tell") && len(kinds) == 1 && has("live eat sound can") && has(kinds[0].plural) && !has("story"):
		r.fact(kinds[0], has)
	case sky != nil && has("describe day") && !has("story should advice bored"):
		r.task = taskDescribe
		r.need(sky.name)
		r.right = set(sky.keys)
	case has("kind nice cheer say") && !has("story"):
		r.task = taskComfort
	case has("should advice") || has("if") && question:
		r.task = taskAdvice
		for _, w := range woes {
			if has(w.signs) {
				r.right = set(w.keys)
				break
			}
		}
	default:
		r.task = taskStory
		switch {
		case has("sad sadly"):
			r.ending = "sad"
		case has("surprise surprising twist"):
			r.ending = "surprising"
		case has("happy happily"):
			r.ending = "happy"
		}
	}
	return r
}

func (r *request) need(word string) {
	for _, n := range r.needs {
		if n == word {
			return
		}
	}
	r.needs = append(r.needs, word)
}

func (r *request) fact(a *animal, has func(string) bool) {
	r.task = taskFact
	r.needs = []string{a.noun}
	f := a.can
	switch {
	case has("live sleep where"):
		f = a.live
	case has("eat"):
		f = a.eat
	case has("sound noise"):
		f = a.say
	}
	r.right = set(f.keys)
}

// lookup finds the answer in "Mia has a kite and Tom has a ball. Who has the kite?": the facts are pairs of an owner or
// a place and a thing that stand next to each other.
func (r *request) lookup(ws []string) {
	r.task = taskLookup
	asked := ""
	for i, w := range ws { // "who has the kite", "where is the kite"
		if (w == "who" || w == "where") && i+3 < len(ws) && objectOf[ws[i+3]] != nil {
			asked = ws[i+3]
		}
	}
	holder, thing := "", ""
	r.right, r.wrong = map[string]bool{}, map[string]bool{}
	for i, w := range ws {
		switch {
		case (w == "who" || w == "where") || i >= 3 && (ws[i-3] == "who" || ws[i-3] == "where"):
			continue
		case placeOf[w] != nil || animalOf[w] != nil || personOf[w] != nil:
			holder = w
		case objectOf[w] != nil:
			thing = w
		}
		if holder != "" && thing != "" {
			if thing == asked {
				r.right[holder] = true
			} else {
				r.wrong[holder] = true
			}
			holder, thing = "", ""
		}
	}
	r.needs = nil
	if asked != "" {
		r.needs = append(r.needs, asked)
	}
	for h := range r.right {
		r.needs = append(r.needs, h)
	}
}
