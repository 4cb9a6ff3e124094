package starter

import (
	"embed"
	"sync"

	"github.com/rankloop/rankloop/model/checkpoint"
)

//go:embed weights
var weights embed.FS

// Card is the model card, in Markdown.
//
//go:embed card.md
var Card string

// Template is the name of the chat template that SFT was tuned with (see token.Chat).
const Template = "plain"

// MaxAnswer is the number of tokens that an answer of the starter world has at most, the end-of-text token included.
const MaxAnswer = 48

// Base returns the pretrained model. The caller must not change its weights; Model.Clone makes a copy to train.
func Base() (*checkpoint.Checkpoint, error) { return base() }

// SFT returns the model fine-tuned on demonstrations. The caller must not change its weights; Model.Clone makes a copy to
// train.
func SFT() (*checkpoint.Checkpoint, error) { return sft() }

// Describe says what the folder of "base" or "sft" holds.
func Describe(name string) (checkpoint.Description, error) {
	return checkpoint.DescribeFS(weights, "weights/"+name)
}

var (
	base = sync.OnceValues(func() (*checkpoint.Checkpoint, error) { return checkpoint.LoadFS(weights, "weights/base") })
	sft  = sync.OnceValues(func() (*checkpoint.Checkpoint, error) { return checkpoint.LoadFS(weights, "weights/sft") })
)
