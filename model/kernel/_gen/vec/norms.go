package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func norms() {
	begin("sumDeviations", "(x *float32, n int, mean float32) float32", "returns the sum of (x[i]-mean)².")
	acc := accumulators()
	mean := broadcast("mean")
	reduce([]string{"x"}, 1, 1, func(v [][]VecVirtual, _ place, mask []Op) {
		for i, x := range v[0] {
			VSUBPS(mean, x, x)
			keep(mask[i], x)
			VFMADD231PS(x, x, acc[i])
		}
	})
	finish(join(acc, VADDPS))

	normalise("layerNorm", "(dst, x, w, b *float32, n int, mean, rstd float32)", "computes dst[i] = (x[i]-mean)·rstd·w[i] + b[i].", "x", "w", "b")
	normalise("rmsNorm", "(dst, x, w *float32, n int, mean, rstd float32)", "computes dst[i] = (x[i]-mean)·rstd·w[i].", "x", "w")

	begin("normSums", "(dy, x, w *float32, n int, mean, rstd float32) (a, b float32)", "returns the sums of dy[i]·w[i] and of dy[i]·w[i]·(x[i]-mean)·rstd.")
	a, b := accumulators(), accumulators()
	mean, rstd := broadcast("mean"), broadcast("rstd")
	reduce([]string{"dy", "x", "w"}, 3, 1, func(v [][]VecVirtual, _ place, _ []Op) {
		for i, g := range v[0] {
			x := v[1][i]
			VMULPS(v[2][i], g, g) // beyond n dy is zero
			hat(x, mean, rstd)
			VADDPS(g, a[i], a[i])
			VFMADD231PS(g, x, b[i])
		}
	})
	give(join(a, VADDPS), 0)
	finishAt(join(b, VADDPS), 1)

	begin("normInput", "(dx, dy, x, w *float32, n int, mean, rstd, a, b float32)", "computes dx[i] = rstd·(dy[i]·w[i] - a - (x[i]-mean)·rstd·b).")
	mean, rstd = broadcast("mean"), broadcast("rstd")
	shift, slope := broadcast("a"), broadcast("b")
	each([]string{"dy", "x", "w"}, []string{"dx"}, 2, func(v [][]VecVirtual) [][]VecVirtual {
		for i, g := range v[0] {
			x := v[1][i]
			hat(x, mean, rstd)
			VFMSUB132PS(v[2][i], shift, g)
			VFNMADD231PS(x, slope, g)
			VMULPS(rstd, g, g)
		}
		return v[:1]
	})
	normColumns()
}

// hat computes (x-mean)·rstd in place of x.
func hat(x, mean, rstd VecVirtual) {
	VSUBPS(mean, x, x)
	VMULPS(rstd, x, x)
}

// normalise generates the normalisation of a row by its weight and, if there are three slices, its bias.
func normalise(name, signature, doc string, in ...string) {
	begin(name, signature, doc)
	mean, rstd := broadcast("mean"), broadcast("rstd")
	each(in, []string{"dst"}, 2, func(v [][]VecVirtual) [][]VecVirtual {
		for i, x := range v[0] {
			hat(x, mean, rstd)
			if len(in) == 3 {
				VFMADD213PS(v[2][i], v[1][i], x)
			} else {
				VMULPS(v[1][i], x, x)
			}
		}
		return v[:1]
	})
}

// normColumns generates the sums over the rows for up to sixteen columns, which are kept in registers.
func normColumns() {
	begin("normColumns", "(dw, db, dy, x, mean, rstd *float32, rows, ld, n int)", "adds dy·(x-mean[i])·rstd[i] of all rows i to dw and dy to db, n (1 to 16) columns; mean may be nil, meaning zeros.")
	dw, db := Load(Param("dw"), GP64()), Load(Param("db"), GP64())
	dy, x := Load(Param("dy"), GP64()), Load(Param("x"), GP64())
	mean, rstd := Load(Param("mean"), GP64()), Load(Param("rstd"), GP64())
	rows, ld := Load(Param("rows"), GP64()), Load(Param("ld"), GP64())
	n := Load(Param("n"), GP64())
	SHLQ(Imm(2), ld)
	mask := masks(n, 2)
	var w, b [2]VecVirtual
	for h := range 2 {
		w[h], b[h] = YMM(), YMM()
		VMASKMOVPS(Mem{Base: dw, Disp: 32 * h}, mask[h], w[h])
		VMASKMOVPS(Mem{Base: db, Disp: 32 * h}, mask[h], b[h])
	}
	m, r := YMM(), YMM()
	VXORPS(m, m, m)
	Label("row")
	TESTQ(mean, mean)
	JZ(LabelRef("centred"))
	VBROADCASTSS(Mem{Base: mean}, m)
	ADDQ(Imm(4), mean)
	Label("centred")
	VBROADCASTSS(Mem{Base: rstd}, r)
	ADDQ(Imm(4), rstd)
	for h := range 2 {
		g, v := YMM(), YMM()
		VMASKMOVPS(Mem{Base: dy, Disp: 32 * h}, mask[h], g)
		VMASKMOVPS(Mem{Base: x, Disp: 32 * h}, mask[h], v)
		hat(v, m, r)
		VFMADD231PS(g, v, w[h])
		VADDPS(g, b[h], b[h])
	}
	ADDQ(ld, dy)
	ADDQ(ld, x)
	DECQ(rows)
	JNZ(LabelRef("row"))
	for h := range 2 {
		VMASKMOVPS(w[h], mask[h], Mem{Base: dw, Disp: 32 * h})
		VMASKMOVPS(b[h], mask[h], Mem{Base: db, Disp: 32 * h})
	}
	VZEROUPPER()
	RET()
}

func optimizer() {
	begin("adamW", "(p, grad, m, v *float32, n int, s *float32)", "makes one step of AdamW with the factors s, the fields of adamStep.")
	s := Load(Param("s"), GP64())
	var factor []VecVirtual
	for i := range 9 {
		y := YMM()
		VBROADCASTSS(Mem{Base: s, Disp: 4 * i}, y)
		factor = append(factor, y)
	}
	keep, step, beta1, rest1, beta2, rest2, root, eps, scale := factor[0], factor[1], factor[2], factor[3], factor[4], factor[5], factor[6], factor[7], factor[8]
	each([]string{"p", "grad", "m", "v"}, []string{"p", "m", "v"}, 1, func(x [][]VecVirtual) [][]VecVirtual {
		p, g, m, v := x[0][0], x[1][0], x[2][0], x[3][0]
		VMULPS(scale, g, g)
		VMULPS(beta1, m, m)
		VFMADD231PS(g, rest1, m)
		VMULPS(g, g, g)
		VMULPS(beta2, v, v)
		VFMADD231PS(g, rest2, v)
		VSQRTPS(v, g)
		VFMADD213PS(eps, root, g) // √v·root + eps
		q := YMM()
		VDIVPS(g, m, q)
		VMULPS(keep, p, p)
		VFNMADD231PS(q, step, p)
		return [][]VecVirtual{x[0], x[2], x[3]}
	})
}
