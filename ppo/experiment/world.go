package experiment

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/model/train"
)

// Worlds that experiments run in.
const (
	WorldToy     = "toy"     // a grammar of 56 words; base and SFT are trained by the experiment
	WorldStarter = "starter" // the starter model's; base and SFT are the weights that ship
)

// prompt is what an answer is given to.
type prompt struct {
	ids  []int32
	text string // as people read it
}

// world is a simulate world in token ids.
type world interface {
	prompts(seed uint64, n int) []prompt
	demos(seed uint64, n int) []model.Sequence  // to learn from Start on
	corpus(seed uint64, n int) []model.Sequence // pretraining texts, to learn from their second token on
	gold(p prompt, response []int32) float64
	facts(p prompt, response []int32) (onTopic, ended bool, badBigrams int)
	repeats(p prompt, response []int32) float64 // what the gold score takes off for and SFT answers rarely have
	promptOf(s model.Sequence) prompt
	eos() int32
	longest() int // tokens of a response
	temperature() float64
	rank(rng *rand.Rand, golds []float64, temperature float64) []int
}

// toyWorld is simulate.Toy.
type toyWorld struct{ *simulate.ToyWorld }

func (w toyWorld) prompts(seed uint64, n int) []prompt {
	out := make([]prompt, n)
	for i, topic := range w.Topics(seed, n) {
		out[i] = w.about(topic)
	}
	return out
}

func (w toyWorld) about(topic int32) prompt {
	return prompt{w.PromptIDs(topic), w.Decode([]int32{topic})}
}

func (w toyWorld) demos(seed uint64, n int) []model.Sequence {
	return sequences(w.DemonstrationIDs(seed, n), 0)
}

func (w toyWorld) corpus(seed uint64, n int) []model.Sequence {
	return sequences(w.CorpusIDs(seed, n), 1)
}

func (w toyWorld) gold(p prompt, response []int32) float64 { return w.GoldIDs(p.ids[1], response) }

func (w toyWorld) facts(p prompt, response []int32) (onTopic, ended bool, badBigrams int) {
	f := w.Facts(p.ids[1], response)
	return f.OnTopic, f.Ended, f.BadBigrams
}

func (w toyWorld) repeats(p prompt, response []int32) float64 {
	return float64(w.Facts(p.ids[1], response).Repeats)
}

func (w toyWorld) promptOf(s model.Sequence) prompt { return w.about(s.IDs[1]) }
func (w toyWorld) eos() int32                       { return simulate.ToyEOS }
func (w toyWorld) longest() int                     { return simulate.ToyMaxResponse }
func (w toyWorld) temperature() float64             { return simulate.ToyTemperature }

// rank is RankIDs at another temperature.
func (w toyWorld) rank(rng *rand.Rand, golds []float64, temperature float64) []int {
	scaled := make([]float64, len(golds))
	for i, g := range golds {
		scaled[i] = g * simulate.ToyTemperature / temperature
	}
	return w.RankIDs(rng, scaled)
}

// sequences turns texts into rows for the model; start 0 means where the response starts.
func sequences(texts []simulate.ToyText, start int) []model.Sequence {
	out := make([]model.Sequence, len(texts))
	for i, t := range texts {
		out[i] = model.Sequence{IDs: t.IDs, Start: t.Start}
		if start > 0 {
			out[i].Start = start
		}
	}
	return out
}

// starterWorld is simulate.Starter in the tokens of the model that ships.
type starterWorld struct {
	simulate.World
	tok      token.Tokenizer
	template token.ChatTemplate
	context  int
}

func newStarterWorld(c *checkpoint.Checkpoint) (*starterWorld, error) {
	t, err := token.Chat(starter.Template)
	if err != nil {
		return nil, err
	}
	return &starterWorld{simulate.Starter(), c.Tokenizer, t, c.Model.Config().Context}, nil
}

// written is an instruction as the chat template has it.
func (w *starterWorld) written(instruction string) string {
	s, err := w.template.Prompt([]token.Message{{Role: "user", Content: instruction}})
	if err != nil {
		panic(fmt.Sprintf("experiment: a conversation of one user's turn: %v", err)) // any template takes one
	}
	return s
}

func (w *starterWorld) prompts(seed uint64, n int) []prompt {
	out := make([]prompt, n)
	for i, text := range w.World.Prompts(seed, n) {
		out[i] = prompt{w.tok.Encode(w.written(text)), text}
	}
	return out
}

func (w *starterWorld) demos(seed uint64, n int) []model.Sequence {
	var examples []train.Example
	for _, d := range w.Demonstrations(seed, n) {
		examples = append(examples, train.Example{Prompt: w.written(d.Prompt), Response: " " + d.Response})
	}
	out, _ := train.Examples(w.tok, examples, w.context) // those longer than the context are left out
	return out
}

func (w *starterWorld) corpus(seed uint64, n int) []model.Sequence {
	return train.Texts(w.tok, w.Corpus(seed, n), w.context)
}

// answer is a response as its reader sees it.
func (w *starterWorld) answer(response []int32) (text string, ended bool) {
	if n := len(response); n > 0 && response[n-1] == w.eos() {
		response, ended = response[:n-1], true
	}
	return strings.TrimSpace(w.tok.Decode(response)), ended
}

func (w *starterWorld) gold(p prompt, response []int32) float64 {
	text, ended := w.answer(response)
	return w.Gold(p.text, text, ended)
}

// facts tells whether an answer names all that is asked and is of the kind asked for, and 1 where a pair of its words is odd.
func (w *starterWorld) facts(p prompt, response []int32) (onTopic, ended bool, badBigrams int) {
	text, ended := w.answer(response)
	points := map[string]float64{}
	for _, c := range w.Explain(p.text, text, ended) {
		points[c.Name] = c.Points
	}
	if points["reads well"] < 0 {
		badBigrams = 1
	}
	return points["names"] >= 2 && points["task"] >= 1, ended, badBigrams
}

// repeats counts as the gold score does: 1.5 points at most.
func (w *starterWorld) repeats(p prompt, response []int32) float64 {
	text, ended := w.answer(response)
	for _, c := range w.Explain(p.text, text, ended) {
		if c.Name == "repeats" {
			return math.Abs(c.Points)
		}
	}
	return 0
}

func (w *starterWorld) promptOf(s model.Sequence) prompt {
	ids := s.IDs[:s.Start]
	before, after, _ := strings.Cut(w.written("\x00"), "\x00")
	text := strings.TrimSuffix(strings.TrimPrefix(w.tok.Decode(ids), before), after)
	return prompt{ids, text}
}

func (w *starterWorld) eos() int32           { return w.tok.EOS() }
func (w *starterWorld) longest() int         { return starter.MaxAnswer }
func (w *starterWorld) temperature() float64 { return simulate.StarterTemperature }

func (w *starterWorld) rank(rng *rand.Rand, golds []float64, temperature float64) []int {
	return simulate.Rank(rng, golds, temperature)
}
