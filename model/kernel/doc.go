// Package kernel holds the float32 arithmetic of the models: matrix products, attention, normalisations, activations, the
// optimizer's step, and the one parallel-for of the program. It knows nothing of models.
//
// Letters: M rows and N columns of a result, K the inner dimension; T positions, H heads, D head width, C model width; ld a
// leading dimension, the number of elements from one row to the next. Everything is row-major float32.
package kernel
