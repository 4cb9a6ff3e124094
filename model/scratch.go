package model

// scratch returns n floats of undefined content; recycle gives them back.
func (m *Transformer) scratch(n int) *[]float32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, b := range m.buffers {
		if cap(*b) >= n {
			last := len(m.buffers) - 1
			m.buffers[i] = m.buffers[last]
			m.buffers = m.buffers[:last]
			*b = (*b)[:n]
			return b
		}
	}
	b := make([]float32, n)
	return &b
}

func (m *Transformer) recycle(b *[]float32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.buffers) < 2*maxSpare {
		m.buffers = append(m.buffers, b)
		return
	}
	for i, c := range m.buffers { // the largest ones stay
		if cap(*c) < cap(*b) {
			m.buffers[i] = b
			return
		}
	}
}
