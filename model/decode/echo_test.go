package decode

import (
	"slices"
	"testing"
)

// The logits of a step may come in any order: the echo of a prompt is whole and the next token is drawn once, also where the last of
// the prompt is heard first.
func TestEchoInAnyOrder(t *testing.T) {
	for _, m := range mixModels(t) {
		r := Request{Prompt: counting(21, 3), N: 2, Echo: true, Params: Params{MaxTokens: 5, Temperature: 1, Seed: 4, IgnoreEOS: true, Logprobs: 2}}
		answer := func(turn func(calls []func())) (echo []Token, drawn [][]int32) {
			e := newEngine(m, nil, EngineOptions{Page: 16, Chunk: 8})
			b := e.batch
			b.work = func() {
				var calls []func()
				m.ExtendValues(b.caches, b.ids, b.all, func(i, at int, logits []float32, value float32) {
					logits = slices.Clone(logits)
					e.mu.Lock() // the test's own list
					calls = append(calls, func() { b.hear(i, at, logits, value) })
					e.mu.Unlock()
				})
				turn(calls)
				for _, call := range calls {
					call()
				}
			}
			s := submit(t, e, r)
			steps(e)
			drawn = make([][]int32, 2)
			for {
				tok, ok, err := s.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					return s.Echo(), drawn
				}
				drawn[tok.Choice] = append(drawn[tok.Choice], tok.ID)
			}
		}
		echo, drawn := answer(func([]func()) {})
		back, again := answer(slices.Reverse[[]func()])
		for i, x := range echo {
			if i < len(back) && (x.ID != r.Prompt[i] || back[i].ID != x.ID || back[i].Logprob != x.Logprob || !slices.Equal(back[i].Top, x.Top) || i > 0 && x.Logprob == 0) {
				t.Errorf("%s: token %d of the echo is %+v, heard from the end %+v", m.Config().Family, i, x, back[i])
			}
		}
		if len(echo) != len(back) || len(echo) != len(r.Prompt) || !slices.EqualFunc(drawn, again, slices.Equal) || len(drawn[0]) != 5 {
			t.Errorf("%s: %v, heard from the end %v", m.Config().Family, drawn, again)
		}
	}
}
