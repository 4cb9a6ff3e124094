package token

import "math/bits"

// merge is one rule: left and right, neighbours in a word, become into.
type merge struct{ left, right, into int32 }

// ranked is what a pair becomes, and how early: the lowest rank merges first.
type ranked struct{ rank, into int32 }

// noRank is above all ranks.
const noRank = 1<<31 - 1

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// pairTable finds the merge of two tokens. It is a hash table with open addressing,
// at most half full; it is several times as fast as a map.
type pairTable struct {
	slots []pairSlot
	shift int
}

type pairSlot struct {
	key uint64 // 0 = free: pairKey + 1
	ranked
}

func newPairTable(n int) pairTable {
	size := bits.Len(uint(2*n + 1))
	return pairTable{make([]pairSlot, 1<<size), 64 - size}
}

// slot is where key is, or would be.
func (t *pairTable) slot(key uint64) *pairSlot {
	mask := uint64(len(t.slots) - 1)
	for i := key * 0x9e3779b97f4a7c15 >> t.shift; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.key == key || s.key == 0 {
			return s
		}
	}
}

// add puts a pair in; false where it is there already.
func (t *pairTable) add(left, right int32, r ranked) bool {
	key := pairKey(left, right) + 1
	s := t.slot(key)
	if s.key != 0 {
		return false
	}
	*s = pairSlot{key, r}
	return true
}

// get gives the merge of two tokens, of noRank where there is none.
func (t *pairTable) get(left, right int32) ranked {
	if s := t.slot(pairKey(left, right) + 1); s.key != 0 {
		return s.ranked
	}
	return ranked{noRank, -1}
}
