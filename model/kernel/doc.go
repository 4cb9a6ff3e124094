// Package kernel holds the arithmetic of the models, float32 but where bfloat16 or eight bits are asked for: matrix products,
// attention, normalisations, activations, the optimizer's step, and the one parallel-for of the program. It knows nothing of models.
//
// Letters: M rows and N columns of a result, K the inner dimension; T positions, H query heads, KV key heads, D head width, C
// model width; ld a leading dimension, the number of elements from one row to the next. Everything is row-major float32.
//
// # Numbers
//
// Each element of a matrix product is one chain of fused multiply-adds over k in rising order, from zero or from what C held:
// s = fma(a[i,k], b[k,j], s). The chain is never split, not over threads, vector lanes or blocks; between blocks the partial
// sum rests in C. So an element's bits depend on its row of A and its column of B alone: not on the batch, the threads, the
// layout (NN, NT, TN), the tile or the instruction set, and what a decoder computes for one token equals what training
// computes for the same token in a batch of thousands.
//
// Products in mixed precision (NNMixed ...) are one chain too, over pairs of k, of factors that are rounded to bfloat16. Those of
// weights in eight bits (FormInt8) are exact sums of whole numbers, so that no order matters.
//
// Sums along a row (Dot, SumSquares, Softmax, the normalisations, the sums of attention's weights) run in sixteen lanes,
// element i in lane i mod 16, joined by halves: 16, 8, 4, 2, 1. The elementwise kernels give an element the same bits wherever
// it stands. Attention treats what a query may not see as weights of zero at both ends of its chains, which leave finite sums as
// they are; so a query's row does not depend on how many queries are worked on at once. Column sums (the gradients of the
// norms' weights) follow the order of the rows.
//
// # Classes
//
// Three classes of arithmetic exist (Class). "fma2" is the assembly for amd64, for processors with AVX2 and FMA; where there is
// AVX-512 that is used, to the same bits. "neon" is arm64: the products are assembly and have the bits of "fma2", all else is as in
// "portable". "portable" is plain Go and runs everywhere: a product and a sum are rounded one after the other, for fusing them is
// not to be had in Go at speed; the roundings are written out, so that no compiler fuses either. Within a class results are
// reproducible to the bit, between the classes to rounding, so what is to be continued bit for bit has to note its class. Where the
// bits of a class change, it gets a new name: in "fma", before "fma2", GELU came from exp.
// RANKLOOP_KERNEL=portable|avx2|avx512 lowers the choice (it cannot ask for what the processor lacks; avx512 is without the
// products of bfloat16 pairs and bytes, AVX512-BF16 and VNNI), the build tag noasm leaves the assembly out. Mixed precision and
// eight bits have the same bits in all classes.
//
// # Layout
//
// gemm.go has the products and how they are cut into tiles for the threads, gemm_amd64.go what amd64 does with a tile, gemm_portable.go
// the same in Go; gemm_arm64.go has both for NEON, with tiles of 8 × 12 from packed blocks of A and panels of B, written by hand.
// The tiles for amd64 are 8 × 48 (24 of the 32 AVX-512 registers hold sums) and 6 × 16 (12 of 16), with every
// smaller number of rows and vectors, so that no product is padded. A is read where it lies, by two strides, but copied for many rows
// if k runs down its columns; B is read where it
// lies for a few rows (for a single one along its rows, as memory likes it; for eight or less of the transposed layout in blocks that
// are turned in registers), otherwise panels of it (48 wide) are copied to consecutive memory, transposed in registers where the
// layout asks for it. walk_amd64.go has the walk over the blocks for few rows, blocks_amd64.go the one for many. Memory and arithmetic
// overlap: while a tile is computed it fetches what the next ones need, and with many rows it copies the next block of B, a row of a
// panel for four steps of the chain. These choices, and the blocks' sizes, were measured on Zen 4 and on Sapphire Rapids, where
// cache_amd64.go tells such cores apart.
//
// mixed.go has products in mixed precision: a word of 32 bits holds two numbers of consecutive k, and then the tiles and the walk are
// those of float32, with VDPBF16PS in place of the multiply-add. bf16.go has weights that are stored in bfloat16: arithmetic is
// float32 on blocks that are widened where they are used, so that a product has the bits of the product with the widened matrix.
// panels.go has weights that are only read, in float32, bfloat16 or eight bits (one, two or four k to a word), laid out once so
// that a product for few rows reads them from one end to the other.
//
// The elementwise functions come from one polynomial exp (Cephes' expf), in assembly gelu from one of powers of two; gelu and silu
// are quotients x/(1+exp(-t)), which need no tanh. vec.go has the functions, vec_portable.go their plain form, dispatch_*.go the choice. The blocked products follow
// K. Goto and R. van de Geijn, Anatomy of High-Performance Matrix Multiplication (2008).
//
// The files *_kernels_amd64.* are generated by the programs in _gen, a module of its own, so that users of this one do not
// inherit its dependencies. go generate writes them anew; the result must equal what is committed.
//
// The race detector does not see into assembly: under -race every function that may call it announces what it reads and writes
// (race.go), and a test has each of them take part in a race that must be reported.
//
// Parallel is the only place that starts goroutines. One call at a time gets the threads; nested or simultaneous calls run
// inline, which no result depends on. Who has helped looks for the next call for 100 µs before it ends, because that is what starting
// another goroutine on a sleeping processor takes: between the many short products of a small model nobody sleeps.
package kernel

//go:generate go run -C _gen ./gemm -out ../gemm_kernels_amd64.s -stubs ../gemm_kernels_amd64.go -pkg kernel
//go:generate go run -C _gen ./vec -out ../vec_kernels_amd64.s -stubs ../vec_kernels_amd64.go -pkg kernel
