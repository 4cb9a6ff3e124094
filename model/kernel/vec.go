package kernel

import "math"

// Exp computes dst[i] = exp(x[i]), within 2 units in the last place, also for subnormal results; dst may be x. len(x) >= len(dst).
func Exp(dst, x []float32) { exp(dst, x[:len(dst)]) }

// GELU computes dst[i] = x/2·(1+tanh(√(2/π)·(x+0.044715x³))), the activation of GPT-2 ("gelu_new"); dst may be x.
func GELU(dst, x []float32) { gelu(dst, x[:len(dst)]) }

// GELUBackward computes dx[i] = dy[i]·gelu'(x[i]); dx may be dy.
func GELUBackward(dx, x, dy []float32) { geluBackward(dx, x[:len(dx)], dy[:len(dx)]) }

// SiLU computes dst[i] = x/(1+exp(-x)); dst may be x.
func SiLU(dst, x []float32) { silu(dst, x[:len(dst)]) }

// SiLUBackward computes dx[i] = dy[i]·silu'(x[i]); dx may be dy.
func SiLUBackward(dx, x, dy []float32) { siluBackward(dx, x[:len(dx)], dy[:len(dx)]) }

// Add computes dst[i] += x[i].
func Add(dst, x []float32) { add(dst, x[:len(dst)]) }

// Mul computes dst[i] *= x[i].
func Mul(dst, x []float32) { mul(dst, x[:len(dst)]) }

// Scale computes dst[i] *= s.
func Scale(dst []float32, s float32) { scaleBy(dst, s) }

// Axpy computes dst[i] += a·x[i].
func Axpy(dst []float32, a float32, x []float32) { axpy(dst, a, x[:len(dst)]) }

// Dot returns the sum of a[i]·b[i], added up in 16 lanes that are joined in a fixed order. len(b) >= len(a).
func Dot(a, b []float32) float32 { return dot(a, b[:len(a)]) }

// Sum returns the sum of x[i], added up in 16 lanes that are joined in a fixed order.
func Sum(x []float32) float32 { return sum(x) }

// SumSquares returns the sum of x[i]² in float64, added up in 16 lanes that are joined in a fixed order.
func SumSquares(x []float32) float64 { return sumSquares(x) }

// Softmax writes softmax(scale·x) of one row to dst; dst may be x. A row without any finite element gives NaN.
func Softmax(dst, x []float32, scale float32) {
	if len(dst) == 0 {
		return
	}
	x = x[:len(dst)]
	if scale < 0 { // the largest of scale·x is then not where the largest x is
		for i, v := range x {
			dst[i] = scale * v
		}
		x, scale = dst, 1
	}
	sum := expSum(dst, x, scale, float32(scale*maximum(x)))
	scaleBy(dst, 1/sum)
}

// Exponents writes exp(scale·x[i]), divided by the largest of them, to dst, and returns log(sum of exp(scale·x[i])), with scale 1 to the
// bit what LogSumExp(x) returns. dst may be x; scale is positive.
func Exponents(dst, x []float32, scale float32) float32 {
	if len(dst) == 0 {
		return float32(math.Inf(-1))
	}
	x = x[:len(dst)]
	shift := scale * maximum(x)
	if math.IsInf(float64(shift), 0) {
		lse := LogSumExp(x)
		expSum(dst, x, scale, shift)
		return lse
	}
	return shift + log(expSum(dst, x, scale, shift))
}

// LogSumExp returns log(sum of exp(x[i])), and -Inf for no elements.
func LogSumExp(x []float32) float32 {
	if len(x) == 0 {
		return float32(math.Inf(-1))
	}
	m := maximum(x)
	if math.IsInf(float64(m), 0) {
		for _, v := range x {
			if v != v {
				return v
			}
		}
		return m
	}
	return m + log(expTotal(x, 1, m))
}

// log returns the natural logarithm of a positive, finite and normal number or of NaN, the same in every class: v = 2ⁿ·f with f
// in [√½,√2), log f = 2·artanh(s), s = (f-1)/(f+1), in float64 by the series up to s¹¹; the rest is below 3e-10 of it. (math.Log
// takes four times as long.)
func log(v float32) float32 {
	if v != v || v > math.MaxFloat32 {
		return v
	}
	bits := math.Float32bits(v)
	n := (bits - math.Float32bits(math.Sqrt2/2)) >> 23 // the exponent of v/√½, floored
	f := float64(math.Float32frombits(bits - n<<23))
	s := (f - 1) / (f + 1)
	z := s * s
	p := float64(z*(2./11)) + 2./9
	p = float64(p*z) + 2./7
	p = float64(p*z) + 2./5
	p = float64(p*z) + 2./3
	p = float64(p*z) + 2
	return float32(float64(p*s) + float64(float64(int32(n<<23)>>23)*math.Ln2))
}

// AdamW makes one step of AdamW (Loshchilov and Hutter 2019, algorithm 2, in PyTorch's arrangement) on the parameters p with gradient g and moments m, v, all of one length:
//
//	g = gradScale·g
//	m = beta1·m + (1-beta1)·g
//	v = beta2·v + (1-beta2)·g²
//	p = (1-lr·decay)·p - lr · (m/bc1) / (√(v/bc2) + eps)
//
// bc1 = 1-beta1^t and bc2 = 1-beta2^t correct the bias of the moments at step t. g is left as it was.
func AdamW(p, g, m, v []float32, lr, beta1, beta2, eps, decay, bc1, bc2, gradScale float32) {
	n := len(p)
	s := adamStep{
		keep: float32(1 - float64(lr)*float64(decay)), step: float32(float64(lr) / float64(bc1)),
		beta1: beta1, rest1: float32(1 - float64(beta1)), beta2: beta2, rest2: float32(1 - float64(beta2)),
		root: float32(1 / math.Sqrt(float64(bc2))), eps: eps, scale: gradScale,
	}
	adamW(p, g[:n], m[:n], v[:n], &s)
}

// adamStep are the factors of one AdamW step; the assembly reads the fields in this order.
type adamStep struct{ keep, step, beta1, rest1, beta2, rest2, root, eps, scale float32 }
