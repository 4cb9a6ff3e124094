package token

// symbols is one word while it is being merged: a doubly linked list over its first
// units (bytes or characters), held in slices so that it can be used again.
type symbols struct {
	id         []int32 // token of the node; dead nodes are -2
	prev, next []int32 // -1 = none
	end        []int32 // where the node's text ends, for mergers that look at text
	start      []int32
	heap       heap[candidate]
}

const dead = -2

// candidate is a pair of neighbours that may merge: its rank in the upper half, the
// node it begins at in the lower. So the smallest is the one to merge next, and a
// million of them take 8 MB. It is out of date when the neighbours there now have
// another rank.
type candidate uint64

func (c candidate) before(d candidate) bool { return c < d }

func (s *symbols) reset() {
	s.id, s.prev, s.next = s.id[:0], s.prev[:0], s.next[:0]
	s.start, s.end, s.heap = s.start[:0], s.end[:0], s.heap[:0]
}

// add appends a node for the text from start to end.
func (s *symbols) add(id int32, start, end int) {
	n := int32(len(s.id))
	if n > 0 {
		s.next[n-1] = n
	}
	s.id = append(s.id, id)
	s.prev = append(s.prev, n-1)
	s.next = append(s.next, -1)
	s.start = append(s.start, int32(start))
	s.end = append(s.end, int32(end))
}

// merge joins neighbours until no pair is left: always the pair of the lowest rank,
// the leftmost among equals. pair says whether the nodes i and j, in this order, may
// merge, at what rank and into which token.
func (s *symbols) merge(pair func(i, j int32) (rank, into int32, ok bool)) {
	consider := func(i int32) {
		if i < 0 || s.next[i] < 0 {
			return
		}
		if rank, _, ok := pair(i, s.next[i]); ok {
			s.heap.push(candidate(rank)<<32 | candidate(i))
		}
	}
	for i := range s.id {
		consider(int32(i))
	}
	for len(s.heap) > 0 {
		c := s.heap.pop()
		i := int32(uint32(c))
		if s.id[i] == dead || s.next[i] < 0 {
			continue
		}
		j := s.next[i]
		rank, into, ok := pair(i, j)
		if !ok || rank != int32(c>>32) {
			continue
		}
		s.id[i], s.end[i] = into, s.end[j]
		s.id[j] = dead
		s.next[i] = s.next[j]
		if k := s.next[i]; k >= 0 {
			s.prev[k] = i
		}
		consider(s.prev[i])
		consider(i)
	}
}
