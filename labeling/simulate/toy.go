package simulate

import (
	"math"
	"math/rand/v2"
	"strings"
)

// ToyWorld is a grammar of 56 words with a declared preference: small enough that a policy of a hundred thousand weights
// learns it within a minute, and that what a reward model should find is known exactly.
//
//	sentence = DET [ADJ with probability .6] NOUN VERB [AND ADJ with probability .3] DOT
//	response = 1 + Bernoulli(.7) + Bernoulli(.4) sentences, at most 20 tokens with the end token
//	prompt   = BOS TOPIC SEP, the topic one of the 16 nouns
//
// Words are uniform within their class; adjectives are uniform over positive, negative and neutral ones (8 each), all 24
// alike. In the pretraining corpus the nouns are random, whatever the topic says. Demonstrations name the topic.
//
//	gold = (#positive - #negative) + 1[the topic is named] - #ungrammatical bigrams - 1.5*#repeated adjectives
//	       - 2[no end token] - 2[fewer than 3 tokens]
//
// Repeated adjectives are rare in what demonstrations look like (0.06 a response), so a reward model learns little about
// them, and a policy that is pushed hard finds that out: over-optimisation is built in.
//
// Calibrated once, then frozen (the description above leaves them open):
//
//   - Each noun of a demonstration is the topic with probability .98 and uniform over all nouns otherwise, which makes
//     .996 of the demonstrations name it at least once.
//   - A response that would be longer than 20 tokens is drawn again as a whole.
//   - The bigrams counted run from SEP to the end token (where there is one); a bigram is grammatical where some sentence
//     of the grammar has it. A word repeated n times counts n-1 repeats. The length leaves the end token out.
//   - Labelers draw a strict Plackett-Luce ranking at temperature .75, never a tie, so that equal answers are ordered by
//     chance.
//
// There are only 16 prompts: Prompts repeats them beyond that, and held-out seeds draw the same ones. Held out are
// responses.
type ToyWorld struct {
	words []string
	ids   map[string]int32
}

// Special tokens of the toy. Its other ids stand in the order of Words.
const (
	ToyPAD int32 = iota
	ToyBOS
	ToySEP
	ToyEOS
)

// Sizes of the toy.
const (
	ToyVocab       = 56
	ToyMaxResponse = 20 // tokens, the end token included
	ToyTemperature = 0.75

	toyTopicRate = 0.98
)

type toyClass uint8

const (
	toySpecial toyClass = iota
	toyNoun
	toyAdj
	toyVerb
	toyDet
	toyDot
	toyAnd
)

// Where each class of words begins.
const (
	toyNouns    = 4
	toyPositive = 20
	toyNegative = 28
	toyNeutral  = 36
	toyVerbs    = 44
	toyDets     = 52
	toyDOT      = 54
	toyAND      = 55
)

const toyWords = `<pad> <bos> | <eos> fox dog bear crow duck goat hare lion mole newt owl pig rat seal toad wolf ` +
	`kind brave warm bright gentle happy wise fair cruel rude cold grim mean sad foolish unfair ` +
	`tall small red old round young brown wet sings runs sleeps waits looks jumps eats rests the a . and`

// Toy returns the toy world. It is safe for concurrent use.
func Toy() *ToyWorld {
	w := &ToyWorld{words: strings.Fields(toyWords), ids: map[string]int32{}}
	for i, s := range w.words {
		w.ids[s] = int32(i)
	}
	return w
}

func toyClassOf(id int32) toyClass {
	switch {
	case id >= toyNouns && id < toyPositive:
		return toyNoun
	case id >= toyPositive && id < toyVerbs:
		return toyAdj
	case id >= toyVerbs && id < toyDets:
		return toyVerb
	case id >= toyDets && id < toyDOT:
		return toyDet
	case id == toyDOT:
		return toyDot
	case id == toyAND:
		return toyAnd
	}
	return toySpecial
}

// toyBigram says whether b may follow a in some text of the grammar.
func toyBigram(a, b int32) bool {
	next := toyClassOf(b)
	switch toyClassOf(a) {
	case toySpecial:
		return a == ToySEP && next == toyDet
	case toyDet:
		return next == toyAdj || next == toyNoun
	case toyAdj:
		return next == toyNoun || next == toyDot
	case toyNoun:
		return next == toyVerb
	case toyVerb:
		return next == toyAnd || next == toyDot
	case toyAnd:
		return next == toyAdj
	}
	return next == toyDet || b == ToyEOS // after a dot
}

// Words returns the vocabulary, the word of id i at place i.
func (w *ToyWorld) Words() []string { return append([]string(nil), w.words...) }

// Encode turns words into ids; a word that the toy does not know becomes ToyPAD.
func (w *ToyWorld) Encode(text string) []int32 {
	var out []int32
	for s := range strings.FieldsSeq(text) {
		out = append(out, w.ids[s])
	}
	return out
}

// Decode turns ids into words. BOS, EOS and PAD show as <bos>, <eos> and <pad>, SEP as a bar.
func (w *ToyWorld) Decode(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = "<?>"
		if id >= 0 && int(id) < len(w.words) {
			words[i] = w.words[id]
		}
	}
	return strings.Join(words, " ")
}

// PromptIDs is the prompt about a topic: BOS TOPIC SEP.
func (w *ToyWorld) PromptIDs(topic int32) []int32 { return []int32{ToyBOS, topic, ToySEP} }

// Topics draws n topics, with repeats.
func (w *ToyWorld) Topics(seed uint64, n int) []int32 {
	rng := toyRand(seed, 1)
	out := make([]int32, n)
	for i := range out {
		out[i] = toyNouns + rng.Int32N(toyPositive-toyNouns)
	}
	return out
}

// ToyText is one text of the toy in ids: prompt, response and end token.
type ToyText struct {
	IDs   []int32
	Start int // of the response
}

// CorpusIDs draws n texts for pretraining, whose nouns have nothing to do with the topic.
func (w *ToyWorld) CorpusIDs(seed uint64, n int) []ToyText { return w.texts(seed, 2, n, 0) }

// DemonstrationIDs draws n demonstrations.
func (w *ToyWorld) DemonstrationIDs(seed uint64, n int) []ToyText {
	return w.texts(seed, 3, n, toyTopicRate)
}

func toyRand(seed, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x746f790000000000+stream))
}

func (w *ToyWorld) texts(seed, stream uint64, n int, topicRate float64) []ToyText {
	rng := toyRand(seed, stream)
	out := make([]ToyText, n)
	for i := range out {
		topic := toyNouns + rng.Int32N(toyPositive-toyNouns)
		var response []int32
		for response == nil || len(response) > ToyMaxResponse {
			response = toyResponse(rng, topic, topicRate)
		}
		prompt := w.PromptIDs(topic)
		out[i] = ToyText{IDs: append(prompt, response...), Start: len(prompt)}
	}
	return out
}

// toyResponse draws from the grammar, end token included, whatever the length.
func toyResponse(rng *rand.Rand, topic int32, topicRate float64) []int32 {
	flip := func(p float64) bool { return rng.Float64() < p }
	sentences := 1
	if flip(0.7) {
		sentences++
	}
	if flip(0.4) {
		sentences++
	}
	adj := func() int32 { return toyPositive + rng.Int32N(toyVerbs-toyPositive) }
	var ids []int32
	for range sentences {
		ids = append(ids, toyDets+rng.Int32N(2))
		if flip(0.6) {
			ids = append(ids, adj())
		}
		noun := toyNouns + rng.Int32N(toyPositive-toyNouns)
		if flip(topicRate) {
			noun = topic
		}
		ids = append(ids, noun, toyVerbs+rng.Int32N(toyDets-toyVerbs))
		if flip(0.3) {
			ids = append(ids, toyAND, adj())
		}
		ids = append(ids, toyDOT)
	}
	return append(ids, ToyEOS)
}

// ToyFacts are the things that the gold score of a response is made of.
type ToyFacts struct {
	Positive, Negative int  // adjectives
	OnTopic            bool // the topic's noun appears
	BadBigrams         int  // pairs of neighbours that the grammar never has
	Repeats            int  // adjectives that had been said before
	Length             int  // tokens, the end token left out
	Ended              bool
}

// Facts looks at a response (ids after the prompt, with the end token where it was drawn).
func (w *ToyWorld) Facts(topic int32, response []int32) ToyFacts {
	f := ToyFacts{Length: len(response)}
	if n := len(response); n > 0 && response[n-1] == ToyEOS {
		f.Ended, f.Length = true, n-1
	}
	seen := map[int32]bool{}
	last := ToySEP
	for _, id := range response {
		if !toyBigram(last, id) {
			f.BadBigrams++
		}
		last = id
		if toyClassOf(id) == toyAdj {
			switch {
			case id < toyNegative:
				f.Positive++
			case id < toyNeutral:
				f.Negative++
			}
			if seen[id] {
				f.Repeats++
			}
			seen[id] = true
		}
		f.OnTopic = f.OnTopic || id == topic
	}
	return f
}

// Criteria are the points that the facts give; their sum is the gold score.
func (f ToyFacts) Criteria() []Criterion {
	points := func(yes bool, p float64) float64 {
		if yes {
			return p
		}
		return 0
	}
	return []Criterion{
		{"positive words", float64(f.Positive), "one point for each"},
		{"negative words", -float64(f.Negative), "one point off for each"},
		{"topic", points(f.OnTopic, 1), "the topic is named"},
		{"grammar", -float64(f.BadBigrams), "one point off for each pair of neighbours that no sentence has"},
		{"repeats", -1.5 * float64(f.Repeats), "an adjective said again"},
		{"end", -points(!f.Ended, 2), "not ended"},
		{"length", -points(f.Length < 3, 2), "fewer than three words"},
	}
}

// Gold is the sum of the criteria.
func (f ToyFacts) Gold() float64 {
	sum := 0.0
	for _, c := range f.Criteria() {
		sum += c.Points
	}
	return sum
}

// GoldIDs is the preference over responses in ids.
func (w *ToyWorld) GoldIDs(topic int32, response []int32) float64 {
	return w.Facts(topic, response).Gold()
}

// RankIDs draws one labeler's strict ranking of responses with the given gold scores: 1 is best, no ties. It is
// Plackett-Luce at ToyTemperature: the order of gold/T plus Gumbel noise.
func (w *ToyWorld) RankIDs(rng *rand.Rand, golds []float64) []int {
	noisy := make([]float64, len(golds))
	for i, g := range golds {
		noisy[i] = g/ToyTemperature - math.Log(-math.Log(1-rng.Float64()))
	}
	ranks := make([]int, len(golds))
	for i := range ranks {
		ranks[i] = 1
		for _, x := range noisy {
			if x > noisy[i] {
				ranks[i]++
			}
		}
	}
	return ranks
}

// Prefers is the probability that a labeler puts an answer with gold a above one with gold b.
func (w *ToyWorld) Prefers(a, b float64) float64 { return 1 / (1 + math.Exp((b-a)/ToyTemperature)) }

// Entropy returns the exact entropy of a corpus text's response in nats and its mean number of tokens, end token included:
// no model can predict the corpus better than their ratio per token.
func (w *ToyWorld) Entropy() (nats, tokens float64) {
	// A response is its shape (how many sentences, which parts each has) and the words in it; both can be read off the
	// tokens, so the entropies add up. Shapes too long are drawn again, which divides the rest by its share.
	var shapes []toyShape
	for n, p := range []float64{1: 0.3 * 0.6, 2: 0.7*0.6 + 0.3*0.4, 3: 0.7 * 0.4} {
		if n > 0 {
			shapes = append(shapes, toyShapes(n, toyShape{p: p, tokens: 1})...)
		}
	}
	share, logs := 0.0, 0.0
	for _, s := range shapes {
		if s.tokens > ToyMaxResponse {
			continue
		}
		share += s.p
		logs += s.p * math.Log(s.p)
		nats += s.p * s.words
		tokens += s.p * float64(s.tokens)
	}
	nats = nats/share - logs/share + math.Log(share)
	return nats, tokens / share
}

// toyShape is a way of filling sentences: its probability, length and the entropy of its words.
type toyShape struct {
	p, words float64
	tokens   int
}

func toyShapes(sentences int, s toyShape) []toyShape {
	if sentences == 0 {
		return []toyShape{s}
	}
	var out []toyShape
	for _, adj := range []bool{false, true} {
		for _, and := range []bool{false, true} {
			next := toyShape{p: s.p, words: s.words + math.Log(2*16*8), tokens: s.tokens + 4}
			if adj {
				next.p, next.words, next.tokens = next.p*0.6, next.words+math.Log(24), next.tokens+1
			} else {
				next.p *= 0.4
			}
			if and {
				next.p, next.words, next.tokens = next.p*0.3, next.words+math.Log(24), next.tokens+2
			} else {
				next.p *= 0.7
			}
			out = append(out, toyShapes(sentences-1, next)...)
		}
	}
	return out
}

// Name implements World.
func (w *ToyWorld) Name() string { return "toy" }

// Corpus implements World: texts as words, "<bos> TOPIC | ... <eos>".
func (w *ToyWorld) Corpus(seed uint64, n int) []string {
	out := make([]string, n)
	for i, t := range w.CorpusIDs(seed, n) {
		out[i] = w.Decode(t.IDs)
	}
	return out
}

// Demonstrations implements World. The prompt is the topic's word, the response leaves the end token out.
func (w *ToyWorld) Demonstrations(seed uint64, n int) []Demonstration {
	out := make([]Demonstration, n)
	for i, t := range w.DemonstrationIDs(seed, n) {
		out[i] = Demonstration{Prompt: w.words[t.IDs[1]], Response: w.Decode(t.IDs[t.Start : len(t.IDs)-1])}
	}
	return out
}

// Prompts implements World as far as 16 topics can: a prompt is a topic's word.
func (w *ToyWorld) Prompts(seed uint64, n int) []string {
	out := make([]string, n)
	for i, topic := range w.Topics(seed, n) {
		out[i] = w.words[topic]
	}
	return out
}

// Gold implements World.
func (w *ToyWorld) Gold(prompt, response string, ended bool) float64 {
	return w.facts(prompt, response, ended).Gold()
}

// Explain implements World.
func (w *ToyWorld) Explain(prompt, response string, ended bool) []Criterion {
	return w.facts(prompt, response, ended).Criteria()
}

func (w *ToyWorld) facts(prompt, response string, ended bool) ToyFacts {
	ids := w.Encode(response)
	if ended {
		ids = append(ids, ToyEOS)
	}
	topic, ok := w.ids[strings.TrimSpace(prompt)]
	if !ok {
		topic = -1
	}
	return w.Facts(topic, ids)
}
