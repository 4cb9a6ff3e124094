package main

import (
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// machine is what an estimate knows of a computer: two limits, and the rate that each call reaches where it was measured, or
// else how much of the limits each kind of operation usually reaches.
type machine struct {
	Threads   int     `json:"threads"`
	Peak      float64 `json:"peak_flops"`  // multiply-adds, FLOP/s on all threads
	Memory    float64 `json:"bytes_per_s"` // read from memory, all threads
	Measured  bool    `json:"measured"`    // here and now; otherwise as given, with the shares that are usual
	Cache     float64 `json:"cache_bytes,omitempty"`
	Attention float64 `json:"attention,omitempty"` // share of Peak
	Rows      float64 `json:"rows,omitempty"`      // bytes/s of elementwise kernels on activations
	Update    float64 `json:"update,omitempty"`    // bytes/s of AdamW, 36 to a weight

	rates map[called]float64 // what was measured: FLOP/s of products and attention, passes/s, bytes/s of the rest
}

// called is a call in a work: what it finds in the cache depends on what is called beside.
type called struct {
	work model.Work
	call model.Call
}

// usualShares are the shares of the peak that products of so many rows reach with the weights in the cache: medians of
// matrices of width 768 with the AVX-512 kernels on a Zen 4. Between two of them time grows linearly.
var usualShares = []struct {
	rows  int
	share float64
}{{1, 0.15}, {8, 0.5}, {32, 0.65}, {64, 0.77}, {128, 0.83}, {256, 0.89}, {1024, 0.92}}

const (
	usualRead  = 0.85 // share of the bandwidth at which products of few rows read weights
	usualCalls = 1e-6 // seconds that the calls of a layer take, whatever its width
	usualCache = 3    // times the bandwidth of memory, at which weights in the cache are read
)

// givenMachine is one of which only the two limits are known.
func givenMachine(peak, memory float64, threads int) machine {
	return machine{Threads: threads, Peak: peak, Memory: memory, Cache: 16 << 20, Attention: 0.3, Rows: memory, Update: 1.3 * memory}
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

// amount is what a call's rate counts: multiply-adds where they are its bulk, else bytes; of passes themselves.
func amount(op model.Operation) float64 {
	switch op.Kind {
	case model.OpProduct, model.OpAttention, model.OpAttentionBack:
		return op.FLOPs
	case model.OpPass:
		return float64(op.Calls)
	}
	return op.Bytes
}

// seconds is how long an operation of a work takes in a model whose weights take total bytes.
func (m machine) seconds(w model.Work, op model.Operation, total float64) float64 {
	s := 0.0
	if m.Measured {
		s = amount(op) / m.rates[called{w, op.Call}]
	} else {
		s = m.usually(op, total)
	}
	if op.Shares > 0 { // the last shares may leave threads idle
		rounds := (op.Shares + m.Threads - 1) / m.Threads
		s *= float64(rounds*m.Threads) / float64(op.Shares)
	}
	return s
}

// usually is how long it takes at the usual shares: the greater of arithmetic and memory, each at the rate that its kind reaches.
func (m machine) usually(op model.Operation, total float64) float64 {
	switch op.Kind {
	case model.OpProduct:
		rows, read := op.M, usualRead*m.Memory
		if op.Layout == model.LayoutTN {
			rows = op.K
		}
		if total < m.Cache {
			read = usualCache * m.Memory
		}
		return max(op.FLOPs/(m.Peak*usualShare(rows)), op.Matrix/read)
	case model.OpAttention, model.OpAttentionBack:
		return max(op.FLOPs/(m.Attention*m.Peak), op.Bytes/max(m.Rows, m.Memory))
	case model.OpUpdate:
		return op.Bytes / m.Update
	case model.OpPass:
		return usualCalls * float64(op.Calls*op.N)
	}
	return op.Bytes / m.Rows
}

// threads is how many calls run at the same time.
func threads(c model.Call) int {
	if c.Alone {
		return kernel.Threads()
	}
	return 1
}
