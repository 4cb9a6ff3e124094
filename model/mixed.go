package model

// SetMixed chooses mixed precision: products with the layers' matrices and the LM head round both factors to bfloat16, on the way
// forward and back, and add up in float32 (kernel.NNMixed); embeddings are rounded where they are read. Weights, gradients, moments
// and all else stay float32: attention, norms, nonlinearities, softmax, adapters, a scalar head. (Micikevicius et al. 2018;
// bfloat16 needs no scaling of the loss: Kalamkar et al. 2019.) A model whose weights are stored in BF16, or packed, goes on as before.
//
// A row's bits still depend on that row alone, and they are those of a copy that is packed as WeightsBF16.
func (m *Transformer) SetMixed(on bool) {
	m.mixed = on
	for _, p := range m.matrices() {
		p.mixed = on
	}
}

// Mixed says whether products are in mixed precision.
func (m *Transformer) Mixed() bool { return m.mixed }

// matrices are the family's tensors that may be kept in bfloat16: not vectors, adapters, a scalar head.
func (m *Transformer) matrices() (all []*Param) {
	for _, p := range m.params[:len(families[m.cfg.Family].specs(m.cfg))] {
		if len(p.Shape) >= 2 {
			all = append(all, p)
		}
	}
	return all
}
