package main

import "github.com/rankloop/rankloop/model"

// weightsFlag says how the matrices of a model that is only read are kept.
type weightsFlag struct {
	Weights model.Weights `enum:"float32,bf16,int8" default:"float32" help:"How the model's matrices are kept in memory: float32 as they are, bf16 in half of it, int8 in a quarter (one scale per output). Less memory is faster for few sequences and moves probabilities a little."`
}
