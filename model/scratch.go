package model

import (
	"slices"

	"github.com/rankloop/rankloop/model/kernel"
)

// scratch returns n floats of undefined content; recycle gives them back.
func (m *Transformer) scratch(n int) *[]float32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	best := -1 // the smallest that is large enough
	for i, b := range m.buffers {
		if cap(*b) >= n && (best < 0 || cap(*b) < cap(*m.buffers[best])) {
			best = i
		}
	}
	if best >= 0 {
		b := m.buffers[best]
		m.buffers = slices.Delete(m.buffers, best, best+1)
		*b = (*b)[:n]
		return b
	}
	b := kernel.Floats(n)
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

// takeExtension returns an extension without groups; giveExtension gives it back.
func (m *Transformer) takeExtension() *extension {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.extensions); n > 0 {
		w := m.extensions[n-1]
		m.extensions = m.extensions[:n-1]
		return w
	}
	return &extension{m: m}
}

func (m *Transformer) giveExtension(w *extension) {
	w.caches, w.ids, w.all, w.ends, w.each = nil, nil, nil, w.ends[:0], nil
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.extensions) < maxSpare {
		m.extensions = append(m.extensions, w)
	}
}
