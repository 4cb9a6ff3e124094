package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/model/token"
)

type generateCmd struct {
	Model       string  `required:"" help:"A model folder, or base or sft for the starter model." placeholder:"MODEL"`
	Prompt      *string `help:"Text to continue." xor:"prompt" placeholder:"TEXT"`
	Chat        *string `help:"A user's message to answer, put into the model's chat template." xor:"prompt" placeholder:"TEXT"`
	Template    string  `help:"Chat template of --chat: plain, chatml, llama2, llama3 or hh; the model's own where this is not given." placeholder:"NAME"`
	IDs         string  `name:"ids" help:"Token ids to continue, separated by commas." xor:"prompt" placeholder:"1,2,3"`
	MaxTokens   int     `default:"48" help:"New tokens at most."`
	Temperature float64 `default:"1" help:"0 takes the likeliest token each time."`
	TopP        float64 `name:"top-p" default:"1" help:"Sample from the likeliest tokens that reach this probability."`
	TopK        int     `name:"top-k" default:"0" help:"Sample from this many likeliest tokens; 0 is off."`
	Seed        uint64  `default:"0" help:"The same seed gives the same text."`
	N           int     `short:"n" name:"n" default:"1" help:"Number of continuations."`
	IgnoreEOS   bool    `name:"ignore-eos" help:"Go on after the end-of-text token."`
	JSON        bool    `name:"json" help:"One JSON line per continuation: ids, text, finish_reason."`
	weightsFlag
}

func (generateCmd) Help() string {
	return `Example:
  rankloop generate --model sft --chat 'Tell a story about a fox and a drum with a happy ending' --seed 1`
}

type generated struct {
	IDs          []int32 `json:"ids"`
	Text         string  `json:"text"`
	FinishReason string  `json:"finish_reason"`
}

func (c generateCmd) Run(ctx context.Context, io streams) error {
	switch {
	case c.MaxTokens < 1:
		return usageError{fmt.Errorf("--max-tokens %d: at least 1 is wanted", c.MaxTokens)}
	case c.N < 1:
		return usageError{fmt.Errorf("--n %d: at least 1 is wanted", c.N)}
	case c.Temperature < 0:
		return usageError{fmt.Errorf("--temperature %g: 0 or more is wanted", c.Temperature)}
	case c.TopP <= 0 || c.TopP > 1:
		return usageError{fmt.Errorf("--top-p %g: more than 0 and at most 1 is wanted", c.TopP)}
	case c.TopK < 0:
		return usageError{fmt.Errorf("--top-k %d: 0 or more is wanted", c.TopK)}
	}
	cp, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	ids, eos, err := c.promptIDs(cp)
	if err != nil {
		return err
	}
	cfg := cp.Model.Config()
	if err := checkIDs(ids, cfg.Vocab); err != nil {
		return err
	}
	if len(ids)+c.MaxTokens > cfg.Context {
		if c.MaxTokens = cfg.Context - len(ids); c.MaxTokens < 1 {
			return fmt.Errorf("the prompt's %d tokens fill the model's context of %d", len(ids), cfg.Context)
		}
	}
	prompts := make([][]int32, c.N)
	for i := range prompts {
		prompts[i] = ids
	}
	cp.Model.Pack(c.Weights)
	out, err := decode.Generate(ctx, cp.Model, prompts, decode.Params{MaxTokens: c.MaxTokens, Temperature: c.Temperature,
		TopP: c.TopP, TopK: c.TopK, Seed: c.Seed, IgnoreEOS: c.IgnoreEOS}, eos, nil)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(io.out)
	enc.SetEscapeHTML(false)
	for _, o := range out {
		g := generated{IDs: o.IDs, FinishReason: o.Finish}
		if cp.Tokenizer != nil {
			text := o.IDs
			if n := len(text); o.Finish == "stop" && n > 0 && text[n-1] == eos {
				text = text[:n-1]
			}
			g.Text = token.Continue(cp.Tokenizer, text)
		}
		switch {
		case c.JSON:
			err = enc.Encode(g)
		case cp.Tokenizer == nil:
			_, err = fmt.Fprintln(io.out, g.IDs)
		default:
			_, err = fmt.Fprintln(io.out, strings.TrimPrefix(g.Text, " "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// promptIDs is what the model reads, and the token that ends what it writes.
func (c generateCmd) promptIDs(cp *checkpoint.Checkpoint) (ids []int32, eos int32, err error) {
	eos = int32(cp.Model.Config().EOS)
	if c.Template != "" && c.Chat == nil {
		return nil, 0, usageError{fmt.Errorf("--template %s: it is for --chat", c.Template)}
	}
	if c.IDs != "" {
		for _, f := range strings.Split(c.IDs, ",") {
			n, err := strconv.ParseInt(strings.TrimSpace(f), 10, 32)
			if err != nil {
				return nil, 0, usageError{fmt.Errorf("--ids: %q is not a token id", f)}
			}
			ids = append(ids, int32(n))
		}
		return ids, eos, nil
	}
	if c.Prompt == nil && c.Chat == nil {
		return nil, 0, usageError{fmt.Errorf("give --prompt TEXT, --chat TEXT or --ids 1,2,3")}
	}
	tok, err := needTokenizer(cp, c.Model)
	if err != nil {
		return nil, 0, err
	}
	if c.Prompt != nil {
		ids := encodePrompt(tok, *c.Prompt)
		if len(ids) == 0 {
			return nil, 0, usageError{fmt.Errorf("--prompt is empty and the model has no start token")}
		}
		return ids, eos, nil
	}
	template, err := token.Chat(cmp.Or(c.Template, cp.Card.Template, "plain"))
	if err != nil {
		return nil, 0, usageError{err}
	}
	if ids, err = token.PromptIDs(tok, template, []token.Message{{Role: "user", Content: *c.Chat}}); err != nil {
		return nil, 0, err
	}
	if template.End() != "" {
		eos = token.EndID(tok, template)
	}
	return ids, eos, nil
}

// encodePrompt encodes text as the start of a sequence: behind the tokenizer's start token where it has one.
func encodePrompt(tok token.Tokenizer, text string) []int32 {
	if bos := tok.BOS(); bos >= 0 {
		return append([]int32{bos}, tok.Encode(text)...)
	}
	return tok.Encode(text)
}

// loadModel opens a model folder, or the starter model by the names base and sft.
func loadModel(name string) (*checkpoint.Checkpoint, error) {
	switch name {
	case "base":
		return starter.Base()
	case "sft":
		return starter.SFT()
	}
	return checkpoint.Load(name)
}
