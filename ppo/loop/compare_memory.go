package loop

import (
	"context"
	"fmt"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/model/train"
)

// NoRoomError says that the models of a comparison do not fit into the memory of the machine that is to let them answer.
type NoRoomError struct{ Need, Free int64 } // bytes

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("both versions and the reward model take %.3g GB of memory while they answer, and %.3g GB are free where jobs are done: free some, for example by a smaller 'rankloop serve --kv-cache', or ask for shorter answers; then compare anew",
		float64(e.Need)/1e9, float64(e.Free)/1e9)
}

// free is how much memory this process may still take.
func (l *Loop) free() (bytes int64, known bool) {
	if l.Free != nil {
		return l.Free()
	}
	return train.Available()
}

// roomToCompare refuses, with a *NoRoomError, what does not fit: the weights of all models, and one of them at work on a chunk of prompts.
func (l *Loop) roomToCompare(ctx context.Context, c Comparison, prompts []labeling.Prompt) error {
	free, known := l.free()
	if !known {
		return nil
	}
	var need, work int64
	for _, id := range []string{c.A, c.B, c.RewardVersionID} {
		if id == "" {
			continue
		}
		m, err := l.memoryToAnswer(ctx, id, prompts, c.Config.MaxTokens)
		if err != nil {
			return err
		}
		need, work = need+m.Weights, max(work, m.Total()-m.Weights)
	}
	if need+work > free {
		return &NoRoomError{need + work, free}
	}
	return nil
}

// memoryToAnswer is what a version takes to answer the prompts together.
func (l *Loop) memoryToAnswer(ctx context.Context, versionID string, prompts []labeling.Prompt, maxTokens int) (out model.Memory, err error) {
	v, err := l.Registry.Get(ctx, versionID)
	if err != nil {
		return out, err
	}
	dir, err := l.Blobs.Open(ctx, v.Digest)
	if err != nil {
		return out, fmt.Errorf("weights of %s: %w", v.Name, err)
	}
	d, err := checkpoint.Describe(dir)
	if err != nil {
		return out, err
	}
	tok, err := token.Load(dir)
	if err != nil {
		return out, err
	}
	longest := 0
	for _, p := range prompts {
		if len(p.Messages) == 0 { // gone meanwhile
			continue
		}
		ids, err := promptIDs(tok, l.Template, p)
		if err != nil {
			return out, err
		}
		longest = max(longest, len(ids))
	}
	longest = min(longest+maxTokens, d.Config.Context)
	return d.Config.Memory(model.MemoryPlan{Tokens: len(prompts) * longest, Longest: longest}), nil
}
