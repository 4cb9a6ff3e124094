//go:build !amd64 || noasm

package kernel

func mixedIsFast() bool                                        { return false }
func (p *product) leftSize() int                               { return p.leftSizeGo() }
func (p *product) roundLeft(left []float32, lo, hi int)        { p.roundLeftGo(left, lo, hi) }
func (p *product) splitMixed(threads int) (rows, cols int)     { return p.split(threads) }
func (p *product) runMixed(left []float32, i0, i1, j0, j1 int) { p.runMixedGo(left, i0, i1, j0, j1) }

func mixedLoop(rounds int) int64 { return fmaLoop(rounds) }
