package main

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
)

// start says which weights training starts from: a model, or a new one of a shape.
type start struct {
	Model     string        `json:"model,omitempty"`     // folder, base or sft; with --submit the name or id of a version too
	Preset    string        `json:"preset,omitempty"`    // a new model of a published shape
	Shape     *model.Config `json:"shape,omitempty"`     // a new model; Vocab is taken from the tokenizer
	Tokenizer string        `json:"tokenizer,omitempty"` // of a new model: gpt2, cl100k_base or a folder; "" = a new one, trained on the data
	Vocab     int           `json:"vocab,omitempty"`     // of a new tokenizer; 0 = 1024
	Seed      uint64        `json:"seed,omitempty"`      // of new weights
}

// open returns the starting point. texts are what a new tokenizer is trained on; bf16 asks for weights in bfloat16.
func (s start) open(texts iter.Seq[string], bf16 bool) (*checkpoint.Checkpoint, error) {
	given := 0
	for _, ok := range []bool{s.Model != "", s.Preset != "", s.Shape != nil} {
		if ok {
			given++
		}
	}
	if given != 1 {
		return nil, usageError{errors.New(`configuration: give "model" (a folder, base or sft), or "preset" or "shape" (a new model): one of the three`)}
	}
	if s.Model != "" {
		cp, err := s.load(bf16)
		if err != nil {
			return nil, err
		}
		_, err = needTokenizer(cp, s.Model)
		return cp, err
	}
	shape, err := s.shape()
	if err != nil {
		return nil, err
	}
	tok, err := s.tokenizer(texts)
	if err != nil {
		return nil, err
	}
	shape.Vocab, shape.BOS, shape.EOS = tok.Vocab(), int(tok.BOS()), int(tok.EOS())
	fresh := model.New
	if bf16 {
		fresh = model.NewBF16
	}
	m, err := fresh(shape, s.Seed)
	if err != nil {
		return nil, err
	}
	return &checkpoint.Checkpoint{Model: m, Tokenizer: tok}, nil
}

func (s start) load(bf16 bool) (*checkpoint.Checkpoint, error) {
	if bf16 && s.Model != "base" && s.Model != "sft" {
		return checkpoint.LoadBF16(s.Model)
	}
	return loadModel(s.Model)
}

func (s start) shape() (model.Config, error) {
	if s.Shape != nil {
		return *s.Shape, nil
	}
	shape, ok := model.Preset(s.Preset)
	if !ok {
		return shape, usageError{fmt.Errorf("configuration: there is no preset %q; there are %s", s.Preset, strings.Join(model.Presets(), ", "))}
	}
	return shape, nil
}

func (s start) tokenizer(texts iter.Seq[string]) (token.Tokenizer, error) {
	if s.Tokenizer != "" {
		return openTokenizer(s.Tokenizer)
	}
	if s.Vocab == 0 {
		s.Vocab = 1024
	}
	return token.Train(texts, s.Vocab, []string{"<|endoftext|>"})
}
