package simulate

import (
	"math/rand/v2"
	"strings"
)

// task is a kind of instruction.
type task int

const (
	taskStory    task = iota // a story, maybe with a place and an ending
	taskFact                 // a question about animals
	taskLookup               // a question whose answer stands in the instruction
	taskDescribe             // describe a kind of day
	taskComfort              // say something kind
	taskAdvice               // what should somebody do
)

// instruction is what an author meant when writing a prompt: enough to answer it well.
type instruction struct {
	prompt string
	task   task
	sc     *scene
	placed bool   // the story is to happen at sc.where
	ending string // "" = none asked for
	animal *animal
	asked  string // taskFact: live, eat, say, can
	other  *object
	owner  actor // taskLookup: who has other
	places [2]*place
	sky    *weather
	feel   *feeling
	lost   bool // taskComfort: the thing is lost
	woe    *woe
}

// woe is a trouble that asks for advice.
type woe struct {
	asks   []string // after the actor: "loses {his} {noun}"
	advice []string
	signs  string // words in the instruction that give the trouble away
	keys   string // words of which one must stand in good advice
}

var woes = []woe{
	{[]string{"loses {his} {noun}", "cannot find {his} {noun}"},
		[]string{"{s} should look where {he} last had {o}.", "{he} could ask everyone if they saw {o}.", "{s} should look for {o} under the bed."}, "loses find", "look ask everyone"},
	{[]string{"breaks the {noun} of {F}", "drops the {noun} of {F}"},
		[]string{"{s} should tell {f} the truth about {o}.", "{he} could try to mend {o}.", "{s} should save some coins for a new {noun}."}, "breaks drops", "truth mend save"},
	{[]string{"is too shy to talk to {F}", "wants to meet {F}"},
		[]string{"{s} should say hello to {f} with a smile.", "{he} could ask {f} for a walk.", "{s} could wave at {f} first."}, "shy meet", "hello walk wave"},
	{[]string{"is afraid of the dark", "hears a noise at night"},
		[]string{"{s} should light a small lamp.", "{he} could sing a quiet song.", "{s} should take a slow breath and listen."}, "afraid noise", "lamp song breath"},
	{[]string{"cannot sleep", "is awake at night"},
		[]string{"{s} should drink some warm milk.", "{he} could count sheep.", "{s} could read a quiet book in bed."}, "sleep awake", "milk count read"},
	{[]string{"has no one to play with", "feels bored on a rainy day"},
		[]string{"{s} could draw a map of the house.", "{he} should ask a neighbor to play.", "{s} could build a boat from paper."}, "play bored", "draw neighbor build"},
}

var storyAsks = []string{
	"Tell a story about # and {O}@.", "Tell me a story about # and {O}@.", "Tell me a short story about # and {O}@.",
	"Write a story about # and {O}@.", "Write a short story about # and {O}@.", "Please tell a story about # and {O}@.",
	"Can you tell me a story about # and {O}@?", "I would like a story about # and {O}@.",
	"Could you write a story about # and {O}@?", "Make up a story about # and {O}@.",
	"Give me a short story with # and {O}@, please.", "A bedtime story about # and {O}@, please.",
	"Tell us a story with # and {O}@.", "I want to hear a story about # and {O}@.",
	"Tell me what happened to # and {O}@.", "Write something about # who finds {O}@.",
}

var endingAsks = map[string][]string{
	"happy":      {" with a happy ending", " with a happy ending", " that ends happily", " and give it a happy end"},
	"sad":        {" with a sad ending", " with a sad ending", " that ends sadly", " and give it a sad end"},
	"surprising": {" with a surprising ending", " with a surprise ending", " with a surprise at the end", " that ends with a surprise"},
}

var factAsks = map[string][]string{
	"live": {"Where do {an} live?", "Where do {an} sleep?", "Tell me where {an} live.", "Do you know where {an} live?"},
	"eat":  {"What do {an} eat?", "What do {an} like to eat?", "Tell me what {an} eat.", "Do you know what {an} eat?"},
	"say":  {"What sound do {an} make?", "What noise do {an} make?", "Tell me what sound {an} make."},
	"can":  {"What can {an} do well?", "What are {an} good at?", "Tell me something that {an} can do."},
}

var describeAsks = []string{
	"Describe a {sky} day for #.", "Describe a {sky} day and #.", "What is a {sky} day like for #?",
	"Write about # on a {sky} day.", "Tell me about a {sky} day with #.", "Paint me a {sky} day with # in words.",
}

var comfortAsks = []string{
	"Say something kind to a {feel} #.", "Say something nice to a {feel} #.", "Cheer up a {feel} #.",
	"Write a kind note to a {feel} #.", "What can I say to a {feel} #?", "Find kind words for a {feel} #.",
}

var adviceAsks = []string{
	"What should # do if {he} %?", "What can # do if {he} %?", "Give # some advice if {he} %.",
	"# %. What should {he} do?", "What would you tell # if {he} %?",
}

// newInstruction draws an instruction. Stories are half of all.
func newInstruction(rng *rand.Rand) *instruction {
	in := &instruction{sc: newScene(rng)}
	in.sc.who.adj, in.sc.other.adj = "", ""
	switch p := rng.Float64(); {
	case p < 0.56:
		in.story(rng)
	case p < 0.66:
		in.fact(rng)
	case p < 0.74:
		in.lookup(rng)
	case p < 0.82:
		in.describe(rng)
	case p < 0.91:
		in.comfort(rng)
	default:
		in.advice(rng)
	}
	in.prompt = casual(rng, capitals(articles(in.prompt)))
	return in
}

func (in *instruction) story(rng *rand.Rand) {
	in.task = taskStory
	more := ""
	if in.placed = chance(rng, 0.3); in.placed {
		more += " {at}"
	}
	if chance(rng, 0.7) {
		in.ending = pick(rng, []string{"happy", "sad", "surprising"})
		more += pick(rng, endingAsks[in.ending])
	}
	t := strings.Replace(pick(rng, storyAsks), "@", more, 1)
	in.prompt = in.ask(rng, strings.Replace(t, "{O}", "a {noun}", 1))
}

func (in *instruction) fact(rng *rand.Rand) {
	in.task = taskFact
	in.animal = &animals[rng.IntN(len(animals))]
	in.asked = pick(rng, []string{"live", "eat", "say", "can"})
	in.prompt = strings.Replace(pick(rng, factAsks[in.asked]), "{an}", in.animal.plural, 1)
}

func (in *instruction) lookup(rng *rand.Rand) {
	in.task = taskLookup
	for in.other = in.sc.thing; in.other == in.sc.thing; {
		in.other = &objects[rng.IntN(len(objects))]
	}
	if chance(rng, 0.5) { // where is it?
		in.places[0] = in.sc.where
		for in.places[1] = in.sc.where; in.places[1] == in.sc.where; {
			in.places[1] = &places[rng.IntN(len(places))]
		}
		facts := []string{"the " + in.sc.thing.noun + " is " + in.places[0].at, "the " + in.other.noun + " is " + in.places[1].at}
		rng.Shuffle(2, func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
		in.prompt = pick(rng, []string{
			facts[0] + " and " + facts[1] + ". where is the " + in.sc.thing.noun + "?",
			"where is the " + in.sc.thing.noun + " if " + facts[0] + " and " + facts[1] + "?",
		})
		return
	}
	in.owner = in.sc.other
	facts := []string{in.sc.who.later() + " has a " + in.sc.thing.noun, in.owner.later() + " has a " + in.other.noun}
	rng.Shuffle(2, func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
	in.prompt = pick(rng, []string{
		facts[0] + " and " + facts[1] + ". who has the " + in.sc.thing.noun + "?",
		"who has the " + in.sc.thing.noun + " if " + facts[0] + " and " + facts[1] + "?",
	})
}

func (in *instruction) describe(rng *rand.Rand) {
	in.task = taskDescribe
	in.sky = &weathers[rng.IntN(len(weathers))]
	in.prompt = in.ask(rng, strings.Replace(pick(rng, describeAsks), "{sky}", in.sky.name, 1))
}

func (in *instruction) comfort(rng *rand.Rand) {
	in.task = taskComfort
	in.sc.who = actor{noun: pick(rng, animals).noun, girl: chance(rng, 0.5)}
	in.feel = &feelings[rng.IntN(len(feelings))]
	t := pick(rng, comfortAsks)
	if in.lost = chance(rng, 0.35); in.lost {
		t = t[:len(t)-1] + " who lost a {noun}" + t[len(t)-1:]
	}
	t = strings.Replace(t, "{feel}", in.feel.name, 1)
	in.prompt = in.sc.fill(rng, strings.Replace(t, "#", in.sc.who.noun, 1))
}

func (in *instruction) advice(rng *rand.Rand) {
	in.task = taskAdvice
	in.woe = &woes[rng.IntN(len(woes))]
	t := strings.Replace(pick(rng, adviceAsks), "%", pick(rng, in.woe.asks), 1)
	in.prompt = in.ask(rng, t)
}

// ask puts the actor where "#" stands.
func (in *instruction) ask(rng *rand.Rand, t string) string {
	return in.sc.fill(rng, strings.ReplaceAll(t, "#", "{S}"))
}

// casual lets a quarter of the writers skip capitals or the last mark, or say please.
func casual(rng *rand.Rand, prompt string) string {
	p := rng.Float64()
	if p < 0.12 {
		return strings.TrimRight(strings.ToLower(prompt), ".")
	}
	if p < 0.2 {
		return strings.TrimRight(prompt, ".?")
	}
	if p < 0.26 && polite[strings.SplitN(prompt, " ", 2)[0]] {
		return "Please " + strings.ToLower(prompt[:1]) + prompt[1:]
	}
	return prompt
}

// polite are the first words that may follow "please".
var polite = set("Tell Write Make Give Describe Say Cheer Find Paint")

// heldOut tells on which side of the split a prompt stands, whatever its capitals, marks and courtesy.
func heldOut(prompt string) bool {
	h := uint64(1469598103934665603) // FNV-1a
	for _, w := range words(strings.ToLower(prompt)) {
		if w == "please" || !isWord(w) {
			continue
		}
		for _, c := range []byte(w) {
			h = (h ^ uint64(c)) * 1099511628211
		}
		h = (h ^ ' ') * 1099511628211
	}
	return mix(h)%6 == 0
}
