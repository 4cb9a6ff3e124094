package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/model/token"
)

type benchTokenizerCmd struct {
	benchFlags
	Tokenizer []string `default:"gpt2,cl100k_base,starter" help:"Tokenizers: gpt2, cl100k_base, starter, or folders that hold one." placeholder:"T"`
	Text      string   `type:"existingfile" help:"A text to cut; stories that the starter model writes, where none is given." placeholder:"FILE"`
}

func (benchTokenizerCmd) Help() string {
	return `A text is cut into tokens and put together again, on one thread, in MB of text a second. The limit is looking at each character
and its class once, which is the least that a tokenizer does.

Example:
  rankloop bench tokenizer --tokenizer gpt2 --text book.txt`
}

func (c benchTokenizerCmd) Run(ctx context.Context, std streams) error {
	if err := c.prepare(); err != nil {
		return err
	}
	text, err := c.text(ctx)
	if err != nil {
		return err
	}
	megabytes := float64(len(text)) / 1e6
	var letters int // kept, so that looking is not left out
	scan := func() float64 {
		return megabytes * rate(5*time.Millisecond, func() {
			for _, r := range text {
				if unicode.IsLetter(r) {
					letters++
				}
			}
		})
	}
	var figures []figure
	tokens := map[string]int{}
	for _, name := range c.Tokenizer {
		t, err := benchTokenizer(name)
		if err != nil {
			return err
		}
		ids := t.Encode(text)
		if tokens[name] = len(ids); t.Decode(ids) == "" {
			return fmt.Errorf("%s: the text has no tokens", name)
		}
		for _, w := range []struct {
			name string
			run  func()
		}{{"encode/", func() { t.Encode(text) }}, {"decode/", func() { t.Decode(ids) }}} {
			f, err := sample(ctx, w.name+name, "MB/s", c.Repeats, scan, func() float64 { return megabytes * rate(50*time.Millisecond, w.run) })
			if err != nil {
				return err
			}
			figures = append(figures, f)
		}
	}
	return c.report(std, map[string]any{"bytes": len(text), "looked_at": letters, "tokens": tokens}, figures...)
}

// text is what is cut: a file's, or 64 stories of the starter model.
func (c benchTokenizerCmd) text(ctx context.Context) (string, error) {
	if c.Text != "" {
		b, err := os.ReadFile(c.Text)
		if err == nil && len(strings.TrimSpace(string(b))) == 0 {
			err = usageError{fmt.Errorf("--text %s: the file is empty", c.Text)}
		}
		return string(b), err
	}
	cp, err := starter.Base()
	if err != nil {
		return "", err
	}
	prompts := slices.Repeat([][]int32{encodePrompt(cp.Tokenizer, "Once")}, 64)
	out, err := decode.Generate(ctx, cp.Model, prompts, decode.Params{MaxTokens: 96, Temperature: 1, TopP: 1, Seed: 1}, int32(cp.Model.Config().EOS), nil)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, o := range out {
		fmt.Fprintf(&b, "Once%s\n", token.Continue(cp.Tokenizer, o.IDs))
	}
	return b.String(), nil
}

// benchTokenizer opens a tokenizer by name or folder.
func benchTokenizer(name string) (token.Tokenizer, error) {
	if name == "starter" {
		cp, err := starter.Base()
		if err != nil {
			return nil, err
		}
		return cp.Tokenizer, nil
	}
	t, err := token.Embedded(name)
	if err == nil {
		return t, nil
	}
	if _, err := os.Stat(name); err == nil {
		return token.Load(name)
	}
	return nil, usageError{fmt.Errorf("--tokenizer %s: neither gpt2, cl100k_base or starter nor a folder with a tokenizer", name)}
}
