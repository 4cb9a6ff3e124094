package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
)

type tokenizeCmd struct {
	Text  tokenizeTextCmd  `cmd:"" default:"withargs" help:"Text to token ids and back, a JSON line each; the default."`
	Train tokenizeTrainCmd `cmd:"" help:"Learn a tokenizer from texts."`
}

func (tokenizeCmd) Help() string {
	return `Examples:
  echo '{"text":"Hello world"}' | rankloop tokenize --tokenizer gpt2
  echo '{"ids":[15496,995]}' | rankloop tokenize --tokenizer gpt2 --decode
  rankloop tokenize train --vocab 8192 --out runs/tokenizer stories.txt`
}

type tokenizeTextCmd struct {
	Model     string `help:"Use this model's tokenizer (a folder, or base or sft for the starter model)." xor:"source" placeholder:"MODEL"`
	Tokenizer string `help:"Use a tokenizer that ships with the binary (gpt2, cl100k_base), or one in a folder of its own." xor:"source" placeholder:"NAME"`
	Decode    bool   `help:"The other way: ids to text." xor:"way"`
	Special   bool   `help:"Add the special tokens that the tokenizer's maker puts around a text." xor:"way"`
}

func (tokenizeTextCmd) Help() string {
	return `Reads {"text": ...} lines and writes {"ids": [...]} lines, special tokens not added; with --decode the other way.

Example:
  echo '{"text":"Hello world"}' | rankloop tokenize --tokenizer gpt2`
}

type idsLine struct {
	IDs []int32 `json:"ids"`
}

type textLine struct {
	Text string `json:"text"`
}

func (c tokenizeTextCmd) Run(io streams) error {
	tok, err := c.tokenizer()
	if err != nil {
		return err
	}
	if c.Decode {
		return eachLine(io.in, io.out, func(in idsLine) (textLine, error) {
			if err := checkIDs(in.IDs, tok.Vocab()); err != nil {
				return textLine{}, err
			}
			return textLine{tok.Decode(in.IDs)}, nil
		})
	}
	var before, after []int32
	if c.Special {
		before, after = token.Around(tok)
	}
	return eachLine(io.in, io.out, func(in textLine) (idsLine, error) {
		ids := slices.Concat(before, tok.Encode(in.Text), after)
		if ids == nil {
			ids = []int32{}
		}
		return idsLine{ids}, nil
	})
}

func (c tokenizeTextCmd) tokenizer() (token.Tokenizer, error) {
	switch {
	case c.Tokenizer != "":
		return openTokenizer(c.Tokenizer)
	case c.Model != "":
		cp, err := loadModel(c.Model)
		if err != nil {
			return nil, err
		}
		return needTokenizer(cp, c.Model)
	}
	return nil, usageError{fmt.Errorf("give --model MODEL or --tokenizer NAME")}
}

// openTokenizer opens an embedded tokenizer by its name, or one in a folder.
func openTokenizer(name string) (token.Tokenizer, error) {
	tok, err := token.Embedded(name)
	if err == nil {
		return tok, nil
	}
	if info, statErr := os.Stat(name); statErr != nil || !info.IsDir() {
		return nil, usageError{fmt.Errorf("--tokenizer %s: it is not a folder; of those that ship there are gpt2 and cl100k_base", name)}
	}
	if tok, err = token.Load(name); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return tok, nil
}

// needTokenizer refuses a model folder that has none where text must be read or written.
func needTokenizer(cp *checkpoint.Checkpoint, name string) (token.Tokenizer, error) {
	if cp.Tokenizer == nil {
		return nil, fmt.Errorf("%s has no tokenizer: give token ids instead of text, or put tokenizer.json into the folder", name)
	}
	return cp.Tokenizer, nil
}

func checkIDs(ids []int32, vocab int) error {
	for i, id := range ids {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("ids[%d] is %d; the vocabulary has ids 0 to %d", i, id, vocab-1)
		}
	}
	return nil
}
