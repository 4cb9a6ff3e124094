//go:build !race

package decode

import (
	"context"
	"fmt"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// A token of the engine allocates nothing once the buffers are there, its reader included.
func TestTokensAllocateNothing(t *testing.T) {
	m, err := model.New(model.Config{Family: "gpt2", Vocab: 300, Context: 600, Layers: 2, Width: 32, Heads: 2, BOS: -1, EOS: -1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	m.Pack(model.WeightsFloat32)
	for _, n := range []int{1, 9} {
		e := newEngine(m, nil, EngineOptions{})
		var streams []*Stream
		for i := range n {
			streams = append(streams, submit(t, e, Request{Prompt: counting(10, i), Key: fmt.Sprint(i % 3), Params: Params{MaxTokens: 500, Temperature: 1, IgnoreEOS: true}}))
		}
		token := func() {
			e.step()
			for _, s := range streams {
				if _, ok, err := s.Next(context.Background()); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
		}
		for range 50 {
			token()
		}
		if a := testing.AllocsPerRun(100, token); a >= 1 { // the pools may be emptied once, and a helper begin anew
			t.Errorf("%d requests: %g allocations a step", n, a)
		}
	}
}
