package loop

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/token"
)

// sampleChunk is how many prompts one sampling job answers.
const sampleChunk = 32

// responseText is what people and judges read of a completion: without the end token and the space that the template's
// answers start with.
func responseText(tok token.Tokenizer, c decode.Completion, eos int) string {
	ids := c.IDs
	if n := len(ids); n > 0 && int(ids[n-1]) == eos {
		ids = ids[:n-1]
	}
	return strings.TrimSpace(tok.Decode(ids))
}

// promptIDs returns the tokens a policy reads for a prompt: those that were stored with it where they are of this tokenizer,
// else the conversation in the chat template.
func promptIDs(tok token.Tokenizer, template token.ChatTemplate, p labeling.Prompt) ([]int32, error) {
	if p.TokenIDs != nil && p.TokenizerDigest == tok.Digest() {
		return p.TokenIDs, nil
	}
	messages := make([]token.Message, len(p.Messages))
	for i, m := range p.Messages {
		messages[i] = token.Message{Role: m.Role, Content: m.Content}
	}
	ids, err := token.PromptIDs(tok, template, messages)
	if err != nil {
		return nil, fmt.Errorf("prompt %s: %w", p.ID, err)
	}
	return ids, nil
}

// sampleAnswers draws k answers to each prompt from the policy. An answer that is the very copy of an earlier one to the
// same prompt is drawn again once, because ranking two equal texts tells nothing; where the policy insists, it stays.
func (l *Loop) sampleAnswers(ctx context.Context, cp *checkpoint.Checkpoint, prompts [][]int32, k, maxTokens int, seed uint64) ([][]decode.Completion, error) {
	eos := cp.Model.Config().EOS
	draw := func(rows [][]int32, seed uint64) ([]decode.Completion, error) {
		return decode.Generate(ctx, cp.Model, rows, decode.Params{MaxTokens: maxTokens, Temperature: 1, TopP: 1, Seed: seed}, int32(eos), nil)
	}
	var rows [][]int32
	for _, p := range prompts {
		for range k {
			rows = append(rows, p)
		}
	}
	flat, err := draw(rows, seed)
	if err != nil {
		return nil, err
	}
	var again []int
	for i := range flat {
		for j := i - i%k; j < i; j++ {
			if slices.Equal(flat[i].IDs, flat[j].IDs) {
				again = append(again, i)
				break
			}
		}
	}
	rows = rows[:0]
	for _, i := range again {
		rows = append(rows, prompts[i/k])
	}
	if len(rows) > 0 {
		more, err := draw(rows, seed+1)
		if err != nil {
			return nil, err
		}
		for n, i := range again {
			flat[i] = more[n]
		}
	}
	out := make([][]decode.Completion, len(prompts))
	for i := range out {
		out[i] = flat[i*k : (i+1)*k]
	}
	return out, nil
}

// seedOf mixes a round's seed with a name, so that each use draws from a stream of its own.
func seedOf(seed uint64, name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return seed*0x9e3779b97f4a7c15 ^ h.Sum64()
}
