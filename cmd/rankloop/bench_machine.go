package main

import (
	"math"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// machine is what an estimate knows of a computer: two limits, and how much of them each kind of operation reaches.
type machine struct {
	Threads   int     `json:"threads"`
	Peak      float64 `json:"peak_flops"`  // multiply-adds, FLOP/s on all threads
	Memory    float64 `json:"bytes_per_s"` // read from memory, all threads
	Cache     float64 `json:"cache_bytes"` // weights that fit are read from there
	Attention float64 `json:"attention"`   // share of Peak
	Rows      float64 `json:"rows"`        // bytes/s of elementwise kernels on activations
	Update    float64 `json:"update"`      // bytes/s of AdamW, 36 to a weight
	Measured  bool    `json:"measured"`    // here and now; otherwise as given, with the shares that are usual
}

// usualShares are the shares of the peak that products of so many rows reach with the weights in the cache: medians of
// matrices of width 768 with the AVX-512 kernels on a Zen 4. Between two of them time grows linearly.
var usualShares = []struct {
	rows  int
	share float64
}{{1, 0.15}, {8, 0.5}, {32, 0.65}, {64, 0.77}, {128, 0.83}, {256, 0.89}, {1024, 0.92}}

const (
	usualRead  = 0.85 // share of the bandwidth at which products of few rows read weights
	usualCache = 3    // times the bandwidth of memory, at which weights in the cache are read
)

// givenMachine is one of which only the two limits are known.
func givenMachine(peak, memory float64, threads int) machine {
	return machine{Threads: threads, Peak: peak, Memory: memory, Cache: 16 << 20, Attention: 0.3, Rows: memory, Update: 1.3 * memory}
}

// thisMachine measures the constants here, in about a second: medians of rounds in which all are measured in turn, after one
// that brings the buffers into memory, as a page's first touch costs far more than reading it.
func thisMachine() machine {
	const T, H, D = 256, 6, 64
	const C = H * D
	batch := 2 * kernel.Threads()
	qkv, out := benchNumbers(batch*T*3*C), make([]float32, batch*T*C)
	const n, part = 1 << 23, 1 << 14
	x, y, z, w := benchNumbers(n), benchNumbers(n), benchNumbers(n), make([]float32, n)
	pass := func(f func(lo, hi int)) float64 {
		return n * rate(20*time.Millisecond, func() {
			kernel.Parallel(n/part, 1, func(lo, hi int) { f(lo*part, hi*part) })
		})
	}
	constants := []func() float64{
		peakFLOPS,
		bandwidth(),
		func() float64 {
			return float64(batch) * 4 * C * T * (T + 1) / 2 * rate(20*time.Millisecond, func() {
				kernel.Parallel(batch, 1, func(lo, hi int) {
					for b := lo; b < hi; b++ {
						x := qkv[b*T*3*C:]
						kernel.Attention(out[b*T*C:], C, nil, x, 3*C, x[C:], 3*C, x[2*C:], 3*C, T, T, H, H, D, 0, 0.125)
					}
				})
			})
		},
		func() float64 { return 8 * pass(func(lo, hi int) { kernel.GELU(y[lo:hi], x[lo:hi]) }) },
		func() float64 {
			return 36 * pass(func(lo, hi int) {
				kernel.AdamW(x[lo:hi], y[lo:hi], z[lo:hi], w[lo:hi], 1e-9, 0.9, 0.95, 1e-8, 0.1, 1, 1, 1)
			})
		},
	}
	samples := make([][]float64, len(constants))
	for round := range 6 {
		for i, measure := range constants {
			if v := measure(); round > 0 {
				samples[i] = append(samples[i], v)
			}
		}
	}
	m := givenMachine(median(samples[0]), median(samples[1]), kernel.Threads())
	m.Attention, m.Rows, m.Update, m.Measured = median(samples[2])/m.Peak, median(samples[3]), median(samples[4]), true
	return m
}

// usualShare interpolates usualShares: the time of a product is linear in its rows between two of them.
func usualShare(rows int) float64 {
	last := len(usualShares) - 1
	for i, u := range usualShares {
		if rows > u.rows && i < last {
			continue
		}
		if rows >= u.rows || i == 0 {
			return u.share
		}
		a := usualShares[i-1]
		ta, tb := float64(a.rows)/a.share, float64(u.rows)/u.share
		t := ta + (tb-ta)*float64(rows-a.rows)/float64(u.rows-a.rows)
		return float64(rows) / t
	}
	return usualShares[last].share
}

// products returns the FLOP/s that a shape's products of so many rows reach on the machine. On this one they are measured
// with the layers' widths, in the three layouts where the model is trained, over as many weights as the model has or the
// cache does not hold.
func (m machine) products(cfg model.Config, op model.Operation, train bool, weight int) float64 {
	total := 4 * float64(cfg.NumParams())
	if !m.Measured {
		read := usualRead * m.Memory
		if total < m.Cache {
			read = usualCache * m.Memory
		}
		perRow := op.FLOPs / float64(op.Rows*max(op.Calls, 1))
		bytes := op.Matrix / float64(max(op.Calls, 1)) / float64(op.Rows)
		return perRow / max(perRow/(m.Peak*usualShare(op.Rows)), bytes/read)
	}
	K, N := cfg.Width, min(4*cfg.Width, 8192)
	if op.Name[:2] == "LM" {
		N = min(cfg.Vocab, 1<<15)
	}
	M := min(op.Rows, 1024)
	copies := int(min(total, 128<<20)/float64(4*K*N)) + 1
	flop := 2 * float64(M) * float64(N) * float64(K)
	parts := 1
	if op.Alone {
		parts = m.Threads
	}
	x, y, w := benchNumbers(parts*M*K), benchNumbers(parts*M*N), benchNumbers(copies*K*N)
	layouts := benchProducts[:1]
	switch {
	case train:
		layouts = benchProducts
	case op.Name[:2] == "LM":
		layouts = benchProducts[1:2]
	}
	seconds, at := 0.0, 0
	for _, p := range layouts {
		var once []float64
		for range 3 {
			once = append(once, 1/rate(4*time.Millisecond, func() {
				at++
				kernel.Parallel(parts, 1, func(lo, hi int) {
					for i := lo; i < hi; i++ {
						p.run(M, N, K, x[i*M*K:(i+1)*M*K], w[(at%copies)*K*N:][:K*N], y[i*M*N:(i+1)*M*N])
					}
				})
			}))
		}
		seconds += median(once)
	}
	rate := flop * float64(parts*len(layouts)) / seconds
	if weight < 4 && M < 64 { // bound by reading: fewer bytes, up to what the cache's weights would give
		rate = min(rate*4/float64(weight), m.Peak*usualShare(M))
	}
	return rate
}

// reading is how long a product takes at least where the model, of total bytes, does not stay in the cache: its matrices come
// from memory. A measurement over fewer weights than the model has would find a part of them in a large cache.
func (m machine) reading(op model.Operation, total float64) float64 {
	if total < m.Cache {
		return 0
	}
	return op.Matrix / (usualRead * m.Memory)
}

// seconds is how long an operation takes: the greater of arithmetic and memory, each at the rate that its kind reaches.
func (m machine) seconds(cfg model.Config, op model.Operation, train bool, weight int) float64 {
	switch op.Kind {
	case model.OpProduct:
		return max(op.FLOPs/m.products(cfg, op, train, weight), m.reading(op, 4*float64(cfg.NumParams())))
	case model.OpAttention:
		return math.Max(op.FLOPs/(m.Attention*m.Peak), op.Bytes/max(m.Rows, m.Memory))
	case model.OpUpdate:
		return op.Bytes / m.Update
	}
	return op.Bytes / m.Rows
}
