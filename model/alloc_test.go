//go:build !race

package model_test

import (
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// A token allocates nothing once the buffers are there, of every family, form of weights and number of threads, alone and in a batch.
func TestTokensAllocateNothing(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for _, cfg := range shapes {
		cfg.Context = 512
		for _, w := range []model.Weights{model.WeightsFloat32, model.WeightsBF16, model.WeightsInt8} {
			m := lively(t, cfg, 1).PackedCopy(w)
			for _, rows := range []int{1, 9, -9} { // less than none: in pages
				pages := m.NewPages(32, 1<<30)
				var caches []*model.Cache
				var ids [][]int32
				for i := range max(rows, -rows) {
					c := m.NewCache()
					if rows < 0 {
						c = pages.NewCache()
					}
					c.Reserve(cfg.Context)
					caches, ids = append(caches, c), append(ids, []int32{int32(i)})
				}
				each := func(int, int, []float32, float32) {}
				for _, n := range []int{1, 2} {
					kernel.SetThreads(n)
					for range 20 {
						m.ExtendValues(caches, ids, nil, each)
					}
					if a := testing.AllocsPerRun(100, func() { m.ExtendValues(caches, ids, nil, each) }); a >= 1 { // the pools may be emptied once, and a helper begin anew
						t.Errorf("%s %s, %d rows, %d threads: %g allocations a step", cfg.Family, w, rows, n, a)
					}
				}
			}
		}
	}
}
