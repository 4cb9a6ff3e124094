package model_test

import (
	"testing"

	"github.com/rankloop/rankloop/model/mutant"
)

// edit replaces the only place where a file of this package, or of the kernels below it, says old.
type edit struct{ file, old, new string }

// mutants are mistakes that one could make in the decoder, one or two edits each. What
// the reference numbers do not notice is not held by them.
var mutants = []struct {
	name  string
	edits []edit
}{
	{"the mask lets the next position through", []edit{
		{"kernel/attention.go", "bandStart(first+r, window)-from, first+r+1-from", "bandStart(first+r, window)-from, min(first+r+2-from, seen)"}}},
	{"the mask lets the next position through on the way back", []edit{
		{"kernel/attention.go", "bandStart(i+r, window)-from, i+r+1-from", "bandStart(i+r, window)-from, min(i+r+2-from, seen)"}}},
	{"a cached position does not see itself", []edit{
		{"kernel/attention_cached.go", "width, live := roundUp(Tk-from, 16), Tk-start", "width, live := roundUp(Tk-from, 16), max(Tk-start-1, 1)"}}},
	{"attention is not scaled by the head width", []edit{
		{"work.go", "math.Sqrt(float64(c.headDim()))", "math.Sqrt(float64(c.Width))"}}},
	{"the gradient of the scores is not scaled", []edit{
		{"kernel/attention.go", "grad[start:end], delta, scale)", "grad[start:end], delta, 1)"}}},
	{"the band is one position wider", []edit{{"kernel/attention.go", "max(0, pos-window+1)", "max(0, pos-window)"}}},
	{"the first layer is banded, not the second", []edit{{"family_gpt3.go", "if l%2 == 0 {", "if l%2 == 1 {"}}},
	{"rotary pairs are neighbours, not halves", []edit{
		{"rope.go", "p, q, s := a[i], b[i], sin[i]\n\t\t\t\t\ta[i], b[i] = p*c+q*s, q*c-p*s",
			"y := w.x[r*w.ld+h*w.D+2*i:]; p, q, s := y[0], y[1], sin[i]\n\t\t\t\t\ty[0], y[1] = p*c+q*s, q*c-p*s; _, _ = a, b"},
		{"rope.go", "p, q, s := a[i], b[i], sin[i]\n\t\t\t\ta[i], b[i] = p*c-q*s, q*c+p*s",
			"y := w.x[r*w.ld+h*w.D+2*i:]; p, q, s := y[0], y[1], sin[i]\n\t\t\t\ty[0], y[1] = p*c-q*s, q*c+p*s; _, _ = a, b"}}},
	{"the rotary gradient turns forward", []edit{{"rope.go", "p*c+q*s, q*c-p*s", "p*c-q*s, q*c+p*s"}}},
	{"linear rotary scaling is left out", []edit{{"rope.go", "return freq / s.Factor", "return freq"}}},
	{"llama3's middle frequencies are not blended", []edit{
		{"rope.go", "(turns-s.LowFreq)/(s.HighFreq-s.LowFreq)", "float64(int(turns/s.HighFreq))"}}},
	{"llama3's low frequencies are not scaled", []edit{{"rope.go", "(1-keep)*freq/s.Factor", "(1-keep)*freq"}}},
	{"LayerNorm's epsilon is a tenth", []edit{
		{"family_gpt2.go", "eps: float32(m.cfg.NormEps)", "eps: float32(m.cfg.NormEps / 10)"}}},
	{"LayerNorm's epsilon stands outside the root", []edit{
		{"kernel/norm.go", "r := inverseRoot(sumDeviations(row, m)/float32(n.C) + n.eps)", "r := 1 / (1/inverseRoot(sumDeviations(row, m)/float32(n.C)) + n.eps)"}}},
	{"RMSNorm's epsilon is a tenth", []edit{{"family_llama.go", "eps: float32(c.NormEps)", "eps: float32(c.NormEps / 10)"}}},
	{"an untied head is the embedding", []edit{{"family_llama.go", "if !c.Tied {\n\t\tg.lmHead", "if c.Tied {\n\t\tg.lmHead"}}},
	{"square Conv1D matrices are transposed", []edit{
		{"family_gpt2.go", "in: in, out: out}", "in: in, out: out, outIn: in == out}"}}},
	{"gpt1's MLP reads what ln_1 was given", []edit{{"family_gpt1.go", "b.fc.forward(a.pre, F, a.n1, C, n, p.ahead)", "b.fc.forward(a.pre, F, a.mid, C, n, p.ahead)"}}},
	{"queries, keys and values have no bias", []edit{{"family_llama.go", "b: m.Param(name + \".bias\"), in: in", "b: nil, in: in"}}},
	{"no gradient of the embedding as an input", []edit{{"family_gpt2.go", "scatterRows(g.wte.grad(), dx, ids, g.cfg.Width)", ""}}},
	{"no gradient of the positions", []edit{{"family_gpt2.go", "scatterRows(g.wpe.grad(), dx, pos, g.cfg.Width)", ""}}},
	{"no gradient of the head", []edit{{"heads.go", "if !W.Frozen {", "if false {"}}},
	{"no gradient of Llama's embedding", []edit{{"family_llama.go", "scatterRows(g.tokens.grad(), dx, ids, g.cfg.Width)", ""}}},
	{"no gradient of norms' weights", []edit{{"norm.go", "sumRows(n.w.grad(), share, 2*C, len(share)/(2*C))", "_ = n.w.grad()"}}},
	{"no gradient of norms' biases", []edit{{"norm.go", "sumRows(n.b.grad(), share[C:], 2*C, len(share)/(2*C))", "_ = n.b.grad()"}}},
	{"no gradient of Conv1D matrices", []edit{{"linear.go", "l.w.addProduct(l.in, l.out, rows, x, ldx, dy, lddy)", "_ = l.w.grad()"}}},
	{"no gradient of Llama's matrices", []edit{{"linear.go", "l.w.addProduct(l.out, l.in, rows, dy, lddy, x, ldx)", "_ = l.w.grad()"}}},
	{"no gradient of biases", []edit{{"linear.go", "sumRows(l.b.grad(), dy, lddy, rows)", "_ = l.b.grad()"}}},
	{"weights decay in vectors too", []edit{{"adamw.go", "if len(p.Shape) < 2 {", "if len(p.Shape) < 1 {"}}},
}

// TestMutants demands of each mistake that TestReference notices it.
func TestMutants(t *testing.T) {
	var all []mutant.Mutant
	for _, m := range mutants {
		x := mutant.Mutant{Name: m.name, Red: "TestReference"}
		for _, e := range m.edits {
			x.Edits = append(x.Edits, mutant.Edit{File: e.file, Old: e.old, New: e.new})
		}
		all = append(all, x)
	}
	mutant.Run(t, all)
}
