package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// maps are the elementwise functions of x (and dy) with their mathematics.
var maps = []struct {
	name  string
	run   func(dst, x, dy []float32)
	want  func(x, dy float64) float64
	reach float64 // test arguments are in ±reach
	rel   float64 // tolerance, relative to the result
	abs   float64 // and absolute
}{
	{"Exp", func(dst, x, _ []float32) { Exp(dst, x) }, func(x, _ float64) float64 { return math.Exp(x) }, 110, 1.3e-7, 1.5e-45},
	{"GELU", func(dst, x, _ []float32) { GELU(dst, x) }, func(x, _ float64) float64 { return geluExact(x) }, 12, 3e-7, 2e-7},
	{"GELUBackward", GELUBackward, func(x, dy float64) float64 { return dy * slope(geluExact, x) }, 12, 4e-7, 4e-7},
	{"SiLU", func(dst, x, _ []float32) { SiLU(dst, x) }, func(x, _ float64) float64 { return siluExact(x) }, 100, 3e-7, 1e-36},
	{"SiLUBackward", SiLUBackward, func(x, dy float64) float64 { return dy * slope(siluExact, x) }, 100, 4e-7, 4e-7},
}

func geluExact(x float64) float64 {
	return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

func siluExact(x float64) float64 { return x / (1 + math.Exp(-x)) }

// slope is the derivative by differences of fourth order.
func slope(f func(float64) float64, x float64) float64 {
	const h = 1e-3
	return (8*(f(x+h)-f(x-h)) - (f(x+2*h) - f(x-2*h))) / (12 * h)
}

func TestMaps(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(21, 22))
		for _, m := range maps {
			worst := 0.0
			for n := range 70 {
				dst, intact := guarded(t, n, n%5)
				x, dy := make([]float32, n), randoms(rng, n)
				for i := range x {
					x[i] = float32((2*rng.Float64() - 1) * m.reach)
					if n%2 == 0 {
						x[i] = float32(rng.NormFloat64())
					}
				}
				m.run(dst, x, dy)
				intact()
				for i := range x {
					want := m.want(float64(x[i]), float64(dy[i]))
					d := math.Abs(float64(dst[i]) - want)
					if want > math.MaxFloat32 {
						if !math.IsInf(float64(dst[i]), 1) && want > math.MaxFloat32*(1+1e-7) {
							t.Fatalf("%s(%v) = %v, want +Inf", m.name, x[i], dst[i])
						}
						continue
					}
					if !(d <= m.rel*math.Abs(want)+m.abs) {
						t.Fatalf("%s(%v) = %v, want %v", m.name, x[i], dst[i], want)
					}
					worst = max(worst, (d-m.abs)/math.Abs(want))
					one := []float32{0}
					m.run(one, x[i:i+1], dy[i:i+1])
					if !same(one[0], dst[i]) {
						t.Fatalf("%s(%v) is %v alone and %v as element %d of %d", m.name, x[i], one[0], dst[i], i, n)
					}
				}
				again := append([]float32(nil), x...)
				if m.name == "GELUBackward" || m.name == "SiLUBackward" {
					again = append([]float32(nil), dy...)
					m.run(again, x, again)
				} else {
					m.run(again, again, nil)
				}
				for i := range again {
					if !same(again[i], dst[i]) {
						t.Fatalf("%s in place differs at %d of %d", m.name, i, n)
					}
				}
			}
			t.Logf("%s: relative error %.2g", m.name, worst)
		}
	})
}

func TestMapsNotFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachLevel(t, func(t *testing.T, fused bool) {
		for _, c := range []struct {
			name    string
			f       func(dst, x []float32)
			x, want float32
		}{
			{"Exp", Exp, inf, inf}, {"Exp", Exp, -inf, 0}, {"Exp", Exp, nan, nan}, {"Exp", Exp, 0, 1}, {"Exp", Exp, 88.8, inf}, {"Exp", Exp, -104, 0}, {"Exp", Exp, 1e30, inf}, {"Exp", Exp, -1e30, 0},
			{"GELU", GELU, inf, inf}, {"GELU", GELU, -inf, nan}, {"GELU", GELU, nan, nan}, {"GELU", GELU, 50, 50}, {"GELU", GELU, 1e20, 1e20}, {"GELU", GELU, 0, 0},
			{"SiLU", SiLU, inf, inf}, {"SiLU", SiLU, -inf, nan}, {"SiLU", SiLU, nan, nan}, {"SiLU", SiLU, 1e20, 1e20},
			{"GELUBackward", func(dst, x []float32) { dst[0] = 3; GELUBackward(dst, x, dst) }, 1e30, 3},
			{"GELUBackward", func(dst, x []float32) { dst[0] = 3; GELUBackward(dst, x, dst) }, nan, nan},
			{"SiLUBackward", func(dst, x []float32) { dst[0] = 3; SiLUBackward(dst, x, dst) }, 1e30, 3},
			{"SiLUBackward", func(dst, x []float32) { dst[0] = 3; SiLUBackward(dst, x, dst) }, nan, nan},
		} {
			got := []float32{0}
			c.f(got, []float32{c.x})
			if !same(got[0], c.want) {
				t.Errorf("%s(%v) = %v, want %v", c.name, c.x, got[0], c.want)
			}
		}
		for _, x := range []float32{-1e20, -1e30} {
			got := []float32{1}
			GELUBackward(got, []float32{x}, got)
			if !(math.Abs(float64(got[0])) < 1e-30) {
				t.Errorf("GELUBackward(%v) = %v, want 0", x, got[0])
			}
			GELU(got, []float32{x})
			if !(math.Abs(float64(got[0])) < 1e-30) {
				t.Errorf("GELU(%v) = %v, want 0", x, got[0])
			}
		}
	})
}

func TestArithmetic(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		fused := Class() == "fma2"
		rng := rand.New(rand.NewPCG(23, 24))
		for n := range 70 {
			x, y := randoms(rng, n), randoms(rng, n)
			for name, c := range map[string]struct {
				run  func(dst []float32)
				want func(i int) float32
			}{
				"Add":   {func(dst []float32) { Add(dst, y) }, func(i int) float32 { return x[i] + y[i] }},
				"Mul":   {func(dst []float32) { Mul(dst, y) }, func(i int) float32 { return x[i] * y[i] }},
				"Scale": {func(dst []float32) { Scale(dst, .3) }, func(i int) float32 { return x[i] * .3 }},
				"Axpy": {func(dst []float32) { Axpy(dst, .3, y) }, func(i int) float32 {
					if fused {
						return fma(.3, y[i], x[i])
					}
					return x[i] + float32(.3*y[i])
				}},
			} {
				dst, intact := guarded(t, n, n%3)
				copy(dst, x)
				c.run(dst)
				intact()
				for i := range dst {
					if dst[i] != c.want(i) {
						t.Fatalf("%s: element %d of %d is %v, want %v", name, i, n, dst[i], c.want(i))
					}
				}
			}
		}
	})
}

// The sums go by sixteen lanes, joined by halves; the assembly fuses products and sums.
func TestReductions(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		fused := Class() == "fma2"
		rng := rand.New(rand.NewPCG(25, 26))
		for _, n := range []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 100, 257, 1000} {
			x, y := randoms(rng, n+3)[3:], randoms(rng, n+1)[1:]
			var d, s, v lanes
			largest := float32(math.Inf(-1))
			for i := range x {
				l, dev := i%16, x[i]-.25
				s[l] += x[i]
				largest = max(largest, x[i])
				if fused {
					d[l], v[l] = fma(x[i], y[i], d[l]), fma(dev, dev, v[l])
				} else {
					d[l], v[l] = d[l]+float32(x[i]*y[i]), v[l]+float32(dev*dev)
				}
			}
			if got, want := Dot(x, y), d.sum(); got != want {
				t.Fatalf("Dot of %d: %v, want %v", n, got, want)
			}
			if got, want := Sum(x), s.sum(); got != want {
				t.Fatalf("Sum of %d: %v, want %v", n, got, want)
			}
			if got, want := sumDeviations(x, .25), v.sum(); got != want {
				t.Fatalf("sum of the deviations of %d: %v, want %v", n, got, want)
			}
			if got, want := SumSquares(x), sumSquaresGo(x); got != want {
				t.Fatalf("SumSquares of %d: %v, want %v", n, got, want)
			}
			if got := maximum(x); got != largest {
				t.Fatalf("maximum of %d: %v, want %v", n, got, largest)
			}
			for i := range x {
				x[i] -= 100 // none above zero, so that padding would be seen
			}
			if got := maximum(x); n > 0 && got != maximumGo(x) {
				t.Fatalf("maximum of %d: %v, want %v", n, got, maximumGo(x))
			}
			e := make([]float32, n)
			total := expSum(e, x, .5, -40)
			var l lanes
			for i, v := range e {
				want := math.Exp(.5*float64(x[i]) + 40)
				if math.Abs(float64(v)-want) > 5e-6*want {
					t.Fatalf("expSum: element %d of %d is %v, want %v", i, n, v, want)
				}
				l[i%16] += v
			}
			if want := l.sum(); total != want || expTotal(x, .5, -40) != want {
				t.Fatalf("expSum of %d: %v, want %v", n, total, want)
			}
		}
	})
}

// TestExponents: they are those of Softmax but for a factor, and what comes with them has the bits of LogSumExp.
func TestExponents(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		rng := rand.New(rand.NewPCG(27, 28))
		inf, nan := float32(math.Inf(1)), float32(math.NaN())
		odd := [][]float32{{}, {3}, {-inf, -inf}, {1, inf}, {nan, 2}, {-inf, 4, -inf}, {1e30, -1e30}}
		for n := 1; n < 200; n += 7 {
			odd = append(odd, randoms(rng, n))
		}
		for _, x := range odd {
			dst, prob := make([]float32, len(x)), make([]float32, len(x))
			got, want := Exponents(dst, x, 1), LogSumExp(x)
			if math.Float32bits(got) != math.Float32bits(want) && !(got != got && want != want) {
				t.Errorf("Exponents(%v) returns %v, LogSumExp %v", x, got, want)
			}
			if math.IsInf(float64(want), 0) || want != want {
				continue
			}
			total := Sum(dst)
			Softmax(prob, x, 1)
			for i := range prob {
				if d := math.Abs(float64(dst[i]/total - prob[i])); d > 1e-6*float64(prob[i]) {
					t.Errorf("element %d of %d is %v, want %v", i, len(x), dst[i]/total, prob[i])
				}
			}
			Exponents(x, x, 1)
			if !slices.Equal(x, dst) {
				t.Errorf("Exponents in place differs for %d elements", len(x))
			}
		}
	})
}

func TestSoftmax(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(27, 28))
		for n := 1; n < 80; n++ {
			for _, scale := range []float32{1, .125, -2, 30} {
				x := randoms(rng, n)
				for i := range x {
					x[i] = 10*x[i] + 50
				}
				if n > 3 {
					x[n/2] = -inf
				}
				if scale < 0 && n > 3 {
					x[n/2] = inf
				}
				var total, largest float64
				largest = math.Inf(-1)
				for _, v := range x {
					largest = max(largest, float64(scale)*float64(v))
				}
				for _, v := range x {
					total += math.Exp(float64(scale)*float64(v) - largest)
				}
				dst, intact := guarded(t, n, 1)
				Softmax(dst, x, scale)
				intact()
				for i, v := range x {
					want := math.Exp(float64(scale)*float64(v)-largest) / total
					// The argument of exp is rounded at the size of scale·x.
					if tol := 1e-6 + 3e-7*math.Abs(largest); math.Abs(float64(dst[i])-want) > tol*want+1e-30 {
						t.Fatalf("Softmax of %d at scale %v: element %d is %v, want %v", n, scale, i, dst[i], want)
					}
				}
				if scale == 1 {
					if got, want := LogSumExp(x), largest+math.Log(total); math.Abs(float64(got)-want) > 1e-6*math.Abs(want) {
						t.Fatalf("LogSumExp of %d: %v, want %v", n, got, want)
					}
				}
				Softmax(x, x, scale)
				for i := range x {
					if !same(x[i], dst[i]) {
						t.Fatalf("Softmax in place differs at %d of %d", i, n)
					}
				}
			}
		}
		for _, x := range [][]float32{{1, nan, 2}, {-inf, -inf}, {nan}, {inf, 1}} {
			dst := make([]float32, len(x))
			Softmax(dst, x, 1)
			if dst[0] == dst[0] {
				t.Errorf("Softmax(%v) = %v, want NaN", x, dst)
			}
		}
		for _, c := range []struct {
			x    []float32
			want float32
		}{{nil, -inf}, {[]float32{-inf, -inf}, -inf}, {[]float32{1, inf}, inf}, {[]float32{1, nan}, nan}, {[]float32{-inf, nan}, nan}, {[]float32{3}, 3}, {[]float32{1000, 1000}, 1000.69315}} {
			if got := LogSumExp(c.x); !same(got, c.want) && !(math.Abs(float64(got-c.want)) < 1e-4) {
				t.Errorf("LogSumExp(%v) = %v, want %v", c.x, got, c.want)
			}
		}
	})
}

// AdamW against its formula in float64, over several steps.
func TestAdamW(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(29, 30))
		const lr, beta1, beta2, eps, decay, gradScale = 1e-2, .9, .95, 1e-8, .1, .5
		for _, n := range []int{0, 1, 7, 8, 13, 100} {
			p, intact := guarded(t, n, 2)
			copy(p, randoms(rng, n))
			m, v := make([]float32, n), make([]float32, n)
			wp, wm, wv := make([]float64, n), make([]float64, n), make([]float64, n)
			for i := range p {
				wp[i] = float64(p[i])
			}
			for step := 1; step <= 5; step++ {
				g := randoms(rng, n)
				kept := append([]float32(nil), g...)
				bc1, bc2 := 1-math.Pow(beta1, float64(step)), 1-math.Pow(beta2, float64(step))
				AdamW(p, g, m, v, lr, beta1, beta2, eps, decay, float32(bc1), float32(bc2), gradScale)
				for i := range p {
					d := gradScale * float64(g[i])
					wm[i] = beta1*wm[i] + (1-beta1)*d
					wv[i] = beta2*wv[i] + (1-beta2)*d*d
					wp[i] -= lr*decay*wp[i] + lr*(wm[i]/bc1)/(math.Sqrt(wv[i]/bc2)+eps)
					if math.Abs(float64(p[i])-wp[i]) > 1e-6 || math.Abs(float64(m[i])-wm[i]) > 1e-6 || math.Abs(float64(v[i])-wv[i]) > 1e-6 {
						t.Fatalf("step %d, parameter %d of %d: %v %v %v, want %v %v %v", step, i, n, p[i], m[i], v[i], wp[i], wm[i], wv[i])
					}
					if g[i] != kept[i] {
						t.Fatal("the gradient was changed")
					}
				}
			}
			intact()
		}
	})
}

func TestLog(t *testing.T) {
	rng := rand.New(rand.NewPCG(53, 54))
	worst := 0.0
	for range 200000 {
		v := float32(math.Exp(rng.Float64()*170 - 85))
		if rng.IntN(2) == 0 {
			v = 1 + float32(rng.NormFloat64())*.01
		}
		want := math.Log(float64(v))
		worst = max(worst, math.Abs(float64(log(v))-want)/max(math.Abs(want), 1e-30))
	}
	if worst > 6.2e-8 {
		t.Errorf("relative error %.3g", worst)
	}
	for _, v := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		if got := log(v); !same(got, v) {
			t.Errorf("log(%v) = %v", v, got)
		}
	}
	if log(1) != 0 {
		t.Errorf("log(1) = %v", log(1))
	}
}
