package labeling

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// figures are sums over tasks, from which a Dashboard is made. All are whole numbers: what a part of the tasks gave can be
// taken away again and leaves exactly what the others give, so figures of a project are kept by parts, and a ranking costs
// the part that it is in (store_figures.go). Nothing here grows with the square of anything but the answers of a task.
type figures struct {
	Tasks, Complete, Held, Hidden int64 // tasks to work on: all that are neither held nor hidden, of these done ones, and those
	Need, Done                    int64 // of Tasks

	All     agreementSum
	Weeks   map[int]*agreementSum // by the Monday's day since 1970
	Answers map[int]*agreementSum
	Kinds   map[string]*agreementSum // by Prompt.Category
	Days    map[int]int64            // rankings
	Places  map[int]*placeSums
	Longer  shareSum
	Seconds histogram // milliseconds
	Reading histogram // milliseconds per 1000 characters
	Times   [timeBins]int64
	People  map[string]*personFigures
}

type personFigures struct {
	Rankings          int64
	Agreement, Longer shareSum
	Tau, TauSquared   int64 // in units of 1/placeUnit, and of its square
	Taus              int64
	Seconds, Reading  histogram
}

// placeUnit is the precision to which tau-b with the order shown is summed: its squares are summed too.
const placeUnit = 1e4

type placeSums struct {
	N        int64
	Sum2     []int64 // of mid-ranks, in halves, by place
	Squared4 []int64 // of their squares, in quarters
}

// histogram counts values by size: histogramSteps bins for every doubling, so that a bin's middle is within 0.6% of all in it.
type histogram map[int]int64

const histogramSteps = 64

// bin of a value of at least 0; what is below 1 is 0.
func bin(v float64) int {
	if v < 1 {
		return -1
	}
	return int(math.Floor(math.Log2(v) * histogramSteps))
}

// middle of a bin.
func middle(bin int) float64 {
	if bin < 0 {
		return 0
	}
	return math.Exp2((float64(bin) + .5) / histogramSteps)
}

func (h *histogram) add(v float64) {
	if *h == nil {
		*h = histogram{}
	}
	(*h)[bin(v)]++
}

// quantile is the middle of the bin of the smallest value that at least the share q does not exceed; 0 of nothing.
func (h histogram) quantile(q float64) float64 {
	var n int64
	for _, c := range h {
		n += c
	}
	left := max(1, int64(math.Ceil(q*float64(n))))
	for _, b := range sortedKeys(h, cmp.Compare[int]) {
		if left -= h[b]; left <= 0 {
			return middle(b)
		}
	}
	return 0
}

// below is how many values are in bins whose middle is below v, and how many there are.
func (h histogram) below(v float64) (few, all int64) {
	for b, n := range h {
		if all += n; middle(b) < v {
			few += n
		}
	}
	return few, all
}

// mergeCounts adds or takes away counts; what comes to nothing is not kept, so that equal sums are equal maps.
func mergeCounts[M ~map[K]int64, K comparable](into *M, from M, sign int64) {
	if *into == nil && len(from) > 0 {
		*into = make(M, len(from))
	}
	for k, n := range from {
		if (*into)[k] += sign * n; (*into)[k] == 0 {
			delete(*into, k)
		}
	}
}

func mergeParts[K comparable](into *map[K]*agreementSum, from map[K]*agreementSum, sign int64) {
	for k, o := range from {
		s := part(into, k)
		if s.merge(*o, sign); s.N == 0 {
			delete(*into, k)
		}
	}
}

// part is the sum of a part, made at its first use.
func part[K comparable, V any](parts *map[K]*V, key K) *V {
	if *parts == nil {
		*parts = map[K]*V{}
	}
	if (*parts)[key] == nil {
		(*parts)[key] = new(V)
	}
	return (*parts)[key]
}

// merge adds what o has gathered, or with sign -1 takes it away.
func (f *figures) merge(o *figures, sign int64) {
	f.Tasks, f.Complete = f.Tasks+sign*o.Tasks, f.Complete+sign*o.Complete
	f.Held, f.Hidden = f.Held+sign*o.Held, f.Hidden+sign*o.Hidden
	f.Need, f.Done = f.Need+sign*o.Need, f.Done+sign*o.Done
	f.All.merge(o.All, sign)
	mergeParts(&f.Weeks, o.Weeks, sign)
	mergeParts(&f.Answers, o.Answers, sign)
	mergeParts(&f.Kinds, o.Kinds, sign)
	mergeCounts(&f.Days, o.Days, sign)
	for k, p := range o.Places {
		into := part(&f.Places, k)
		if into.merge(*p, sign); into.N == 0 {
			delete(f.Places, k)
		}
	}
	f.Longer.merge(o.Longer, sign)
	mergeCounts(&f.Seconds, o.Seconds, sign)
	mergeCounts(&f.Reading, o.Reading, sign)
	for i := range f.Times {
		f.Times[i] += sign * o.Times[i]
	}
	for id, p := range o.People {
		into := part(&f.People, id)
		if into.merge(p, sign); into.Rankings == 0 {
			delete(f.People, id)
		}
	}
}

func (p *personFigures) merge(o *personFigures, sign int64) {
	p.Rankings += sign * o.Rankings
	p.Agreement.merge(o.Agreement, sign)
	p.Longer.merge(o.Longer, sign)
	p.Tau, p.TauSquared, p.Taus = p.Tau+sign*o.Tau, p.TauSquared+sign*o.TauSquared, p.Taus+sign*o.Taus
	mergeCounts(&p.Seconds, o.Seconds, sign)
	mergeCounts(&p.Reading, o.Reading, sign)
}

func (p *placeSums) merge(o placeSums, sign int64) {
	if p.N += sign * o.N; p.Sum2 == nil {
		p.Sum2, p.Squared4 = make([]int64, len(o.Sum2)), make([]int64, len(o.Sum2))
	}
	for i := range o.Sum2 {
		p.Sum2[i] += sign * o.Sum2[i]
		p.Squared4[i] += sign * o.Squared4[i]
	}
}

// countedTask is a task with its rankings that count.
type countedTask struct {
	lengths  []int // characters of the answers, in the task's own order
	rankings []countedRanking
	category string // of its prompt
}

type countedRanking struct {
	labelerID string
	ranks     []int
	order     []int // order[d] = position of the answer shown at d
	activeMS  int64
	at        time.Time
}

const daySeconds = 24 * 60 * 60

// add takes the next task. Rankings of another length than the first (a task of another kind of question) are left out.
func (f *figures) add(task countedTask) {
	if len(task.rankings) == 0 {
		return
	}
	k := len(task.rankings[0].ranks)
	list := slices.DeleteFunc(task.rankings, func(r countedRanking) bool { return len(r.ranks) != k })
	vectors := make([][]int, len(list))
	newest := list[0].at
	if f.Days == nil {
		f.Days = map[int]int64{}
	}
	for i, r := range list {
		vectors[i] = r.ranks
		if r.at.After(newest) {
			newest = r.at
		}
		f.Days[dayOf(r.at)]++
		f.one(task.lengths, r)
	}
	agreement := agreementOf(vectors)
	f.All.merge(agreement, 1)
	part(&f.Answers, k).merge(agreement, 1)
	part(&f.Kinds, task.category).merge(agreement, 1)
	day := dayOf(newest)
	part(&f.Weeks, day-(day+3)%7).merge(agreement, 1) // the first of January 1970 was a Thursday
	for i, r := range list {
		var hit, both int64
		for j, other := range vectors {
			if j != i {
				c := Concordance(r.ranks, other)
				hit += int64(c.Concordant)
				both += int64(c.Concordant + c.Discordant)
			}
		}
		f.People[r.labelerID].Agreement.add(hit, both)
	}
}

func dayOf(t time.Time) int { return int(math.Floor(float64(t.Unix()) / daySeconds)) }

// one takes what a ranking says by itself: time, place, length.
func (f *figures) one(lengths []int, r countedRanking) {
	p, k := part(&f.People, r.labelerID), len(r.ranks)
	p.Rankings++
	f.Seconds.add(float64(r.activeMS))
	p.Seconds.add(float64(r.activeMS))
	f.Times[min(timeBins-1, max(0, int(math.Ceil(math.Log2(max(1, float64(r.activeMS)/1000))))))]++
	if len(r.order) == k {
		shown := make([]int, k) // rank by place
		place := make([]int, k)
		for d, pos := range r.order {
			shown[d], place[d] = r.ranks[pos], d
		}
		sums := part(&f.Places, k)
		if sums.Sum2 == nil {
			sums.Sum2, sums.Squared4 = make([]int64, k), make([]int64, k)
		}
		sums.N++
		for d, v := range Midranks(shown) {
			halves := int64(math.Round(2 * v))
			sums.Sum2[d] += halves
			sums.Squared4[d] += halves * halves
		}
		if tau, ok := Concordance(place, shown).TauB(); ok {
			units := int64(math.Round(tau * placeUnit))
			p.Tau, p.TauSquared, p.Taus = p.Tau+units, p.TauSquared+units*units, p.Taus+1
		}
	}
	if len(lengths) != k {
		return
	}
	var chars int
	var hit, strict int64
	for i, n := range lengths {
		chars += n
		for j := range i {
			if r.ranks[i] == r.ranks[j] || n == lengths[j] {
				continue
			}
			strict++
			if (r.ranks[i] < r.ranks[j]) == (n > lengths[j]) {
				hit++
			}
		}
	}
	f.Longer.add(hit, strict)
	p.Longer.add(hit, strict)
	if chars > 0 && r.activeMS > 0 {
		v := 1000 * float64(r.activeMS) / float64(chars)
		f.Reading.add(v)
		p.Reading.add(v)
	}
}

// fill writes what was gathered into d. The labelers of d are those with counters; what was summed of them joins them.
func (f *figures) fill(d *Dashboard) {
	d.Need, d.Done = int(f.Need), int(f.Done)
	d.Rankings, d.Agreement = int(f.All.N), f.All.agreement()
	date := func(day int) time.Time { return time.Unix(int64(day)*daySeconds, 0).UTC() }
	for _, day := range newestOf(sortedKeys(f.Days, cmp.Compare[int]), maxDays) {
		d.Days = append(d.Days, DayCount{date(day), int(f.Days[day])})
	}
	for _, monday := range newestOf(sortedKeys(f.Weeks, cmp.Compare[int]), maxWeeks) {
		d.Weeks = append(d.Weeks, AgreementPart{date(monday).Format(time.DateOnly), f.Weeks[monday].agreement()})
	}
	for k := MinAnswers; k <= MaxAnswers; k++ {
		if s := f.Answers[k]; s != nil {
			d.ByAnswers = append(d.ByAnswers, AgreementPart{string(rune('0' + k)), s.agreement()})
		}
		if p := f.Places[k]; p != nil {
			d.Places = append(d.Places, p.bias(k))
		}
	}
	names := slices.SortedFunc(maps.Keys(f.Kinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(f.Kinds[b].N, f.Kinds[a].N), cmp.Compare(a, b))
	})
	for _, name := range names[:min(len(names), maxCategories)] {
		d.Categories = append(d.Categories, AgreementPart{name, f.Kinds[name].agreement()})
	}
	d.Longer = f.Longer.share()
	for _, n := range f.Times {
		d.Times = append(d.Times, int(n))
	}
	d.Median, d.P90, d.Reading = f.Seconds.quantile(.5)/1000, f.Seconds.quantile(.9)/1000, f.Reading.quantile(.5)/1000
	for i := range d.Labelers {
		l := &d.Labelers[i]
		if p := f.People[l.LabelerID]; p != nil {
			p.fill(l, 1000*d.Reading/SpeederFactor)
		}
	}
}

// fill: fast is the milliseconds per 1000 characters below which a ranking counts as fast.
func (p *personFigures) fill(l *LabelerStats, fast float64) {
	l.Median, l.P90 = p.Seconds.quantile(.5)/1000, p.Seconds.quantile(.9)/1000
	l.Agreement, l.Longer = p.Agreement.share(), p.Longer.share()
	if n := float64(p.Taus); n > 0 {
		l.PlaceTau = Mean{Value: float64(p.Tau) / placeUnit / n, Low: -1, High: 1, N: int(p.Taus)}
		if n > 1 {
			ss := max(0, float64(p.TauSquared)/(placeUnit*placeUnit)-n*l.PlaceTau.Value*l.PlaceTau.Value)
			half := z95 * math.Sqrt(ss/(n-1)/n)
			l.PlaceTau.Low, l.PlaceTau.High = max(-1, l.PlaceTau.Value-half), min(1, l.PlaceTau.Value+half)
		}
	}
	if few, all := p.Reading.below(fast); all > 0 {
		l.Fast = Share{Value: float64(few) / float64(all), N: int(all)}
		l.Fast.Low, l.Fast.High = Wilson(l.Fast.Value, float64(all))
	}
}

func (p placeSums) bias(k int) PlaceBias {
	b := PlaceBias{K: k, Rankings: int(p.N), Mean: make([]float64, k), Error: make([]float64, k)}
	n := float64(p.N)
	for d := range p.Sum2 {
		b.Mean[d] = float64(p.Sum2[d]) / 2 / n
		if p.N > 1 {
			b.Error[d] = math.Sqrt(max(0, float64(p.Squared4[d])/4/n-b.Mean[d]*b.Mean[d]) / (n - 1))
		}
	}
	return b
}

func newestOf[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

func sortedKeys[M ~map[K]V, K comparable, V any](m M, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}
