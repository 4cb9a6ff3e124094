package token

import "slices"

// shortWord is the number of units up to which looking for the best pair anew each
// time is faster than a heap.
const shortWord = 24

// mergeAll joins neighbours of ids until no pair is left: always the pair of the
// lowest rank, the leftmost among equals. It returns the front of ids.
func (t *pairTable) mergeAll(ids []int32) []int32 {
	if len(ids) <= shortWord {
		return t.mergeShort(ids)
	}
	return t.mergeLong(ids)
}

// mergeLong is mergeAll with a heap.
func (t *pairTable) mergeLong(ids []int32) []int32 {
	s := newSymbols(len(ids))
	for i, id := range ids {
		s.add(id, i, i+1)
	}
	s.merge(func(i, j int32) (int32, int32, bool) {
		r := t.get(s.id[i], s.id[j])
		return r.rank, r.into, r.rank != noRank
	})
	ids = ids[:0]
	for i := int32(0); i >= 0; i = s.next[i] {
		ids = append(ids, s.id[i])
	}
	return ids
}

// mergeShort is mergeAll without a heap, for at most shortWord units.
func (t *pairTable) mergeShort(id []int32) []int32 {
	var best [shortWord]ranked // best[i]: the merge of id[i] and id[i+1]
	n := len(id)
	for i := range n - 1 {
		best[i] = t.get(id[i], id[i+1])
	}
	for n > 1 {
		at := 0
		for i := 1; i < n-1; i++ {
			if best[i].rank < best[at].rank {
				at = i
			}
		}
		if best[at].rank == noRank {
			break
		}
		id[at] = best[at].into
		copy(id[at+1:n-1], id[at+2:n])
		n--
		if at < n-1 {
			copy(best[at+1:n-1], best[at+2:n])
			best[at] = t.get(id[at], id[at+1])
		}
		if at > 0 {
			best[at-1] = t.get(id[at-1], id[at])
		}
	}
	return id[:n]
}

// symbols is one word while it is being merged: a doubly linked list over its first
// units (bytes or characters).
type symbols struct {
	id         []int32 // token of the node; dead nodes are -2
	prev, next []int32 // -1 = none
	end        []int32 // where the node's text ends, for mergers that look at text
	start      []int32
	candidates agenda
}

const dead = -2

// candidate is a pair of neighbours that may merge: its rank in the upper half, the
// node it begins at in the lower. So the smallest is the one to merge next, and a
// million of them take 8 MB. It is out of date when the neighbours there now have
// another rank.
type candidate uint64

func (c candidate) before(d candidate) bool { return c < d }

// agenda gives candidates in order while new ones come in. Most that come in are later
// than all that are at hand: those wait and are sorted together, which is several
// times as fast as a heap. The others go into a heap.
type agenda struct {
	run   []candidate // sorted
	at    int         // next of run
	heap  heap[candidate]
	later []candidate // beyond the last of run
}

func (a *agenda) put(c candidate) {
	if n := len(a.run); n > 0 && c <= a.run[n-1] {
		a.heap.push(c)
		return
	}
	a.later = append(a.later, c)
}

// take gives the smallest candidate; false where none is left.
func (a *agenda) take() (candidate, bool) {
	if a.at == len(a.run) && len(a.heap) == 0 {
		if len(a.later) == 0 {
			return 0, false
		}
		a.run, a.later, a.at = a.later, a.run[:0], 0
		slices.Sort(a.run)
	}
	if len(a.heap) > 0 && (a.at == len(a.run) || a.heap[0] < a.run[a.at]) {
		return a.heap.pop(), true
	}
	a.at++
	return a.run[a.at-1], true
}

// newSymbols makes room for n units.
func newSymbols(n int) *symbols {
	room := make([]int32, 5*n)
	part := func(i int) []int32 { return room[i*n : i*n : (i+1)*n] }
	return &symbols{id: part(0), prev: part(1), next: part(2), start: part(3), end: part(4)}
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
			s.candidates.put(candidate(rank)<<32 | candidate(i))
		}
	}
	for i := range s.id {
		consider(int32(i))
	}
	for {
		c, more := s.candidates.take()
		if !more {
			return
		}
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
