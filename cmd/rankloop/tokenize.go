package main

import (
	"fmt"

	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
)

type tokenizeCmd struct {
	Model     string `help:"Use this model's tokenizer (a folder, or base or sft for the starter model)." xor:"source" placeholder:"MODEL"`
	Tokenizer string `help:"Use a tokenizer that ships with the binary: gpt2 or cl100k_base." xor:"source" placeholder:"NAME"`
	Decode    bool   `help:"The other way: ids to text."`
}

func (tokenizeCmd) Help() string {
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

func (c tokenizeCmd) Run(io streams) error {
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
	return eachLine(io.in, io.out, func(in textLine) (idsLine, error) {
		ids := tok.Encode(in.Text)
		if ids == nil {
			ids = []int32{}
		}
		return idsLine{ids}, nil
	})
}

func (c tokenizeCmd) tokenizer() (token.Tokenizer, error) {
	switch {
	case c.Tokenizer != "":
		tok, err := token.Embedded(c.Tokenizer)
		if err != nil {
			return nil, usageError{err}
		}
		return tok, nil
	case c.Model != "":
		cp, err := loadModel(c.Model)
		if err != nil {
			return nil, err
		}
		return needTokenizer(cp, c.Model)
	}
	return nil, usageError{fmt.Errorf("give --model MODEL or --tokenizer NAME")}
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
