package simulate

// Demonstration is one instruction with an answer as a demonstrator wrote it. Demonstrators are people of mixed
// quality: an answer may miss a part of the instruction, ramble or be unkind.
type Demonstration struct {
	Prompt, Response string
}

// Criterion is one line of the explanation of a gold score: what was looked at, how many points it gave (negative
// for a fault) and why, in words for a person.
type Criterion struct {
	Name   string
	Points float64
	Note   string
}

// World is a closed little universe in which a policy can be trained and judged: texts to pretrain on,
// demonstrations to fine-tune on, instructions to answer, and a declared preference over the answers.
// Everything is a function of the seed; a World is safe for concurrent use.
type World interface {
	// Name is the world's short name: "starter" or "toy".
	Name() string
	// Corpus returns n texts for pretraining.
	Corpus(seed uint64, n int) []string
	// Demonstrations returns n instructions with answers. Their prompts are never held-out ones.
	Demonstrations(seed uint64, n int) []Demonstration
	// Prompts returns n distinct instructions. A seed made by HeldOut draws from prompts that no other seed yields.
	Prompts(seed uint64, n int) []string
	// Gold is the preference: higher is better. ended tells whether the answer was finished by its author (the
	// end-of-text token was drawn) rather than cut at the length limit.
	Gold(prompt, response string, ended bool) float64
	// Explain returns the terms whose points add up to Gold.
	Explain(prompt, response string, ended bool) []Criterion
}

const heldOutBit = uint64(1) << 63

// HeldOut turns a seed into its held-out twin: World.Prompts of the twin yields prompts that are never given for an
// ordinary seed.
func HeldOut(seed uint64) uint64 { return seed | heldOutBit }

// IsHeldOut tells whether a seed draws held-out prompts.
func IsHeldOut(seed uint64) bool { return seed&heldOutBit != 0 }
