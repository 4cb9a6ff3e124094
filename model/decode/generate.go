package decode

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// Completion is what was sampled for one prompt.
type Completion struct {
	IDs      []int32   // the end-of-text token included, where it was drawn
	Logprobs []float32 // of IDs, as in Token
	Values   []float32 // of a scalar head, at the position before each of IDs; nil for a model without one
	Finish   string    // FinishStop or FinishLength
}

// cacheBudget bounds the caches of a batch, in float32 elements.
const cacheBudget = 1 << 28

// batchWidth is how many rows are decoded at the same time: enough to fill the
// products of every processor, and no more, because the keys and values of each row
// are read once a step and the fewer there are the nearer they stay.
func batchWidth() int { return max(64, 32*runtime.GOMAXPROCS(0)) }

// Generate samples a completion for every prompt. eos is the end-of-text token, -1 =
// none. Completion i depends only on the weights, prompts[i], p and i: not on the
// batch. A prompt that occurs several times is fed once, as long as one of its
// completions is under way. progress, where it is not nil, hears how many completions are done. It fails with *model.InvalidError for
// parameters or prompts that cannot be served, and with ctx's error where that ends.
func Generate(ctx context.Context, m *model.Transformer, prompts [][]int32, p Params, eos int32, progress func(done int)) ([]Completion, error) {
	return generate(ctx, m, prompts, p, eos, progress, batchWidth())
}

func generate(ctx context.Context, m *model.Transformer, prompts [][]int32, p Params, eos int32, progress func(done int), width int) ([]Completion, error) {
	cfg := m.Config()
	if err := p.Validate(cfg.Vocab); err != nil {
		return nil, err
	}
	if len(p.Stop) > 0 {
		return nil, invalid("Stop", "stop texts need an engine with a tokenizer")
	}
	longest := 0
	for i, ids := range prompts {
		if err := checkPrompt(m, ids); err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i, err)
		}
		longest = max(longest, len(ids))
	}
	positions := min(longest+p.MaxTokens, cfg.Context)
	perRow := 2 * cfg.Layers * cfg.KVHeads * (cfg.Width / cfg.Heads) * positions
	width = max(8, min(width, cacheBudget/max(1, perRow)))

	out := make([]Completion, len(prompts))
	s := stepper{m: m}
	var active []*row
	var index []int // of the prompt of each active row
	valued := m.ScalarHead() != model.HeadLM
	order := grouped(prompts)
	var lead *row     // of the newest prompt
	var asked []int32 // that prompt
	next, done := 0, 0
	for done < len(prompts) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for ; len(active) < width && next < len(prompts); next++ {
			i := order[next]
			r := newRow(m, prompts[i], p, eos, uint64(i))
			switch {
			case lead == nil || !slices.Equal(asked, r.feed):
				lead, asked = r, r.feed
			case lead.cache == nil && lead.finish == "" || lead.cache != nil && lead.cache.Len() < len(asked):
				lead.twins, r.twin = append(lead.twins, r), true // it has not been fed to the end
			case lead.cache != nil:
				s.share(r, lead.cache)
				lead = r
			default:
				lead = r
			}
			active, index = append(active, r), append(index, i)
		}
		s.step(active)
		before, kept := done, 0
		for i, r := range active {
			c := &out[index[i]]
			if r.fresh {
				c.IDs, c.Logprobs = append(c.IDs, r.last.ID), append(c.Logprobs, r.last.Logprob)
				if valued {
					c.Values = append(c.Values, r.value)
				}
			}
			if r.finish != "" {
				c.Finish = r.finish
				s.release(r)
				done++
				continue
			}
			active[kept], index[kept] = r, index[i]
			kept++
		}
		active, index = active[:kept], index[:kept]
		if progress != nil && done > before {
			progress(done)
		}
	}
	return out, nil
}

// grouped lists the prompts so that equal ones follow each other, in the order of the first of each.
func grouped(prompts [][]int32) []int {
	seen := map[string]int{} // the group of a prompt: the index of the first of them
	group, order := make([]int, len(prompts)), make([]int, len(prompts))
	var key []byte
	for i, ids := range prompts {
		key = key[:0]
		for _, id := range ids {
			key = binary.LittleEndian.AppendUint32(key, uint32(id))
		}
		first, ok := seen[string(key)]
		if !ok {
			first = i
			seen[string(key)] = i
		}
		group[i], order[i] = first, i
	}
	slices.SortStableFunc(order, func(a, b int) int { return group[a] - group[b] })
	return order
}

// checkPrompt reports why a prompt cannot be continued, as *model.InvalidError.
func checkPrompt(m *model.Transformer, ids []int32) error {
	if len(ids) == 0 {
		return invalid("prompt", "no tokens")
	}
	if n := m.Config().Context; len(ids) > n {
		return invalid("prompt", "%d tokens exceed the context of %d", len(ids), n)
	}
	return m.CheckIDs(ids)
}
