package kernel

import "math"

// int8Row says how a row x of A is rounded for products with FormInt8: x[k] = scale·(128·h[k] + l[k]) with h and l whole numbers
// within ±64, 14 bits together, two orders of magnitude finer than the weights. So with weights q, of which a word keeps q+128,
//
//	y[j] = scales[j]·scale·(128·H + L),  H = Σ h[k]·(q[k,j]+128) - high,  high = 128·Σ h[k],  and L alike
//
// where H and L are exact in 32 bits (for K up to 2¹⁷), 128·H + L is rounded once to float32, and each factor once more. A row that holds
// infinite or undefined numbers gives NaN.
type int8Row struct {
	high, low int32
	scale     float32
}

// int8Range is the largest magnitude of a rounded number: 128·64 - 1, so that no h exceeds 64.
const int8Range = 8191

// roundInt8 rounds x, four numbers to a word.
func roundInt8(high, low []uint32, x []float32) int8Row {
	top, finite := float32(0), true
	for _, v := range x {
		top = max(top, v, -v)
		finite = finite && v-v == 0
	}
	clear(high)
	clear(low)
	switch {
	case !finite:
		return int8Row{scale: float32(math.NaN())}
	case top == 0:
		return int8Row{}
	}
	scale := float64(top) / int8Range
	inverse := 1 / scale
	var h, l int32
	for k, v := range x {
		q := int32(math.RoundToEven(float64(v) * inverse))
		up := (q + 64) >> 7
		rest := q - up<<7
		h, l = h+up, l+rest
		high[k/4] |= uint32(uint8(up)) << (8 * (k % 4))
		low[k/4] |= uint32(uint8(rest)) << (8 * (k % 4))
	}
	return int8Row{high: 128 * h, low: 128 * l, scale: float32(scale)}
}

// runInt8Go computes row i of the 64 columns from j on, or adds to them.
func (w *Panels) runInt8Go(c []float32, j int, a *left, i int, acc bool) {
	var h, l [panelWidth]int32
	from := j * w.depth()
	for k := range w.depth() {
		up, down := a.high[i*a.ld+k], a.low[i*a.ld+k]
		for part := range 4 {
			x, y := int32(int8(up>>(8*part))), int32(int8(down>>(8*part)))
			if x == 0 && y == 0 {
				continue
			}
			for n := range h {
				q := w.int8(from+k*panelWidth+n, part)
				h[n], l[n] = h[n]+x*q, l[n]+y*q
			}
		}
	}
	for n := range h {
		v := float32(128*float64(float32(h[n])) + float64(float32(l[n])))
		v = float32(v * a.rows[i].scale)
		v = float32(v * w.scales[j+n])
		if acc {
			v += c[n]
		}
		c[n] = v
	}
}
