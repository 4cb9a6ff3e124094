package token

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
)

// wordCache remembers the ids of words, because texts repeat theirs. A word has one
// place and the newest word there stays, so the memory is bounded; goroutines share
// the cache without a lock, and what it holds never changes an answer.
type wordCache struct {
	seed  maphash.Seed
	slots [cacheSlots]atomic.Pointer[cachedWord]
}

const (
	cacheSlots = 1 << 14
	cacheWord  = 48 // longest word that is kept, in bytes
)

type cachedWord struct {
	word string
	ids  []int32
}

func newWordCache() *wordCache { return &wordCache{seed: maphash.MakeSeed()} }

// find gives the ids of word if they are there, and the place for them if not.
func (c *wordCache) find(word string) ([]int32, *atomic.Pointer[cachedWord]) {
	slot := &c.slots[maphash.String(c.seed, word)%cacheSlots]
	if w := slot.Load(); w != nil && w.word == word {
		return w.ids, slot
	}
	return nil, slot
}

// keep stores copies of word and ids.
func keep(slot *atomic.Pointer[cachedWord], word string, ids []int32) {
	slot.Store(&cachedWord{strings.Clone(word), slices.Clone(ids)})
}
