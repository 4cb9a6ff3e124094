package decode

// queue holds the requests that wait, by priority, and chooses who is next so that no key crowds out another: the key that has been
// served least (the virtual token counter of Sheng et al. 2024, Fairness in Serving Large Language Models, algorithm 2: a token read
// counts one, a token written two). A key that comes back after a while starts where the least served of those who wait is.
type queue struct {
	lines [priorities]map[string]*line
	floor [priorities]int64 // what the one chosen last had been served
	size  int               // choices that wait
	most  int
	count uint64 // requests that ever came
}

// line is what one key waits for, and what it has been served.
type line struct {
	served  int64
	waiting []*flow
	places  int // choices of these
	active  int // requests under way
}

func newQueue(most int) *queue {
	q := &queue{most: most}
	for i := range q.lines {
		q.lines[i] = map[string]*line{}
	}
	return q
}

// fits says whether a request of that key may wait beside so many choices more of it: a key may take as many places as are left free, so that there is always room
// for others (Choudhury and Hahne 1998, Dynamic Queue Length Thresholds, with α = 1).
func (q *queue) fits(p Priority, key string, more int) bool {
	taken := more
	if l := q.lines[p.rank()][key]; l != nil {
		taken += l.places
	}
	size := q.size + more
	return size < q.most && taken < q.most-size
}

// push lets a request wait.
func (q *queue) push(f *flow) {
	l := q.lines[f.Priority.rank()][f.Key]
	if l == nil {
		l = &line{}
		q.lines[f.Priority.rank()][f.Key] = l
	}
	if len(l.waiting) == 0 && l.active == 0 {
		l.served = max(l.served, q.least(f.Priority.rank()))
	}
	f.line, f.order = l, q.count
	q.count++
	l.waiting = append(l.waiting, f)
	l.places += f.choices()
	q.size += f.choices()
}

// least is what the least served of those who wait has been served, of that rank of priority.
func (q *queue) least(p int) int64 {
	least, found := q.floor[p], false
	for _, l := range q.lines[p] {
		if len(l.waiting) > 0 && (!found || l.served < least) {
			least, found = l.served, true
		}
	}
	return least
}

// next is the request of that rank of priority whose turn it is, nil where none waits.
func (q *queue) next(p int) *flow {
	var best *flow
	for _, l := range q.lines[p] {
		if len(l.waiting) == 0 {
			continue
		}
		if f := l.waiting[0]; best == nil || l.served < best.line.served || l.served == best.line.served && f.order < best.order {
			best = f
		}
	}
	return best
}

// begin takes the request that next returned.
func (q *queue) begin(f *flow) {
	l := f.line
	q.floor[f.Priority.rank()] = l.served
	q.take(f, 0)
	l.active++
}

func (q *queue) take(f *flow, at int) {
	l := f.line
	copy(l.waiting[at:], l.waiting[at+1:])
	l.waiting[len(l.waiting)-1] = nil
	l.waiting = l.waiting[:len(l.waiting)-1]
	l.places -= f.choices()
	q.size -= f.choices()
}

// done says that a request that had begun has ended.
func (q *queue) done(f *flow) {
	f.line.active--
	q.prune()
}

// cancelled takes out the requests whose callers have gone.
func (q *queue) cancelled() (out []*flow) {
	for _, lines := range q.lines {
		for _, l := range lines {
			for i := 0; i < len(l.waiting); {
				if f := l.waiting[i]; f.ctx.Err() != nil {
					q.take(f, i)
					out = append(out, f)
					continue
				}
				i++
			}
		}
	}
	if len(out) > 0 {
		q.prune()
	}
	return out
}

// prune forgets the keys that are neither here nor ahead of those who are.
func (q *queue) prune() {
	for p, lines := range q.lines {
		busy := false
		for _, l := range lines {
			busy = busy || l.active > 0 || len(l.waiting) > 0
		}
		for key, l := range lines {
			if l.active == 0 && len(l.waiting) == 0 && (!busy || l.served <= q.floor[p]) {
				delete(lines, key)
			}
		}
		if !busy {
			q.floor[p] = 0
		}
	}
}
