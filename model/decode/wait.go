package decode

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A program that asks is better sent away at once than kept waiting: it can come again, and whoever was let in is answered soon.
// Choices begun together end together, so that a queue of any length makes who comes just after wait for a whole answer. Who may wait
// is therefore decided by how long that would take, which is known well enough: when those under way end at the latest is written in
// what they may still write, and what of that is used was seen of those before them.

// BusyError is ErrBusy with what is known of when there will be room.
type BusyError struct {
	Waiting int           // choices that wait
	After   time.Duration // from now, about; 0: not known yet
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%v: %d choices are waiting; there will be room in about %v", ErrBusy, e.Waiting, e.After.Round(time.Millisecond))
}

// Is says that it is ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

const (
	shortWait = 16 // how many steps every request may wait: fewer than anybody notices
	leastWait = 2  // and where most are sent away
	lately    = 32 // requests that make up what is called lately
)

// forecast foretells in steps of the engine. It is guarded by Engine.mu.
type forecast struct {
	places, chunk  int
	context        int
	patience       float64
	ends           [priorities][]int  // steps that each choice under way takes yet
	asked, written float64            // tokens that answers could have had and that they had; the older, the less they count
	step           time.Duration      // of a step of late
	refused        map[string]float64 // share of a key's requests that were refused lately; who is not in it had none refused
}

// length is how long an answer will be that may have so many tokens.
func (f *forecast) length(room int, whole bool) int {
	if whole || f.asked == 0 {
		return room
	}
	return max(1, int(float64(room)*f.written/f.asked))
}

// ended learns from an answer.
func (f *forecast) ended(s *seat) {
	if !s.p.IgnoreEOS {
		n := float64(len(s.ids) - len(s.of.Prompt))
		f.asked, f.written = .98*f.asked+n+float64(s.room), .98*f.written+n
	}
}

func (f *forecast) took(d time.Duration) { f.step += (d - f.step) / 16 }

// reading is in how many steps so much of a prompt is read.
func (f *forecast) reading(tokens int) int { return (tokens + f.chunk - 1) / f.chunk }

// writing is how many tokens each answer to a request will have.
func (f *forecast) writing(r *Request) int {
	return f.length(min(r.MaxTokens, f.context+1-len(r.Prompt)), r.IgnoreEOS)
}

// takes is how many steps a request takes once it has begun.
func (f *forecast) takes(r *Request) int { return f.reading(len(r.Prompt)) - 1 + f.writing(r) }

// cost is what a request will have been served, as queue counts it.
func (f *forecast) cost(r *Request) int64 {
	return int64(len(r.Prompt) + 2*r.choices()*f.writing(r))
}

// look writes down when those under way will end.
func (f *forecast) look(flows []*flow) {
	if len(flows) == 0 { // what was before is over
		clear(f.refused)
	}
	for i := range f.ends {
		f.ends[i] = f.ends[i][:0]
	}
	for _, g := range flows {
		for _, s := range g.seats {
			n := len(s.ids) - len(g.Prompt)
			left := max(1, f.length(n+s.room, s.p.IgnoreEOS)-n)
			if n == 0 {
				left += f.reading(len(g.seats[0].feed)) - 1
			}
			f.ends[g.Priority.rank()] = append(f.ends[g.Priority.rank()], left)
		}
	}
}

// begins is in how many steps each of those requests begins, which begin one after the other as those under way end; rank is that of the
// priority of the last.
func (f *forecast) begins(rs []*Request, rank int) (out []int) {
	now, ends := 0, []int{}
	for _, e := range f.ends[:rank+1] {
		ends = append(ends, e...)
	}
	slices.Sort(ends)
	for _, r := range rs {
		free := 0
		for free < len(ends) && len(ends)-free+r.choices() > f.places {
			now = max(now, ends[free])
			free++
		}
		ends = ends[free:]
		end := now + f.takes(r)
		at, _ := slices.BinarySearch(ends, end)
		ends = slices.Insert(ends, at, slices.Repeat([]int{end}, r.choices())...)
		out = append(out, now)
	}
	return out
}

// bound is how many steps requests that come together may wait: a share of what all of them take, if they are alone, and less of it the
// more of their key are refused. A queue takes up a burst. One that stands makes all wait and no more of them be served: of many that come
// and are sent away there is always one for the place that becomes free, so that those who are taken on need not wait long (the good and
// the bad queue of Nichols and Jacobson 2012, Controlling Queue Delay).
func (f *forecast) bound(rs []Request) int {
	longest, all := 0, 0
	for i := range rs {
		n := f.takes(&rs[i])
		longest, all = max(longest, n), all+n*rs[i].choices()
	}
	most := max(shortWait, f.patience*float64(max(longest, all/f.places)))
	return max(leastWait, int((1-f.refused[rs[0].Key])*most))
}

// came learns whether a program's request was taken on.
func (f *forecast) came(key string, in bool) {
	share, known := f.refused[key]
	switch {
	case !in:
		f.refused[key] = share + (1-share)/lately
	case known && share > .01:
		f.refused[key] = share - share/lately
	default:
		delete(f.refused, key)
	}
}

// around are those that wait and would go before a request that comes now, and those of its priority that would go behind it, the next
// first. Each key's requests begin when it has been served what its earlier ones cost.
func (q *queue) around(r *Request, cost func(*Request) int64) (ahead, behind []*flow) {
	type start struct {
		f    *flow
		rank int
		at   int64
	}
	rank := r.Priority.rank()
	own := q.least(rank)
	if l := q.lines[rank][r.Key]; l != nil {
		if own = max(own, l.served); len(l.waiting) > 0 || l.active > 0 {
			own = l.served
		}
		for _, f := range l.waiting {
			own += cost(&f.Request)
		}
	}
	var all []start
	for i, lines := range q.lines[:rank+1] {
		for _, l := range lines {
			at := l.served
			for _, f := range l.waiting {
				all = append(all, start{f, i, at})
				at += cost(&f.Request)
			}
		}
	}
	slices.SortFunc(all, func(a, b start) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.at, b.at), cmp.Compare(a.f.order, b.f.order))
	})
	for _, s := range all {
		if s.rank < rank || s.at <= own {
			ahead = append(ahead, s.f)
		} else {
			behind = append(behind, s.f)
		}
	}
	return ahead, behind
}

// room says whether requests of one key and priority may wait, as *BusyError where not, and until which step they do at the latest. Only
// programs are sent away for the time that they would wait, or make others wait that were taken on before: people do wait, and nobody waits
// for rollouts.
func (e *Engine) room(rs []Request) (latest int64, err error) {
	f, r := &e.forecast, &rs[0]
	fits, more := true, 0
	for i := range rs {
		fits = fits && e.queue.fits(r.Priority, r.Key, more)
		more += rs[i].choices()
	}
	ahead, behind := e.queue.around(r, f.cost)
	var line []*Request
	for _, g := range ahead {
		line = append(line, &g.Request)
	}
	for i := range rs {
		line = append(line, &rs[i])
	}
	for _, g := range behind {
		line = append(line, &g.Request)
	}
	begins := f.begins(line, r.Priority.rank())
	wait, bound := begins[len(ahead)], f.bound(rs)
	late := max(0, wait-bound)
	for i, g := range behind {
		if f.refused[r.Key] < f.refused[g.Key]/2 {
			continue // a key that asks for far more than its share makes room
		}
		late = max(late, int(e.stats.Steps-g.latest)+begins[len(ahead)+len(rs)+i])
	}
	in := fits && (late == 0 || r.Priority != PriorityAPI)
	if r.Priority == PriorityAPI {
		f.came(r.Key, in)
	}
	if in {
		return e.stats.Steps + int64(bound), nil
	}
	if !fits {
		late = max(late, wait)
	}
	return 0, &BusyError{Waiting: e.queue.size, After: time.Duration(late) * f.step}
}
