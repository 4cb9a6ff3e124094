package model

// OperationKind is what bounds an operation, and so which of a machine's constants its time follows.
type OperationKind uint8

const (
	// OpProduct is a product of M rows with a matrix: bound by multiply-adds with many rows, by reading the matrix with few.
	OpProduct OperationKind = iota
	// OpAttention is scores and weighted sums of values: multiply-adds on blocks that stay in the cache.
	OpAttention
	// OpElementwise is what passes over activations once: norms, nonlinearities, softmax, sums of residuals.
	OpElementwise
	// OpUpdate is the optimizer's pass over weights, gradients and moments.
	OpUpdate
)

// Operation is a part of the work that has a time of its own.
type Operation struct {
	Name    string
	Kind    OperationKind
	Rows    int     // M of a product, as it is called: rows of a span, not of the batch
	FLOPs   float64 // two for a multiply-add, in products and attention
	Bytes   float64 // read and written: weights once for each call, activations once each way
	Matrix  float64 // of Bytes those of weight matrices
	Calls   int     // how often it is called
	Alone   bool    // each thread does calls of its own; otherwise each call is split over the threads
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
}

// Operations lists what the work consists of, summed over layers, in the order of a pass: from the matrices that the passes
// themselves multiply with and the constants that cut batches into spans. Where Train is not set, the FLOPs of all of them
// are Config.FLOPs times the tokens (with Heads = T and no Past); where it is, three times that and what Repeats.
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
	k.layers()
	k.head()
	if w.Train {
		k.update()
	}
	return k.out
}

// counter adds up operations; rows is N.
type counter struct {
	m    *Transformer
	c    Config
	w    Work
	rows int
	out  []Operation
}

// span is how many rows go through the layers together.
func (k *counter) span() int {
	target := k.m.spanRows(k.rows)
	if !k.w.Train && k.w.Heads < k.w.Tokens || k.w.Past > 0 {
		target = k.m.extendRows(k.rows)
	}
	return min(k.rows, max(k.w.Tokens, target))
}

// passes is 3 for training (forward, gradient of the input, gradient of the matrix), else 1.
func (k *counter) passes() float64 {
	if k.w.Train {
		return 3
	}
	return 1
}

// read is how many rows the last layer is left with behind its attention, see planes.narrow.
func (k *counter) read() float64 {
	if k.w.Train || k.w.Heads >= k.w.Tokens {
		return float64(k.rows)
	}
	return float64(k.w.Sequences * max(k.w.Heads, 1))
}

func (k *counter) layers() {
	n, L := float64(k.rows), k.c.Layers
	spans := (k.rows + k.span() - 1) / k.span()
	forward := Operation{Name: "layers, forward", Kind: OpProduct, Rows: k.span(), Alone: spans > 1 && !k.m.wide()}
	linears := k.m.body.linears()
	last, before := len(linears)-len(linears)/L, 0
	for i, l := range linears {
		size, rows := float64(l.in)*float64(l.out), n
		if i >= last { // of the last layer what comes after attention is computed where the heads read
			if before >= k.m.body.widths().qkv {
				rows = k.read()
			}
			before += l.out
		}
		forward.FLOPs += 2 * rows * size
		forward.Matrix += size * float64(k.w.Weight) * float64(spans)
		forward.Bytes += 4 * rows * float64(l.in+l.out)
	}
	forward.Bytes += forward.Matrix
	forward.Calls = spans * len(k.m.body.linears())
	k.out = append(k.out, forward)
	if k.w.Train {
		back := forward
		back.Name = "layers, gradients of inputs"
		grads := forward
		grads.Name, grads.Rows, grads.Alone = "layers, gradients of weights", k.rows, false
		grads.Matrix = 2 * forward.Matrix / float64(spans) // read and written
		grads.Bytes = forward.Bytes - forward.Matrix + grads.Matrix
		k.out = append(k.out, back, grads)
	}
	k.attention()
	k.elementwise(L)
}

// attention counts 4·C for each layer and position seen; backward is twice that, and computes the scores once more.
func (k *counter) attention() {
	n, C, seen := float64(k.rows), float64(k.c.Width), 0.0
	for l := range k.c.Layers {
		seen += meanSeenAfter(k.w.Past, k.w.Tokens, k.c.window(l))
	}
	kv := float64(k.c.KVHeads * k.c.headDim())
	a := Operation{Name: "attention", Kind: OpAttention, Rows: k.w.Tokens, FLOPs: 4 * C * seen * n, Calls: k.c.Layers}
	a.Bytes = 4 * 2 * (C + kv) * n * float64(k.c.Layers)
	if k.w.Past > 0 { // the cache is read once for each block of queries
		a.Bytes += 4 * 2 * kv * seen * n / float64(k.w.Tokens)
	}
	k.out = append(k.out, a)
	if !k.w.Train {
		return
	}
	back := a
	back.Name, back.FLOPs, back.Bytes = "attention, backward", 2*a.FLOPs, 2*a.Bytes
	again := a
	again.Name, again.FLOPs, again.Bytes, again.Calls, again.Repeats = "attention, scores again", a.FLOPs/2, 0, 0, true
	k.out = append(k.out, back, again)
}

// meanSeenAfter is meanSeen where past positions come before the T.
func meanSeenAfter(past, T, window int) float64 {
	if past == 0 {
		return meanSeen(T, window)
	}
	all := float64(past+T)*meanSeen(past+T, window) - float64(past)*meanSeen(past, window)
	return all / float64(T)
}

// elementwise counts reads and writes of rows: forward two norms (x and its norm), two sums (three each) and the
// nonlinearity (each width that enters and the one that leaves); backward about twice that.
func (k *counter) elementwise(L int) {
	w := k.m.body.widths()
	row := 2*2*k.c.Width + 2*3*k.c.Width + w.pre + w.up + k.c.Hidden
	e := Operation{Name: "norms, nonlinearity, sums", Kind: OpElementwise, Rows: k.span(), Bytes: 4 * float64(row) * float64(k.rows) * float64(L), Calls: 3 * L}
	if k.w.Train {
		e.Bytes *= k.passes()
	}
	k.out = append(k.out, e)
}

// head counts the LM head in blocks of rows; a batch with more logits than are kept computes them once more for Backward.
func (k *counter) head() {
	rows := k.w.Sequences * k.w.Heads
	if rows == 0 {
		return
	}
	V, C := float64(k.c.Vocab), float64(k.c.Width)
	blocks := (rows + headRows - 1) / headRows
	n := float64(rows)
	h := Operation{Name: "LM head", Kind: OpProduct, Rows: min(rows, headRows), FLOPs: 2 * n * V * C, Calls: blocks}
	h.Matrix = V * C * float64(k.w.Weight) * float64(blocks)
	h.Bytes = h.Matrix + 4*n*(V+C)
	soft := Operation{Name: "softmax", Kind: OpElementwise, Rows: h.Rows, Bytes: 4 * n * V, Calls: blocks}
	k.out = append(k.out, h)
	if k.w.Train {
		if int64(rows)*int64(k.c.Vocab) > keepLogits {
			again := h
			again.Name, again.Repeats = "LM head, logits again", true
			k.out = append(k.out, again)
		}
		back := h
		back.Name, back.FLOPs = "LM head, gradients", 2*h.FLOPs
		back.Matrix, back.Bytes, back.Calls = 3*h.Matrix, h.Bytes+2*h.Matrix, 2*blocks
		k.out = append(k.out, back)
		soft.Bytes *= 5 // softmax and its gradient, each read and written
	}
	k.out = append(k.out, soft)
}

// update counts AdamW: weight, gradient and two moments read and written, and the gradient once more for its norm.
func (k *counter) update() {
	n := float64(k.m.count(func(*Param) int64 { return 1 }))
	k.out = append(k.out, Operation{Name: "AdamW", Kind: OpUpdate, Bytes: 36 * n, Calls: 2 * len(k.m.params)})
}
