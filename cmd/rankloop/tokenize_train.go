package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/model/train"
)

type tokenizeTrainCmd struct {
	Files   []string `arg:"" name:"file" type:"existingfile" help:"Texts: .txt, .jsonl or .parquet, also gzipped."`
	Vocab   int      `required:"" help:"Token ids to reach, special ones included." placeholder:"N"`
	Kind    string   `default:"byte-level" enum:"byte-level" help:"The kind of tokenizer: byte-level, as GPT-2's."`
	Special []string `sep:"none" default:"<|endoftext|>" help:"A special token; may be given several times. The first of the usual names ends a text." placeholder:"NAME"`
	Out     string   `required:"" help:"Folder to write tokenizer.json and tokenizer_config.json to." placeholder:"DIR"`
	JSON    bool     `name:"json" help:"Tell the result as JSON."`
}

func (tokenizeTrainCmd) Help() string {
	return `The same files give the same tokenizer, in whatever order. A document, a message or an answer is one text; tokens never
reach beyond a word.

Example:
  rankloop tokenize train --vocab 8192 --out runs/tokenizer stories.txt more.jsonl.gz
  echo '{"text":"Hello world"}' | rankloop tokenize --tokenizer runs/tokenizer`
}

type trainedTokenizer struct {
	Vocab  int    `json:"vocab"`
	Texts  int    `json:"texts"`
	Bytes  int64  `json:"bytes"`
	Digest string `json:"digest"`
	Out    string `json:"out"`
}

func (c tokenizeTrainCmd) Run(std streams) error {
	if len(c.Special) == 1 && c.Special[0] == "" {
		c.Special = nil
	}
	if low, high := 256+len(c.Special), 1<<20; c.Vocab < low || c.Vocab > high {
		return usageError{fmt.Errorf("--vocab %d: the 256 bytes and the special tokens take %d ids, and %d is the most", c.Vocab, low, high)}
	}
	for _, name := range []string{"tokenizer.json", "tokenizer.model", "vocab.json"} {
		if _, err := os.Stat(filepath.Join(c.Out, name)); err == nil {
			return fmt.Errorf("%s has a tokenizer already (%s): give another folder", c.Out, name)
		}
	}
	bar := newProgress(std.err)
	defer bar.end()
	res := trainedTokenizer{Out: c.Out}
	var readErr error
	texts := func(yield func(string) bool) { readErr = c.read(&res, bar, yield) }
	tok, err := token.Training{Vocab: c.Vocab, Specials: c.Special,
		Progress: func(ids, of int) { bar.show("learn", ids, of, "tokens") }}.Train(texts)
	switch {
	case readErr != nil:
		return readErr
	case err != nil:
		return err
	case res.Bytes == 0:
		return errors.New("the files hold no text")
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	if err := tok.Save(c.Out); err != nil {
		return err
	}
	bar.end()
	res.Vocab, res.Digest = tok.Vocab(), tok.Digest()
	if c.JSON {
		return json.NewEncoder(std.out).Encode(res)
	}
	_, err = fmt.Fprintf(std.out, "%d tokens from %d texts (%d bytes), digest %.12s, in %s\n", res.Vocab, res.Texts, res.Bytes, res.Digest, res.Out)
	if err == nil && res.Vocab < c.Vocab {
		_, err = fmt.Fprintf(std.err, "fewer than %d: no further pair occurs twice\n", c.Vocab)
	}
	return err
}

// read gives the texts of all files.
func (c tokenizeTrainCmd) read(res *trainedTokenizer, bar *progress, yield func(string) bool) error {
	give := func(texts ...string) {
		for _, t := range texts {
			res.Texts++
			res.Bytes += int64(len(t))
			yield(t) // training takes all there are
		}
	}
	for i, file := range c.Files {
		bar.show("read", i, len(c.Files), "files")
		err := train.Reading{}.Each(file, func(r train.Row) error {
			switch r.Kind {
			case train.KindText:
				give(r.Text)
			case train.KindPairs:
				give(r.Prompt, r.Completion)
			case train.KindMessages:
				for _, m := range r.Messages {
					give(m.Content)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	bar.show("read", len(c.Files), len(c.Files), "files")
	return nil
}
