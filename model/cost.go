package model

import "math"

// OperationKind is what bounds an operation, and so which of a machine's constants its time follows.
type OperationKind uint8

const (
	// OpProduct is a product of M rows with a matrix: bound by multiply-adds with many rows, by reading the matrix with few.
	OpProduct OperationKind = iota
	// OpAttention is scores and weighted sums of values: multiply-adds on blocks that stay in the cache.
	OpAttention
	// OpAttentionBack is the way back through them, the scores computed once more.
	OpAttentionBack
	// OpElementwise is what passes over activations once: norms, nonlinearities, softmax, sums of residuals.
	OpElementwise
	// OpUpdate is the optimizer's pass over weights, gradients and moments.
	OpUpdate
	// OpStore is writing keys, transposed, and values of M positions to a cache, N floats each.
	OpStore
	// OpPass is what a pass of Extend through N layers costs whatever their width: its calls. It has neither FLOPs nor Bytes.
	OpPass
)

// Layout says how a product is called.
type Layout uint8

const (
	// LayoutNN is y [M,N] = x·W with W [K,N], see kernel.NN.
	LayoutNN Layout = iota
	// LayoutNT is y [M,N] = x·Wᵀ with W [N,K], see kernel.NT.
	LayoutNT
	// LayoutTN is dW [M,N] = xᵀ·dy over K rows, see kernel.TN.
	LayoutTN
	// LayoutPanels is y [M,N] = x·W with W [K,N] laid out for reading only, see kernel.Panels.
	LayoutPanels
)

// Call is one call of an operation: what a machine is measured with.
type Call struct {
	Kind    OperationKind
	Layout  Layout // of a product
	M, N, K int    // of a product; of attention M positions that see N; see the kinds; else N floats that the pass goes over
	Alone   bool   // each thread does calls of its own; otherwise each is split over the threads
}

// Operation is a part of the work that has a time of its own.
type Operation struct {
	Name string
	Call
	FLOPs   float64 // two for a multiply-add, in products and attention
	Bytes   float64 // read and written: weights once for each call, activations once each way
	Matrix  float64 // of Bytes those of weight matrices
	Calls   int     // how often it is called
	Shares  int     // of the batch, taken by the threads one by one, where calls are Alone
	Repeats bool    // computes again what was not kept: not counted by Config.FLOPs
}

// Work is a piece of work to be counted.
type Work struct {
	Sequences int  // B
	Tokens    int  // T, fed now, of each sequence
	Past      int  // positions of each sequence that a cache holds already
	Heads     int  // rows of each sequence whose logits are computed; T in training, 1 in decoding, 0 for a score alone
	Train     bool // backward and AdamW too
	Weight    int  // bytes of an element of a weight matrix; 0 = 4
	Mixed     bool // products in mixed precision, see Transformer.SetMixed
	Packed    bool // matrices are laid out for reading only, see Transformer.Pack
}

// Operations lists what the work consists of, summed over layers, in the order of a pass: from the matrices that the passes
// themselves multiply with and the constants that cut batches into spans. Products of different shapes are apart, under one
// name. Where Train is not set, the FLOPs of all of them are Config.FLOPs times the tokens (with Heads = T and no Past); where
// it is, three times that and what Repeats.
// It is empty for a shape that Validate refuses.
func (c Config) Operations(w Work) []Operation {
	m, err := NewEmpty(c)
	if err != nil || w.Sequences < 1 || w.Tokens < 1 {
		return nil
	}
	if w.Weight == 0 {
		w.Weight = 4
	}
	k := counter{m: m, c: m.cfg, w: w, rows: w.Sequences * w.Tokens}
	k.cut()
	k.layers()
	k.attention()
	k.elementwise()
	if k.extends() {
		k.add(Operation{Name: "calls", Call: Call{Kind: OpPass, N: k.c.Layers, Alone: k.alone}, Calls: k.spans})
	}
	k.head()
	if w.Train {
		k.update()
	}
	return k.out
}

// counter adds up operations; rows is N.
type counter struct {
	m      *Transformer
	c      Config
	w      Work
	rows   int
	spans  int // that go through the layers one by one
	each   int // sequences of a span
	alone  bool
	floats int // that a pass lays out
	out    []Operation
}

// extends says that the work is Extend's, with caches.
func (k *counter) extends() bool { return !k.w.Train && k.w.Heads < k.w.Tokens || k.w.Past > 0 }

// cut is how the passes cut the batch: Extend closes a group of caches that has reached its rows, the others a span before it
// would have more; Extend's groups run on a thread each even where the model is wide.
func (k *counter) cut() {
	T, wide := k.w.Tokens, k.m.wide()
	k.each = max(1, k.m.spanRows(k.rows)/T)
	if k.extends() {
		k.each, wide = (k.m.extendRows(k.rows)+T-1)/T, false
	}
	k.each = min(k.each, k.w.Sequences)
	k.spans = (k.w.Sequences + k.each - 1) / k.each
	k.alone = k.spans > 1 && !wide
	laidOut := k.rows
	if !k.w.Train {
		laidOut = k.each * T
	}
	k.floats = int(min(k.m.passSize(laidOut, T, MemoryPlan{Train: k.w.Train}), math.MaxInt32))
}

// add appends an operation, or adds it to that of the same name and shape.
func (k *counter) add(o Operation) {
	if o.Alone {
		o.Shares = k.spans
	}
	for i := range k.out {
		if p := &k.out[i]; p.Name == o.Name && p.Call == o.Call {
			p.FLOPs, p.Bytes, p.Matrix, p.Calls = p.FLOPs+o.FLOPs, p.Bytes+o.Bytes, p.Matrix+o.Matrix, p.Calls+o.Calls
			return
		}
	}
	k.out = append(k.out, o)
}

// layout is that of y = x·W, where W is stored as [out,in] or the other way round.
func (k *counter) layout(outIn bool) Layout {
	switch {
	case k.w.Packed:
		return LayoutPanels
	case outIn:
		return LayoutNT
	}
	return LayoutNN
}

// product is one of rows rows, spans calls of M each, with a matrix of in × out elements of size bytes.
func (k *counter) product(name string, call Call, rows float64, in, out, calls int, passes float64) {
	o := Operation{Name: name, Call: call, Calls: calls, FLOPs: 2 * rows * float64(in) * float64(out)}
	o.Matrix = passes * float64(in) * float64(out) * float64(k.w.Weight)
	o.Bytes = o.Matrix + 4*rows*float64(in+out)
	k.add(o)
}

// left is how many rows of a span the last layer is left with behind its attention, see planes.narrow and planes.leavesOut.
func (k *counter) left() int {
	if k.w.Heads >= k.w.Tokens || k.w.Train && 8*k.w.Heads > 7*k.w.Tokens {
		return k.each * k.w.Tokens
	}
	return k.each * max(k.w.Heads, 1)
}

func (k *counter) layers() {
	linears := k.m.body.linears()
	// Of the last layer what comes after attention is computed where the heads read.
	spans, last, before, width := make([]int, len(linears)), len(linears)-len(linears)/k.c.Layers, 0, k.m.body.widths().qkv
	for i, l := range linears {
		spans[i] = k.each * k.w.Tokens
		if i >= last {
			if before >= width {
				spans[i] = k.left()
			}
			before += l.out
		}
	}
	all := func(span int) float64 { return float64(k.rows) * float64(span) / float64(k.each*k.w.Tokens) }
	for i, l := range linears {
		k.product("layers, forward", Call{Layout: k.layout(l.outIn), M: spans[i], N: l.out, K: l.in, Alone: k.alone}, all(spans[i]), l.in, l.out, k.spans, float64(k.spans))
	}
	if !k.w.Train {
		return
	}
	for i, l := range linears {
		k.product("layers, gradients of inputs", Call{Layout: k.layout(!l.outIn), M: spans[i], N: l.in, K: l.out, Alone: k.alone}, all(spans[i]), l.in, l.out, k.spans, float64(k.spans))
	}
	for i, l := range linears {
		call := Call{Layout: LayoutTN, M: l.in, N: l.out, K: int(all(spans[i]))}
		if l.outIn {
			call.M, call.N = l.out, l.in
		}
		k.product("layers, gradients of weights", call, all(spans[i]), l.in, l.out, 1, 2) // read and written
	}
}

// attention counts 4·C for each layer and position seen; backward is twice that, and computes the scores once more.
func (k *counter) attention() {
	n, C, seen := float64(k.rows), float64(k.c.Width), 0.0
	for l := range k.c.Layers {
		seen += meanSeenAfter(k.w.Past, k.w.Tokens, k.c.window(l))
	}
	kv := float64(k.c.KVHeads * k.c.headDim())
	a := Operation{Name: "attention", FLOPs: 4 * C * seen * n, Calls: k.c.Layers * k.spans}
	a.Call = Call{Kind: OpAttention, M: k.w.Tokens, N: k.w.Past + k.w.Tokens, Alone: k.alone}
	a.Bytes = 4 * 2 * (C + kv) * n * float64(k.c.Layers)
	if k.w.Past > 0 { // the cache is read once for each block of queries
		a.Bytes += 4 * 2 * kv * seen * n / float64(k.w.Tokens)
	}
	k.add(a)
	if k.extends() {
		call := Call{Kind: OpStore, M: k.w.Tokens, N: int(kv), Alone: k.alone}
		k.add(Operation{Name: "keys and values kept", Call: call, Bytes: 4 * 4 * kv * n * float64(k.c.Layers), Calls: k.c.Layers * k.w.Sequences})
	}
	if !k.w.Train {
		return
	}
	back := a
	back.Name, back.Kind, back.FLOPs, back.Bytes = "attention, backward", OpAttentionBack, 2*a.FLOPs, 2*a.Bytes
	k.add(back)
	back.Name, back.FLOPs, back.Bytes, back.Calls, back.Repeats = "attention, scores again", a.FLOPs/2, 0, 0, true
	k.add(back)
}

// meanSeenAfter is meanSeen where past positions come before the T.
func meanSeenAfter(past, T, window int) float64 {
	if past == 0 {
		return meanSeen(T, window)
	}
	all := float64(past+T)*meanSeen(past+T, window) - float64(past)*meanSeen(past, window)
	return all / float64(T)
}

// elementwise counts reads and writes of rows: forward two norms (x and its norm), two sums (three each), the biases that
// products are added to, and the nonlinearity (each width that enters and the one that leaves); backward about twice that.
func (k *counter) elementwise() {
	w := k.m.body.widths()
	row := 2*2*k.c.Width + 2*3*k.c.Width + w.pre + w.up + k.c.Hidden
	for _, l := range k.m.body.linears()[:len(k.m.body.linears())/k.c.Layers] {
		if l.b != nil {
			row += l.out
		}
	}
	e := Operation{Name: "norms, nonlinearity, sums", Bytes: 4 * float64(row) * float64(k.rows) * float64(k.c.Layers), Calls: 3 * k.c.Layers}
	e.Call = Call{Kind: OpElementwise, N: k.floats, Alone: k.alone}
	if k.w.Train {
		e.Bytes *= 3
	}
	k.add(e)
}

// head counts the LM head in blocks of rows; a batch with more logits than are kept computes them once more for Backward.
func (k *counter) head() {
	rows := k.w.Sequences * k.w.Heads
	if rows == 0 {
		return
	}
	V, C, n := k.c.Vocab, k.c.Width, float64(rows)
	span := k.each * k.w.Heads
	blocks := k.spans * ((span + headRows - 1) / headRows)
	call := Call{Layout: k.layout(true), M: min(span, headRows), N: V, K: C, Alone: k.alone}
	if k.w.Train { // a next-token loss goes forward and back at once, over all rows
		blocks, call.M, call.Alone = (rows+headRows-1)/headRows, min(rows, headRows), false
	}
	k.product("LM head", call, n, C, V, blocks, float64(blocks))
	soft := Operation{Name: "softmax", Call: Call{Kind: OpElementwise, N: k.floats, Alone: call.Alone}, Bytes: 4 * n * float64(V), Calls: blocks}
	if k.w.Train {
		k.product("LM head, gradients", Call{Layout: LayoutNN, M: call.M, N: C, K: V}, n, C, V, blocks, float64(blocks))
		k.product("LM head, gradients", Call{Layout: LayoutTN, M: V, N: C, K: call.M}, n, C, V, blocks, 2*float64(blocks))
		soft.Bytes *= 5 // softmax and its gradient, each read and written
	}
	k.add(soft)
}

// update counts AdamW: weight, gradient and two moments read and written, and the gradient once more for its norm.
func (k *counter) update() {
	n := k.m.count(func(*Param) int64 { return 1 })
	k.add(Operation{Name: "AdamW", Call: Call{Kind: OpUpdate, N: int(n)}, Bytes: 36 * float64(n), Calls: 2 * len(k.m.params)})
}
