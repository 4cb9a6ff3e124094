package simulate

import (
	"math/rand/v2"
	"strings"
)

// actor is whom a text is about: an animal or a person.
type actor struct {
	noun string // "fox"; empty for a person
	name string // "Mia"; empty for an animal
	girl bool   // she, not he
	adj  string // "little"; animals only, may be empty
}

// word is the noun or name that an instruction uses and an answer must contain.
func (a actor) word() string {
	if a.name != "" {
		return a.name
	}
	return a.noun
}

// first is the first mention: "a little fox", "Mia".
func (a actor) first() string {
	switch {
	case a.name != "":
		return a.name
	case a.adj != "":
		return "a " + a.adj + " " + a.noun
	}
	return "a " + a.noun
}

// later is any mention after the first: "the fox", "Mia".
func (a actor) later() string {
	if a.name != "" {
		return a.name
	}
	return "the " + a.noun
}

// scene is who and what a story is about. Templates are filled from it.
type scene struct {
	who, other actor
	thing      *object
	thingAdj   string
	where      *place
	day, time  string // weather and time of day
}

// fill replaces the words in braces, mends articles and sets capitals:
//
//	{S} {s} {he} {him} {his}        the actor: first mention, later mention, pronouns
//	{Sx}                            first mention after "there was": "a girl named Mia"
//	{F} {f} {fhe} {fhim} {fhis}     the other actor
//	{O} {o} {noun}                  the thing: "a red drum", "the drum", "drum"
//	{use} {base} {good} {bad} {secret}  what is done with it, and what comes of it
//	{at} {to} {place} {day} {time}  place, weather, time of day
func (sc *scene) fill(rng *rand.Rand, template string) string {
	var b strings.Builder
	rest := template
	for {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			b.WriteString(rest)
			break
		}
		end := strings.IndexByte(rest[open:], '}')
		b.WriteString(rest[:open])
		b.WriteString(sc.value(rng, rest[open+1:open+end]))
		rest = rest[open+end+1:]
	}
	out := b.String()
	if strings.Contains(out, "{") { // a phrase of the thing that mentions the thing or the actor
		return sc.fill(rng, out)
	}
	return out
}

func (sc *scene) value(rng *rand.Rand, key string) string {
	switch key {
	case "S":
		return sc.who.first()
	case "Sx":
		switch {
		case sc.who.name == "":
			return sc.who.first()
		case sc.who.girl:
			return "a girl named " + sc.who.name
		}
		return "a boy named " + sc.who.name
	case "s":
		return sc.who.later()
	case "he":
		return pronoun(sc.who.girl, "he", "she")
	case "him":
		return pronoun(sc.who.girl, "him", "her")
	case "his":
		return pronoun(sc.who.girl, "his", "her")
	case "F":
		return sc.other.first()
	case "f":
		return sc.other.later()
	case "fhe":
		return pronoun(sc.other.girl, "he", "she")
	case "fhim":
		return pronoun(sc.other.girl, "him", "her")
	case "fhis":
		return pronoun(sc.other.girl, "his", "her")
	case "O":
		return "a " + sc.thingAdj + " " + sc.thing.noun
	case "o":
		return "the " + sc.thing.noun
	case "noun":
		return sc.thing.noun
	case "use":
		return sc.thing.use
	case "base":
		return sc.thing.base
	case "good":
		return pick(rng, []string{sc.thing.good, sc.thing.good2})
	case "bad":
		return sc.thing.bad
	case "secret":
		return pick(rng, []string{sc.thing.secret, sc.thing.secret2})
	case "at":
		return sc.where.at
	case "to":
		return sc.where.to
	case "place":
		return "the " + sc.where.noun
	case "day":
		return sc.day
	case "time":
		return sc.time
	}
	panic("simulate: no word for {" + key + "}")
}

func pronoun(girl bool, he, she string) string {
	if girl {
		return she
	}
	return he
}

// text joins filled sentences into a text: articles mended, every sentence with a capital.
func text(sentences ...string) string {
	var kept []string
	for _, s := range sentences {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return capitals(articles(strings.Join(kept, " ")))
}

// articles turns "a" into "an" before a vowel.
func articles(s string) string {
	words := strings.Split(s, " ")
	for i := 0; i+1 < len(words); i++ {
		next := strings.TrimLeft(words[i+1], `"`)
		if next == "" || !strings.ContainsRune("aeiouAEIOU", rune(next[0])) {
			continue
		}
		switch {
		case words[i] == "a" || words[i] == `"a`:
			words[i] += "n"
		case words[i] == "A" || words[i] == `"A`:
			words[i] += "n"
		}
	}
	return strings.Join(words, " ")
}

// capitals sets the first letter of the text, of every sentence and of every quotation that opens one.
func capitals(s string) string {
	out := []byte(s)
	start := true
	for i, c := range out {
		switch {
		case c == '.' || c == '!' || c == '?' || c == '\n':
			start = !(i+1 < len(out) && out[i+1] == '"' && tagFollows(s[i+2:]))
		case c == ' ':
		case c == '"':
			if i == 0 || i+1 < len(out) && out[i+1] != ' ' && (out[i-1] == ' ' || out[i-1] == '\n') {
				start = true
			}
		default:
			if start && 'a' <= c && c <= 'z' {
				out[i] = c - 'a' + 'A'
			}
			start = false
		}
	}
	return string(out)
}

// tagFollows tells whether the sentence goes on after a quotation: "Who is it?" asked the owl.
func tagFollows(rest string) bool {
	word, _, _ := strings.Cut(strings.TrimPrefix(rest, " "), " ")
	return speechTags[word]
}

var speechTags = set("asked said shouted called answered whispered")

func pick[T any](rng *rand.Rand, xs []T) T { return xs[rng.IntN(len(xs))] }

func chance(rng *rand.Rand, p float64) bool { return rng.Float64() < p }

// streams keep the kinds of text apart: text i of a stream depends on (seed, stream, i) alone.
const (
	streamCorpus = iota + 1
	streamDemos
	streamPrompts
	streamGrammar
	streamCrowd
	streamReads
)

func newRand(seed uint64, stream, i int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, mix(uint64(stream)<<48+uint64(i))))
}

// mix is the finaliser of SplitMix64 (Steele et al. 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
