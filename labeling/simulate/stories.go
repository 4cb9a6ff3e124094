package simulate

import (
	"math/rand/v2"
	"strings"
)

// The sentences that stories are made of. Every story introduces who ({S} or {Sx}) and a thing ({O}) in its opening.

// openings name no place, placed ones do.
var openings = []string{
	"Once there was {Sx} who had {O}.",
	"{S} wanted {O} more than anything.",
	"{S} got {O} from an old aunt.",
	"One {day} {time}, {S} found {O}.",
	"Long ago, {S} had {O}.",
	"{S} woke up and saw {O} next to the bed.",
	"Nobody knew how {S} got {O}.",
	"It was a {day} {time} when {S} found {O}.",
	"{S} made {O} all alone.",
	"For a whole year, {S} looked for {O}.",
}

var placedOpenings = []string{
	"{S} found {O} {at}.",
	"One {day} {time}, {S} found {O} {at}.",
	"Once there was {Sx} who kept {O} {at}.",
	"On a {day} {time}, {S} carried {O} {to}.",
	"Early one {time}, {S} went {to} with {O}.",
	"{at}, {S} saw {O} in the tall grass.",
	"It was a {day} {time} when {S} found {O} {at}.",
	"{S} lived {at} and had {O}.",
	"Every {time}, {S} took {O} {to}.",
	"{S} dropped {O} on the way {to}.",
}

// middles are what happens next; the kind and the unkind ones bring in another.
var middles = []string{
	"{he} {use}, and {good}.",
	"All day {he} {use}, and {good}.",
	"When {s} {use}, {good}.",
	"{F} came by and asked to {base}.",
	"{F} heard about it and came to look.",
	"{he} {use} until the sun went down.",
	"{he} showed {o} to {F}.",
	"{he} {use} while {F} looked on from a wall.",
	"{s} tried to {base}, but it was not easy.",
	"First {he} was not sure, but then {he} {use}.",
	"{F} wanted to {base} too.",
	"{he} {use} once, and then again.",
}

var kindMiddles = []string{
	"{he} shared {o} with {F}, and {good}.",
	"{F} helped {him} to {base}, and {good}.",
	"{F} was cold and tired, so {s} gave {fhim} a gentle hug.",
	"{he} let {F} {base}, and they became friends.",
	"{F} thanked {him} for a turn with {o}.",
	"{he} met {F}, and with kind words they shared {o}.",
	"{F} needed help, and {s} was a good friend.",
}

var unkindMiddles = []string{
	"A nasty neighbor pushed {him} into the mud.",
	"\"You ugly fool,\" shouted {F}.",
	"A rude boy mocked {him} and shouted.",
	"{he} was mean to {F} and shouted all day.",
	"{he} hated {F} and called {fhim} stupid.",
	"{F} was too lazy to look, and {s} shouted at {fhim}.",
}

// endingsOf holds the last sentences by kind; "" is for stories that just stop.
var endingsOf = map[string][]string{
	"happy": {
		"In the end, {s} went home with a big smile.",
		"{he} laughed and danced until the stars came out.",
		"{s} had never been so happy.",
		"Everyone cheered, and {s} was very happy.",
		"From that day on, they were all happy.",
		"That night {s} fell asleep with a smile.",
		"At last {s} was full of joy.",
		"And they all lived happily ever after.",
		"{s} was proud and glad, and the moon came up.",
		"They hugged, and {s} was glad to have a friend.",
		"{he} thanked everyone and went home happy.",
		"The friends laughed together all the way home.",
	},
	"sad": {
		"But {bad}, and {s} cried all night.",
		"Then {bad}, and {he} walked home in tears.",
		"But {bad}, and {he} sat alone in the dark.",
		"In the end {bad}, and {s} was very sad.",
		"That night {he} lost {o}, and {he} was sad for a long time.",
		"{he} lost {o} and went home alone.",
		"It was time to say goodbye, and {s} cried.",
		"At last {bad}, and there were only tears.",
		"Then {bad}, and even a gentle hug could not stop {his} tears.",
		"But {bad}, no friend came to help, and {s} cried.",
	},
	"surprising": {
		"Suddenly, {secret}!",
		"To everyone's surprise, {secret}.",
		"{he} could not believe it: {secret}!",
		"Then came a surprise: {secret}.",
		"It was like magic: {secret}.",
		"{he} looked again and was surprised: {secret}!",
		"To the surprise of {his} friends, {secret}.",
		"{he} called a friend to help, and suddenly {secret}!",
	},
	"": {
		"Then {s} went home and had some soup.",
		"After that, {he} put {o} away.",
		"The next day it rained, and {he} stayed inside.",
		"When it got dark, {he} walked home.",
		"{s} kept {o} for many years.",
		"Then {he} took {o} home and went to bed.",
		"After a while {he} wanted some bread.",
	},
}

// rambles go on when a story is over.
var rambles = []string{
	"And then {he} {use}.", "Then {he} walked home.", "And then {he} walked on.", "Then it was late.",
}

// extras fill the longer stories of the corpus.
var extras = []string{
	"The sky was clear, and the air smelled of rain.",
	"It was so quiet that one could hear the leaves.",
	"\"What is that?\" asked {F}. \"It is {O},\" said {s}.",
	"\"May I {base} too?\" asked {F}. \"Of course,\" said {s}.",
	"\"Where are you going?\" asked {F}. \"I am going {to},\" said {s}.",
	"{s} thought about it for a long time.",
	"\"Look at me,\" called {s}, but nobody was there.",
	"A crow sat on the roof and saw it all.",
	"{he} had walked a long way and was very hungry.",
	"They sat down {at} and ate some bread.",
	"The wind blew, and the day grew cold.",
	"{he} did not know what to do with {o}.",
	"\"I know what to do,\" said {F}.",
	"\"Please be careful with {o},\" said {F}.",
	"Many people came {to} that day.",
	"{s} had to be very brave now.",
	"Far away a dog barked three times.",
	"{he} put {o} down and looked around.",
	"\"That is the best {noun} I ever saw,\" said {F}.",
	"The moon came up over {place}.",
}

// newScene draws who, what, where and when.
func newScene(rng *rand.Rand) *scene {
	sc := &scene{day: pick(rng, dayWeathers), time: pick(rng, dayTimes)}
	sc.who = newActor(rng, 0.6)
	for sc.other = newActor(rng, 0.75); sc.other.word() == sc.who.word(); {
		sc.other = newActor(rng, 0.75)
	}
	sc.setThing(rng, &objects[rng.IntN(len(objects))])
	sc.where = &places[rng.IntN(len(places))]
	return sc
}

func (sc *scene) setThing(rng *rand.Rand, o *object) {
	sc.thing, sc.thingAdj = o, pick(rng, strings.Fields(o.adjectives))
}

// newActor draws an animal with probability p, otherwise a person.
func newActor(rng *rand.Rand, p float64) actor {
	if chance(rng, p) {
		a := actor{noun: pick(rng, animals).noun, girl: chance(rng, 0.5)}
		if chance(rng, 0.55) {
			a.adj = pick(rng, animalAdjectives)
		}
		return a
	}
	who := pick(rng, people)
	return actor{name: who.name, girl: who.girl}
}

// longStory is a story of the corpus: n sentences between the opening and the ending.
func longStory(rng *rand.Rand, sc *scene, n int) string {
	opening := placedOpenings
	if chance(rng, 0.3) {
		opening = openings
	}
	parts := []string{sc.fill(rng, pick(rng, opening))}
	used := map[string]bool{}
	tone := pick(rng, [][]string{kindMiddles, kindMiddles, unkindMiddles, middles})
	for len(parts) <= n {
		pool := middles
		switch p := rng.Float64(); {
		case p < 0.4:
			pool = extras
		case p < 0.6:
			pool = tone
		}
		t := pick(rng, pool)
		if used[t] {
			continue
		}
		used[t] = true
		parts = append(parts, sc.fill(rng, t))
		if strings.Contains(t, "{F}") { // from now on the other is known
			sc.other.adj = ""
		}
	}
	ending := pick(rng, []string{"happy", "happy", "sad", "surprising", ""})
	parts = append(parts, sc.fill(rng, pick(rng, endingsOf[ending])))
	return text(known(parts, sc)...)
}

// known replaces later first mentions of the other by "the": a fox is introduced once.
func known(parts []string, sc *scene) []string {
	if sc.other.name != "" {
		return parts
	}
	seen := false
	for i, p := range parts {
		for _, first := range []string{sc.other.first(), "a " + sc.other.noun} {
			if at := strings.Index(strings.ToLower(p), first); at >= 0 {
				if seen {
					p = p[:at] + "the " + sc.other.noun + p[at+len(first):]
				}
				seen = true
				break
			}
		}
		if strings.Contains(p, sc.other.noun) {
			seen = true
		}
		parts[i] = p
	}
	return parts
}
