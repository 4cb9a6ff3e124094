package main

import (
	"fmt"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
)

type scoreCmd struct {
	Model string `required:"" help:"A model folder, or base or sft for the starter model." placeholder:"MODEL"`
}

func (scoreCmd) Help() string {
	return `Reads {"ids": [...]} or {"prompt": ..., "completion": ...} lines and writes {"logprobs": [...]} lines (natural logarithm).
For ids, entry t is the log-probability of ids[t] given ids[0..t-1], and the first is null; for text, the entries are the
completion's tokens.

Example:
  echo '{"prompt":"User: Where do owls sleep?\nAssistant:","completion":" In a tree."}' | rankloop score --model sft`
}

// scoreLine is one input of score and reward score: ids, or a prompt with its completion.
type scoreLine struct {
	IDs        []int32 `json:"ids"`
	Prompt     *string `json:"prompt"`
	Completion *string `json:"completion"`
}

type logprobsLine struct {
	Logprobs []*float32 `json:"logprobs"`
}

func (c scoreCmd) Run(io streams) error {
	cp, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	return eachLine(io.in, io.out, func(in scoreLine) (logprobsLine, error) {
		seq, err := in.sequence(cp, c.Model)
		if err != nil {
			return logprobsLine{}, err
		}
		out := logprobsLine{Logprobs: []*float32{}}
		if in.IDs != nil {
			out.Logprobs = append(out.Logprobs, nil)
		}
		if seq.Start < len(seq.IDs) {
			row := cp.Model.Score([]model.Sequence{seq}, model.WantLogprobs).Logprobs[0]
			for i := range row {
				out.Logprobs = append(out.Logprobs, &row[i])
			}
		}
		return out, nil
	})
}

// sequence turns a line into what the model reads, checked against its context and vocabulary.
func (in scoreLine) sequence(cp *checkpoint.Checkpoint, name string) (model.Sequence, error) {
	var seq model.Sequence
	switch {
	case in.IDs != nil && in.Prompt == nil && in.Completion == nil:
		seq = model.Sequence{IDs: in.IDs, Start: 1}
	case in.IDs == nil && in.Prompt != nil && in.Completion != nil:
		tok, err := needTokenizer(cp, name)
		if err != nil {
			return seq, err
		}
		prompt := encodePrompt(tok, *in.Prompt)
		seq = model.Sequence{IDs: append(prompt, tok.Encode(*in.Completion)...), Start: len(prompt)}
		if seq.Start == 0 {
			seq.Start = 1
		}
	default:
		return seq, fmt.Errorf(`want {"ids": [...]} or {"prompt": "...", "completion": "..."}`)
	}
	cfg := cp.Model.Config()
	if len(seq.IDs) == 0 {
		return seq, fmt.Errorf("no tokens to score")
	}
	if len(seq.IDs) > cfg.Context {
		return seq, fmt.Errorf("%d tokens do not fit the model's context of %d", len(seq.IDs), cfg.Context)
	}
	return seq, checkIDs(seq.IDs, cfg.Vocab)
}
