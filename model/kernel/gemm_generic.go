//go:build (!amd64 && !arm64) || noasm

package kernel

// Without assembly every kernel is the portable one.

// Class names the arithmetic of the kernels in use: here always "portable".
func Class() string { return "portable" }

func (p *product) split(threads int) (rows, cols int) { return p.splitGo(threads) }
func (p *product) run(i0, i1, j0, j1 int)             { p.runGo(i0, i1, j0, j1) }
func (p *product) runHalfDirect(_, _, j0, _ int) int  { return j0 }

func fmaLoop(rounds int) int64     { return fmaLoopGo(rounds) }
func readLoop(x []float32) float32 { return readLoopGo(x) }
