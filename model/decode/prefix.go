package decode

import (
	"encoding/binary"

	"github.com/rankloop/rankloop/model"
)

// prefixes remembers full pages of keys and values by the tokens that they and all before them stand for, so that a prompt that
// begins as an earlier text of the same customer is not read again. What one customer asked is never found by another: that would
// show in the time an answer takes. Pages that no request holds are given up, the one longest unused first, when memory is needed.
type prefixes struct {
	pages *model.Pages
	roots map[string]*prefix // by customer
	size  int                // pages remembered
	head  prefix             // of the ring of all, the newest used after it
	key   []byte
}

// prefix is a page and what came before it.
type prefix struct {
	page         *model.Page
	up           *prefix
	name         string // its tokens, in up.next
	next         map[string]*prefix
	older, newer *prefix
	customer     string // of a root
}

func newPrefixes(p *model.Pages) *prefixes {
	t := &prefixes{pages: p, roots: map[string]*prefix{}}
	t.head.older, t.head.newer = &t.head, &t.head
	return t
}

// root is where the texts of a customer begin.
func (t *prefixes) root(customer string) *prefix {
	r := t.roots[customer]
	if r == nil {
		r = &prefix{customer: customer}
		t.roots[customer] = r
	}
	return r
}

func (t *prefixes) name(ids []int32) []byte {
	t.key = t.key[:0]
	for _, id := range ids {
		t.key = binary.LittleEndian.AppendUint32(t.key, uint32(id))
	}
	return t.key
}

// find returns the pages of the longest beginning of ids that is remembered, and where it ends.
func (t *prefixes) find(customer string, ids []int32) (pages []*model.Page, end *prefix) {
	end = t.root(customer)
	for n := t.pages.Positions(); len(ids) >= n; ids = ids[n:] {
		next := end.next[string(t.name(ids[:n]))]
		if next == nil {
			break
		}
		pages, end = append(pages, next.page), next
	}
	t.touch(end)
	return pages, end
}

// add remembers the page of ids after p, unless there is one, and returns what is remembered.
func (t *prefixes) add(p *prefix, ids []int32, page *model.Page) *prefix {
	name := t.name(ids)
	next := p.next[string(name)]
	if next == nil {
		next = &prefix{page: page, up: p, name: string(name)}
		if p.next == nil {
			p.next = map[string]*prefix{}
		}
		p.next[next.name] = next
		t.pages.Hold(page)
		t.size++
	}
	t.touch(next)
	return next
}

// touch says that p was used: it and what it continues are the newest, the beginning newest of all, so that the oldest continues
// to nothing.
func (t *prefixes) touch(p *prefix) {
	for ; p != nil && p.page != nil; p = p.up {
		if p.older != nil {
			p.older.newer, p.newer.older = p.newer, p.older
		}
		p.older, p.newer = &t.head, t.head.newer
		p.older.newer, p.newer.older = p, p
	}
}

// evict gives up the page that was used longest ago of those that no request holds; false where there is none.
func (t *prefixes) evict() bool {
	for p := t.head.older; p != &t.head; p = p.older {
		if p.page.Holders() == 1 && len(p.next) == 0 {
			t.forget(p)
			return true
		}
	}
	return false
}

func (t *prefixes) forget(p *prefix) {
	p.older.newer, p.newer.older = p.newer, p.older
	t.pages.Drop(p.page)
	t.size--
	delete(p.up.next, p.name)
	if root := p.up; root.page == nil && len(root.next) == 0 {
		delete(t.roots, root.customer)
	}
}

// idle counts the pages that no request holds.
func (t *prefixes) idle() (n int) {
	for p := t.head.older; p != &t.head; p = p.older {
		if p.page.Holders() == 1 {
			n++
		}
	}
	return n
}
