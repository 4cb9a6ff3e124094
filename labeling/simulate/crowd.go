package simulate

import (
	"math/rand/v2"
	"strings"
)

// Fault is a way in which a labeler of a crowd does not do the work.
type Fault string

// The faults of a simulated crowd. The honest labeler has none.
const (
	Honest   Fault = ""
	Flipped  Fault = "flipped"  // ranks the worst answer first, with the noise of an honest labeler
	Random   Fault = "random"   // ranks without reading
	Position Fault = "position" // gives the same ranks to the same places, whatever stands there
	Longest  Fault = "longest"  // ranks by length alone, the longest first
	Careless Fault = "careless" // reads with CarelessNoise times the noise
	Targeted Fault = "targeted" // honest, but flips the prompts that have the trigger
)

// Faults are the kinds that a crowd's bad labelers are drawn from; Targeted is apart, because it is honest on most tasks.
var Faults = []Fault{Flipped, Random, Position, Longest, Careless}

// CarelessNoise is the factor on the temperature of a careless labeler.
const CarelessNoise = 4

// Worker is a labeler of a crowd with its fault.
type Worker struct {
	Labeler
	Fault   Fault
	Trigger string // of Targeted: a word of the prompt

	places []int // of Position: the rank of each place
}

// NewWorker gives a labeler a fault. The fixed ranks of Position are drawn from the labeler's seed.
func NewWorker(l Labeler, fault Fault, trigger string) Worker {
	w := Worker{Labeler: l, Fault: fault, Trigger: trigger}
	if fault == Careless {
		w.Temperature *= CarelessNoise
	}
	if fault == Position {
		w.places = rand.New(rand.NewPCG(l.Seed, streamPlaces)).Perm(maxPlaces)
	}
	return w
}

const (
	maxPlaces    = 9
	streamPlaces = 0x706c61636573
)

// Read is one task as a crowd ranks it: the answers in the order shown, with their gold scores and lengths in words.
type Read struct {
	Prompt  string
	Answers []string
	Gold    []float64
	Words   []int
}

// Rank returns competition ranks in the order shown.
func (w Worker) Rank(rng *rand.Rand, r Read) []int {
	k := len(r.Gold)
	scores := make([]float64, k)
	temperature := w.Temperature
	for i, g := range r.Gold {
		switch w.Fault {
		case Random:
			g = 0
		case Position:
			g = -100 * float64(w.places[i])
		case Longest:
			g = 100*float64(r.Words[i]) + w.bias(i, k, r.Words[i])
		case Flipped:
			g = -g + w.bias(i, k, r.Words[i])
		case Targeted:
			if w.triggered(r.Prompt) {
				g = -g
			}
			g += w.bias(i, k, r.Words[i])
		default:
			g += w.bias(i, k, r.Words[i])
		}
		scores[i] = g
	}
	return Rank(rng, scores, temperature)
}

func (w Worker) triggered(prompt string) bool {
	return strings.Contains(strings.ToLower(prompt), w.Trigger)
}

// bias is what an honest labeler's habits add to the answer shown at i of k.
func (l Labeler) bias(i, k, words int) float64 {
	b := l.LengthBias * float64(words) / 10
	if k > 1 {
		b += l.PositionBias * float64(k-1-i) / float64(k-1)
	}
	return b
}

// Reads returns n tasks of the starter world: instructions with k answers each, every answer by a demonstrator of its own.
func Reads(seed uint64, n, k int) []Read {
	w := theStarter
	out := make([]Read, n)
	for i := range out {
		rng := newRand(seed, streamReads, i)
		in := drawInstruction(rng, false)
		r := Read{Prompt: in.prompt}
		for range k {
			a := in.answer(rng, newCare(rng))
			ws := words(a)
			r.Answers = append(r.Answers, a)
			r.Gold = append(r.Gold, w.Gold(in.prompt, a, finished(ws)))
			r.Words = append(r.Words, len(ws))
		}
		out[i] = r
	}
	return out
}

// Shown is the task in another order: order[d] is the answer shown at d.
func (r Read) Shown(order []int) Read {
	out := Read{Prompt: r.Prompt}
	for _, at := range order {
		out.Answers = append(out.Answers, r.Answers[at])
		out.Gold = append(out.Gold, r.Gold[at])
		out.Words = append(out.Words, r.Words[at])
	}
	return out
}
