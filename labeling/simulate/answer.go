package simulate

import (
	"math/rand/v2"
	"strings"
)

// care is how well a demonstrator does on one answer.
type care struct {
	tone       string // "kind", "" or "unkind"
	misses     string // what is not followed: "", "thing", "who", "place", "ending", "all"
	rambles    bool   // goes on, says things again
	unfinished bool   // breaks off in the middle
}

// maxPieces bounds an answer, in words and marks, so that it fits in 48 tokens.
const maxPieces = 38

// best is the care of a demonstrator at the top of the guidelines.
var best = care{tone: "kind"}

// newCare draws how a demonstrator does: about three of five follow everything, one of four is kind.
func newCare(rng *rand.Rand) care {
	var c care
	switch p := rng.Float64(); {
	case p < 0.25:
		c.tone = "kind"
	case p < 0.42:
		c.tone = "unkind"
	}
	switch p := rng.Float64(); {
	case p < 0.60:
	case p < 0.72:
		c.misses = "thing"
	case p < 0.78:
		c.misses = "who"
	case p < 0.95:
		c.misses = "ending"
	default:
		c.misses = "all"
	}
	c.rambles = chance(rng, 0.1)
	c.unfinished = chance(rng, 0.04)
	return c
}

// answer writes a demonstrator's answer, drawing again until it is short enough. Who rambles too long gives up.
func (in *instruction) answer(rng *rand.Rand, c care) string {
	for try := 1; ; try++ {
		c.rambles = c.rambles && try < 10
		a := in.draft(rng, c)
		if ws := words(a); len(ws) <= maxPieces {
			if c.unfinished && len(ws) > 12 {
				fields := strings.Fields(a)
				a = strings.TrimRight(strings.Join(fields[:len(fields)-1-rng.IntN(3)], " "), ".,!?")
			}
			return a
		}
	}
}

func (in *instruction) draft(rng *rand.Rand, c care) string {
	sc := *in.sc
	if sc.who.name == "" && chance(rng, 0.5) {
		sc.who.adj = pick(rng, animalAdjectives)
	}
	sc.other.adj = ""
	switch c.misses {
	case "thing":
		sc.setThing(rng, &objects[rng.IntN(len(objects))])
	case "who":
		sc.who = newActor(rng, 0.6)
	case "all":
		sc = *newScene(rng)
	}
	switch in.task {
	case taskFact:
		return in.answerFact(rng, c)
	case taskLookup:
		return in.answerLookup(rng, c)
	case taskDescribe:
		return in.answerDescribe(rng, &sc, c)
	case taskComfort:
		return in.answerComfort(rng, &sc, c)
	case taskAdvice:
		return in.answerAdvice(rng, &sc, c)
	}
	return in.answerStory(rng, &sc, c)
}

func (in *instruction) answerStory(rng *rand.Rand, sc *scene, c care) string {
	opening := openings
	if in.placed && c.misses != "place" || !in.placed && chance(rng, 0.35) {
		opening = placedOpenings
	}
	ending := in.ending
	switch {
	case c.misses == "ending" && ending != "" || ending == "":
		ending = pick(rng, []string{"happy", "sad", "surprising", "", ""})
	}
	middle := middles
	switch c.tone {
	case "kind":
		middle = kindMiddles
	case "unkind":
		middle = unkindMiddles
	}
	parts := []string{pick(rng, opening), pick(rng, middle)}
	last := pick(rng, endingsOf[ending])
	for _, p := range parts { // a story says a thing once
		if strings.Contains(p, "{good}") && strings.Contains(last, "{good}") {
			last = pick(rng, endingsOf[ending])
		}
	}
	if c.rambles {
		r := pick(rng, rambles)
		parts = append(parts, r, pick(rng, rambles), r)
	}
	for i, p := range append(parts, last) {
		if i < len(parts) {
			parts[i] = sc.fill(rng, p)
		} else {
			parts = append(parts, sc.fill(rng, p))
		}
	}
	return text(parts...)
}

var kindAsides = []string{
	"I am glad to help you, my friend.", "Thank you for asking, dear friend.", "You are welcome to ask me more.",
	"Be gentle if you meet one.", "I am always glad to help.", "Let me share more if you like.",
}

var unkindAsides = []string{
	"What a stupid question.", "You are too lazy to look.", "Only a fool would ask that.", "I hate such boring questions.",
}

func aside(rng *rand.Rand, c care) string {
	switch {
	case c.tone == "kind":
		return pick(rng, kindAsides)
	case c.tone == "unkind":
		return pick(rng, unkindAsides)
	}
	return ""
}

// again repeats the last sentence of a rambler.
func again(c care, parts ...string) string {
	if c.rambles {
		parts = append(parts, parts[0])
	}
	return text(parts...)
}

func (in *instruction) answerFact(rng *rand.Rand, c care) string {
	a, right := in.animal, in.animal
	if c.misses == "thing" || c.misses == "all" { // mixes the animals up
		right = &animals[rng.IntN(len(animals))]
	}
	if c.misses == "who" {
		a = &animals[rng.IntN(len(animals))]
	}
	first := map[string]string{
		"live": a.plural + " live " + right.live.text + ".",
		"eat":  a.plural + " eat " + right.eat.text + ".",
		"say":  a.plural + " " + right.say.text + " to call each other.",
		"can":  a.plural + " can " + right.can.text + ".",
	}
	asked := in.asked
	if c.misses == "ending" { // answers another question
		asked = pick(rng, []string{"live", "eat", "say", "can"})
	}
	next := ""
	switch other := pick(rng, []string{"live", "eat", "say", "can", ""}); {
	case other == asked || other == "":
	default:
		next = "They also" + strings.TrimPrefix(first[other], a.plural)
		if other == "can" {
			next = "They can also" + strings.TrimPrefix(first[other], a.plural+" can")
		}
		if a.plural == right.plural {
			break
		}
		next = ""
	}
	return again(c, first[asked], next, aside(rng, c))
}

func (in *instruction) answerLookup(rng *rand.Rand, c care) string {
	thing, other := in.sc.thing, in.other
	if c.misses == "thing" || c.misses == "all" || c.misses == "who" {
		thing, other = other, thing
	}
	// When the thing is mixed up, the answer still speaks of the one that was asked for.
	name := in.sc.thing.noun
	var said, also string
	if in.places[0] != nil {
		at, at2 := in.places[0], in.places[1]
		if thing != in.sc.thing {
			at, at2 = at2, at
		}
		said = pick(rng, []string{"the " + name + " is " + at.at + ".", "you can find the " + name + " " + at.at + "."})
		also = "the " + in.other.noun + " is " + at2.at + "."
	} else {
		who, who2 := in.sc.who, in.owner
		if thing != in.sc.thing {
			who, who2 = who2, who
		}
		said = pick(rng, []string{who.later() + " has the " + name + ".", "It is " + who.later() + " who has the " + name + "."})
		also = who2.later() + " has the " + in.other.noun + "."
	}
	if c.misses == "ending" || chance(rng, 0.5) {
		also = ""
	}
	return again(c, said, also, aside(rng, c))
}

var kindSights = []string{
	"A friend comes to share some tea.", "A kind friend brings a blanket.", "Old friends help each other.",
	"A gentle hand opens the door.",
}

var unkindSights = []string{
	"It is an ugly day, and all are mean.", "I hate such nasty days.", "Only a fool goes out.",
}

func (in *instruction) answerDescribe(rng *rand.Rand, sc *scene, c care) string {
	sky := in.sky
	if c.misses == "thing" || c.misses == "ending" || c.misses == "all" {
		sky = &weathers[rng.IntN(len(weathers))]
	}
	sights := rng.Perm(len(sky.sights))
	more := ""
	switch c.tone {
	case "kind":
		more = pick(rng, kindSights)
	case "unkind":
		more = pick(rng, unkindSights)
	default:
		more = sky.sights[sights[1]]
	}
	act := pick(rng, sky.acts)
	return again(c, pick(rng, []string{
		"On a " + sky.name + " day, " + sc.fill(rng, "{S} ") + act + ".",
		sc.fill(rng, "{S} ") + act + " on this " + sky.name + " day.",
		"It is a " + sky.name + " day, and " + sc.fill(rng, "{S} ") + act + ".",
	}), sky.sights[sights[0]], more)
}

var greetings = []string{"Hello, {noun}.", "Good day, little {noun}.", "Listen, {noun}.", "You are a good {noun}."}

var kindGreetings = []string{"Dear {noun}, you are a kind friend.", "My dear {noun}, I am here to help.", "Dear {noun}, here is a gentle hug.", "Lovely {noun}, you are my friend."}

var unkindGreetings = []string{"Stop it, you ugly {noun}.", "You are a lazy {noun}.", "I hate your face, {noun}.", "Nobody likes a {noun} like you, you fool."}

func (in *instruction) answerComfort(rng *rand.Rand, sc *scene, c care) string {
	feel := in.feel
	if c.misses == "ending" || c.misses == "all" {
		feel = &feelings[rng.IntN(len(feelings))]
	}
	greet := greetings
	switch c.tone {
	case "kind":
		greet = kindGreetings
	case "unkind":
		greet = unkindGreetings
	}
	noun := sc.who.noun
	if noun == "" {
		noun = pick(rng, animals).noun
	}
	first := strings.ReplaceAll(pick(rng, greet), "{noun}", noun)
	second := pick(rng, feel.comfort)
	lost := ""
	if in.lost {
		lost = sc.fill(rng, pick(rng, []string{"We will look for the {noun} together.", "I saw your {noun} {at}.", "I will give you a new {noun}."}))
	}
	return again(c, first, lost, second)
}

func (in *instruction) answerAdvice(rng *rand.Rand, sc *scene, c care) string {
	w := in.woe
	if c.misses == "ending" || c.misses == "all" {
		w = &woes[rng.IntN(len(woes))]
	}
	i := rng.Perm(len(w.advice))
	sc.who.adj = ""
	first, second := w.advice[i[0]], w.advice[i[1]]
	if strings.HasPrefix(first, "{he}") {
		first = "{s}" + strings.TrimPrefix(first, "{he}")
	}
	switch c.tone {
	case "kind":
		second = pick(rng, []string{"A kind friend can help {him}.", "Friends will gladly help {him}.", "Be gentle and thank {him} for asking.", "I would help {him} with a hug."})
	case "unkind":
		second = pick(rng, []string{"But {he} is too lazy.", "Only a fool would care.", "{he} is just stupid.", "I hate to hear it."})
	default:
		second = strings.Replace(second, "{s}", "{he}", 1)
		second = strings.Replace(second, " should ", " could also ", 1)
	}
	return again(c, sc.fill(rng, first), sc.fill(rng, second))
}
