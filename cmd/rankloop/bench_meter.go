package main

import (
	"slices"
	"sync"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// meter measures what an estimate of some work needs to know of this machine: the two limits, and the rate of every call that
// the work consists of, made as the model makes it. What the model reads from memory is read from memory here too: calls go
// over as many weights and as much room for activations as the model has, up to what no cache holds.
type meter struct {
	cfg    model.Config
	works  []model.Work
	peak   []float64
	memory []float64
	read   func() float64
	probes map[called]*probe
	pool   []float32 // weights
	room   []float32 // of all panels
	panels map[[2]int][]*kernel.Panels
}

// meterBandwidth is made once: touching its memory takes longer than reading it many times.
var meterBandwidth = sync.OnceValue(bandwidth)

// probe measures one call. work runs it and is worth so many operations or bytes; before, which may be nil, is not counted.
type probe struct {
	worth   float64
	before  func()
	work    func()
	samples []float64
}

const (
	// poolFloats bounds the weights that are gone over, in floats: 512 MB, more than any cache holds.
	poolFloats = 1 << 27
	// probeTime is how long a sample takes for each call.
	probeTime = 4 * time.Millisecond
	// sweepTime bounds how long the calls of a pass are gone through, by their operations.
	sweepTime = 300 * time.Millisecond
	// aloneCalls is how many calls a thread makes before it waits for the others, where each makes its own: those of a layer.
	aloneCalls = 4
	// matrixFloats is the most of a matrix that is measured; a larger one is cut, as its rate is that of its part.
	matrixFloats = 1 << 23
)

// newMeter prepares all calls. Nothing is measured yet.
func newMeter(cfg model.Config, works ...model.Work) *meter {
	m := &meter{cfg: cfg.WithDefaults(), works: works, read: meterBandwidth(), probes: map[called]*probe{}, panels: map[[2]int][]*kernel.Panels{}}
	if slices.ContainsFunc(works, func(w model.Work) bool { return w.Packed }) {
		m.room = kernel.Floats(min(int(m.cfg.NumParams()), poolFloats) * 5 / 4) // panels are padded
	}
	for _, w := range works {
		for _, op := range cfg.Operations(w) {
			if k := (called{w, op.Call}); m.probes[k] == nil {
				m.probes[k] = m.probe(op, w)
			}
		}
	}
	return m
}

// round measures everything once more. Rounds alternate with the work where that is measured beside, and the calls of a work
// with each other, as they do in a pass: what one finds in the cache, and a thread asleep or awake, is what the others left.
func (m *meter) round() {
	m.peak, m.memory = append(m.peak, peakFLOPS()), append(m.memory, m.read())
	for _, w := range m.works {
		ops, flops := m.cfg.Operations(w), 0.0
		for _, op := range ops {
			flops += op.FLOPs
		}
		share := min(1, sweepTime.Seconds()*m.peak[0]/flops) // of the calls of a pass
		if w.Train {
			share = 0 // one of each: reading weights is little of it
		}
		var list []*probe
		var calls []int
		for _, op := range ops {
			p := m.probes[called{w, op.Call}]
			switch {
			case len(p.samples) == len(m.peak) || slices.Contains(list, p):
			case op.Kind == model.OpPass: // would put the other threads to sleep
				sweep([]*probe{p}, []int{1})
			default:
				list, calls = append(list, p), append(calls, max(1, int(share*float64(op.Calls))))
			}
		}
		sweep(list, calls)
	}
}

// sweep takes a sample of each probe, with so many calls of each in turn.
func sweep(list []*probe, calls []int) {
	if len(list) == 0 {
		return
	}
	times, sweeps, most, tick := make([]time.Duration, len(list)), 0, slices.Max(calls), clockTime()
	for start := time.Now(); sweeps == 0 || time.Since(start) < probeTime*time.Duration(len(list)); sweeps++ {
		for turn := range most {
			for i, p := range list {
				if (turn+1)*calls[i]/most == turn*calls[i]/most { // calls are spread over the sweep
					continue
				}
				if p.before != nil {
					p.before()
				}
				start := time.Now()
				p.work()
				times[i] += time.Since(start) - tick
			}
		}
	}
	for i, p := range list {
		p.samples = append(p.samples, p.worth*float64(sweeps*calls[i])/max(times[i], 1).Seconds())
	}
}

// clockTime is what looking at the clock adds to what it measures.
func clockTime() time.Duration {
	const n = 1000
	start := time.Now()
	for range n {
		time.Now()
	}
	return time.Since(start) / n
}

// machine is what was measured: medians of all rounds but the first, which brings the buffers into memory, as a page's first
// touch costs far more than reading it.
func (m *meter) machine() machine {
	out := machine{Threads: kernel.Threads(), Peak: median(m.peak[1:]), Memory: median(m.memory[1:]), Measured: true, rates: map[called]float64{}}
	for k, p := range m.probes {
		out.rates[k] = median(p.samples[1:])
	}
	return out
}

// thisMachine measures what the works of a shape need, in a few seconds.
func thisMachine(cfg model.Config, works ...model.Work) machine {
	m := newMeter(cfg, works...)
	for range 6 {
		m.round()
	}
	return m.machine()
}

func (m *meter) probe(op model.Operation, w model.Work) *probe {
	c := op.Call
	switch c.Kind {
	case model.OpProduct:
		return m.product(op, w)
	case model.OpAttention, model.OpAttentionBack:
		return m.attention(c, w)
	case model.OpUpdate:
		return update(c)
	case model.OpStore:
		return m.store(c)
	case model.OpPass:
		return m.pass()
	}
	return elementwise(op)
}

// product is a matrix product over one matrix after the other.
func (m *meter) product(op model.Operation, w model.Work) *probe {
	c := op.Call
	M, N, K := min(c.M, 1<<13), min(c.N, 1<<13), min(c.K, 1<<13)
	switch c.Layout {
	case model.LayoutTN:
		K = min(K, 1<<10)
		M = min(M, max(1, matrixFloats/N))
	default:
		M = min(M, 1<<10)
		N = min(N, max(1, matrixFloats/K))
	}
	parts := threads(c)
	x, y := benchNumbers(parts*M*K), benchNumbers(parts*max(M*N, K*N))
	run := m.layouts(c.Layout, M, N, K, op.Calls, w)
	at, calls, before := 0, 1, written(x)
	if c.Alone {
		calls, before = aloneCalls, nil
	}
	return &probe{before: before, worth: float64(parts*calls) * 2 * float64(M) * float64(N) * float64(K), work: func() {
		at += calls
		kernel.Parallel(parts, 1, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				for n := range calls {
					run(at+n, x[i*M*K:][:M*K], y[i*(len(y)/parts):][:len(y)/parts])
				}
			}
		})
	}}
}

// written lets all threads write to x, a part each: what a pass computes together the next call finds in several caches.
func written(x []float32) func() {
	const line = 16 // floats
	return func() {
		kernel.Parallel(len(x)/line, max(1, len(x)/line/kernel.Threads()), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				x[i*line] = 0.5
			}
		})
	}
}

// multiply is kernel.NN or its like.
type multiply func(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool)

// layouts returns a function that multiplies with the matrix whose turn it is, or adds to it, of as many as the model has.
func (m *meter) layouts(l model.Layout, M, N, K, matrices int, w model.Work) func(turn int, x, y []float32) {
	all := int(m.cfg.NumParams())
	total := min(all, poolFloats)
	if l == model.LayoutPanels {
		panels := m.panels[[2]int{N, K}]
		if panels == nil {
			b, size := benchNumbers(N*K), kernel.PanelsSize(form(w.Weight), K, N)
			for range max(1, matrices*total/all) {
				panels = append(panels, kernel.PanelsNN(form(w.Weight), K, N, b, N, m.room))
				m.room = m.room[min(size, len(m.room)):]
			}
			m.panels[[2]int{N, K}] = panels
		}
		return func(turn int, x, y []float32) { panels[turn%len(panels)].Mul(M, x, K, y, N, true) }
	}
	size := N * K
	if l == model.LayoutTN {
		size = M * N
	}
	if n := max(total, size); n > len(m.pool) {
		m.pool = benchNumbers(n)
	}
	kernels := [...]multiply{kernel.NN, kernel.NT, kernel.TN}
	if w.Mixed {
		kernels = [...]multiply{kernel.NNMixed, kernel.NTMixed, kernel.TNMixed}
	}
	count := max(1, total/size)
	return func(turn int, x, y []float32) {
		b := m.pool[turn%count*size:][:size]
		switch l {
		case model.LayoutNN:
			kernels[0](M, N, K, x, K, b, N, y, N, true)
		case model.LayoutNT:
			kernels[1](M, N, K, x, K, b, K, y, N, true)
		default:
			kernels[2](M, N, K, x, M, y, N, b, N, true)
		}
	}
}

// form is that of panels with so many bytes to a weight.
func form(bytes int) kernel.Form {
	switch bytes {
	case 1:
		return kernel.FormInt8
	case 2:
		return kernel.FormBF16
	}
	return kernel.FormFloat32
}

// attention is that of sequences at positions N-M to N, forward from a cache unless it is for training.
func (m *meter) attention(c model.Call, w model.Work) *probe {
	H, KV := m.cfg.Heads, m.cfg.KVHeads
	D := m.cfg.Width / H
	Tk := min(c.N, 1<<10)
	Tq := min(c.M, Tk)
	W, C, stride := (H+2*KV)*D, H*D, (Tk+15)&^15
	parts := threads(c)
	f, o, do, d := benchNumbers(parts*stride*W), benchNumbers(parts*Tq*C), benchNumbers(parts*Tq*C), benchNumbers(parts*stride*W)
	before := written(f)
	if c.Alone || Tq == 1 { // the cache was written long ago
		before = nil
	}
	lse, pages := make([]float32, parts*Tq*H), make([]kernel.Paged, parts)
	for i := range pages { // all positions in one
		pages[i] = kernel.Paged{Pages: [][]float32{f[i*stride*W:][:stride*W]}, Size: stride, Keys: stride * C, Values: stride * (C + KV*D), LDV: KV * D}
	}
	worth := float64(parts) * 4 * float64(C) * (float64(Tq)*float64(Tk) - float64(Tq)*float64(Tq-1)/2)
	if c.Kind == model.OpAttentionBack {
		worth *= 2.5
	}
	return &probe{worth: worth, before: before, work: func() {
		kernel.Parallel(parts, 1, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				q, o, d, lse := f[i*stride*W:][:stride*W], o[i*Tq*C:], d[i*stride*W:], lse[i*Tq*H:]
				switch {
				case c.Kind == model.OpAttentionBack:
					kernel.AttentionBackward(d, W, d[C:], W, d[C+KV*D:], W, do[i*Tq*C:], C, o, C, lse, q, W, q[C:], W, q[C+KV*D:], W, Tq, H, KV, D, 0, 0.125)
				case w.Train:
					kernel.Attention(o, C, lse, q, W, q[C:], W, q[C+KV*D:], W, Tq, Tk, H, KV, D, 0, 0.125)
				default:
					kernel.AttentionCached(o, C, q, C, pages[i], Tq, Tk, H, KV, D, 0, 0.125)
				}
			}
		})
	}}
}

// store is what model.Cache does with the keys and values of a sequence.
func (m *meter) store(c model.Call) *probe {
	parts, T := threads(c), min(c.M, 1<<10)
	W := m.cfg.Width + 2*c.N
	f, keys, values := benchNumbers(parts*T*W), make([]float32, parts*T*c.N), make([]float32, parts*T*c.N)
	return &probe{worth: float64(parts) * 4 * 4 * float64(T) * float64(c.N), work: func() {
		kernel.Parallel(parts, 1, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				k, at := f[i*T*W+m.cfg.Width:], i*T*c.N
				for d := range c.N {
					row := keys[at+d*T:][:T]
					for t := range row {
						row[t] = k[t*W+d]
					}
				}
				for t := range T {
					copy(values[at+t*c.N:][:c.N], k[t*W+c.N:])
				}
			}
		})
	}}
}

// pass is a token of a model as deep as this one and so narrow that its arithmetic is nothing.
func (m *meter) pass() *probe {
	cfg := m.cfg
	cfg.Vocab, cfg.Width, cfg.Heads, cfg.KVHeads, cfg.Hidden, cfg.BOS, cfg.EOS = 64, 16, 1, 1, 16, -1, -1
	narrow, err := model.New(cfg, 1)
	if err != nil {
		panic(err) // as valid as the shape that it is made of
	}
	narrow.Pack(model.WeightsFloat32)
	d := newDecoder(narrow, 1, 1, 1)
	return &probe{worth: 1, work: d.read}
}

// elementwise is a nonlinearity and a sum, the dearest and the cheapest of what passes over activations, each over as much as a
// call of the work does, from one end of what the model lays out to the other.
func elementwise(op model.Operation) *probe {
	const part, bytes = 1 << 12, 8 + 12
	n := max(1, min(op.N/2, 1<<23)/part)
	each := min(n, max(1, int(2*op.Bytes)/op.Calls/bytes/part))
	x, y, at := benchNumbers(n*part), make([]float32, n*part), 0
	return &probe{worth: float64(each) * part * bytes, work: func() {
		if at += each; at+each > n {
			at = 0
		}
		kernel.Parallel(each, 1, func(lo, hi int) {
			lo, hi = (at+lo)*part, (at+hi)*part
			kernel.GELU(y[lo:hi], x[lo:hi])
		})
		kernel.Parallel(each, 1, func(lo, hi int) {
			lo, hi = (at+lo)*part, (at+hi)*part
			kernel.Add(y[lo:hi], x[lo:hi])
		})
	}}
}

// update is the optimizer's step: the norm of the gradients, then blocks that are updated and cleared.
func update(c model.Call) *probe {
	const part = 1 << 15
	n := (min(c.N, 1<<23) + part - 1) / part
	x, g, m, v := benchNumbers(n*part), benchNumbers(n*part), make([]float32, n*part), make([]float32, n*part)
	squares := make([]float64, n)
	return &probe{worth: float64(n) * part * 36, work: func() {
		kernel.Parallel(n, 1, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				squares[i] = kernel.SumSquares(g[i*part : (i+1)*part])
			}
		})
		kernel.Parallel(n, 1, func(lo, hi int) {
			lo, hi = lo*part, hi*part
			kernel.AdamW(x[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi], 1e-9, 0.9, 0.95, 1e-8, 0.1, 1, 1, 1)
			clear(g[lo:hi])
		})
	}}
}
