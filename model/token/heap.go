package token

// heap is a heap with four children to a node, which misses the cache less often
// than one with two: pop gives the element that is before all others.
type heap[T interface{ before(T) bool }] []T

func (h *heap[T]) push(c T) {
	s := append(*h, c)
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !c.before(s[up]) {
			break
		}
		s[i] = s[up]
		i = up
	}
	s[i] = c
	*h = s
}

func (h *heap[T]) pop() T {
	s := *h
	top, c := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	if len(s) == 0 {
		return top
	}
	i := 0
	for {
		kid := 4*i + 1
		if kid >= len(s) {
			break
		}
		for k := kid + 1; k < min(4*i+5, len(s)); k++ {
			if s[k].before(s[kid]) {
				kid = k
			}
		}
		if !s[kid].before(c) {
			break
		}
		s[i] = s[kid]
		i = kid
	}
	s[i] = c
	return top
}
