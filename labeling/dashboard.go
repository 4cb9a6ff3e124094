package labeling

import (
	"math"
	"slices"
	"time"
)

// Dashboard are a project's figures as its admins see them. They are computed by a job (RefreshDashboard) in one pass over
// the rankings that count: the newest revision of each labeler and task, without surplus, hidden and held ones.
type Dashboard struct {
	ComputedAt time.Time     `json:"-"`
	Took       time.Duration `json:"-"`

	States    map[string]int  `json:"states"` // tasks by state: TaskOpen and so on
	Need      int             `json:"need"`   // rankings asked for, of tasks that are neither hidden nor held
	Done      int             `json:"done"`   // of these, in
	Rankings  int             `json:"rankings"`
	Days      []DayCount      `json:"days"` // UTC days from the first with a ranking to the last, at most maxDays
	Agreement Agreement       `json:"agreement"`
	Weeks     []AgreementPart `json:"weeks"`      // agreement by week of the newest ranking of the task
	ByAnswers []AgreementPart `json:"by_answers"` // agreement by the number of answers
	Places    []PlaceBias     `json:"places"`
	Longer    Share           `json:"longer"`  // strict pairs in which the longer answer won
	Times     []int           `json:"times"`   // rankings by active time: bin i holds 2^(i-1) to 2^i seconds, the last all above
	Median    float64         `json:"median"`  // active seconds of a ranking
	P90       float64         `json:"p90"`     // 9 of 10 rankings took less
	Reading   float64         `json:"reading"` // median of active seconds per 1000 characters of answers
	Labelers  []LabelerStats  `json:"labelers"`
}

// Bounds of a dashboard.
const (
	maxDays         = 365
	maxWeeks        = 104
	timeBins        = 12 // the last is above 1024 s
	maxLabelerStats = 1000
	// SpeederFactor: a ranking is called fast where the active time per character of its answers is below the project's
	// median divided by this.
	SpeederFactor = 3
)

// States of a task, as lists and dashboards name them.
const (
	TaskOpen    = "open"   // a slot is open
	TaskWorked  = "worked" // no slot is open, rankings are on their way
	TaskDone    = "done"   // all rankings are in
	TaskHeld    = "held"   // reported
	TaskHidden  = "hidden" // its customer withdrew the consent
	taskStateOf = `CASE WHEN t.hidden THEN 'hidden' WHEN t.held <> '' THEN 'held' WHEN t.open_slots > 0 THEN 'open' WHEN t.done >= t.need THEN 'done' ELSE 'worked' END`
)

// TaskStates lists them in the order of a task's life.
var TaskStates = []string{TaskOpen, TaskWorked, TaskDone, TaskHeld, TaskHidden}

// DayCount is one UTC day.
type DayCount struct {
	Day      time.Time `json:"day"`
	Rankings int       `json:"rankings"`
}

// AgreementPart is the agreement of a part of the tasks.
type AgreementPart struct {
	Of string `json:"of"` // what the part is: a Monday (2006-01-02), or a number of answers
	Agreement
}

// Mean is a mean with its 95% interval (normal, over the tasks of one labeler).
type Mean struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"` // 0: there is nothing to say
}

// PlaceBias says how answers fared by the place in which they were shown. Without bias each mean rank is (K+1)/2.
type PlaceBias struct {
	K        int       `json:"k"`
	Rankings int       `json:"rankings"`
	Mean     []float64 `json:"mean"`  // mean rank by place, ties at their mid-ranks
	Error    []float64 `json:"error"` // standard error of it
}

// LabelerStats are one labeler's figures. Agreement is with the others who ranked the same answers, pair by pair
// (leave-one-out). PlaceTau is the mean of Kendall's tau-b between the order shown and the order given: 0 without bias, 1
// for somebody who ranks as shown.
type LabelerStats struct {
	LabelerID string    `json:"id"`
	Done      int       `json:"done"`
	Skipped   int       `json:"skipped"`
	Hours     float64   `json:"hours"`  // active
	Median    float64   `json:"median"` // active seconds of a ranking
	P90       float64   `json:"p90"`
	Fast      Share     `json:"fast"` // rankings faster than SpeederFactor allows
	Agreement Share     `json:"agreement"`
	Gold      Share     `json:"gold"` // strict pairs of known ranks ordered alike (GoldScore), over gold tasks
	PlaceTau  Mean      `json:"place_tau"`
	Longer    Share     `json:"longer"`
	LastSeen  time.Time `json:"last_seen"`
}

// Rate is how many rankings came in a day over the last week before the figures, and the days that what is still asked for
// takes at that rate; ok is false where nothing came.
func (d Dashboard) Rate() (perDay, days float64, ok bool) {
	from := d.ComputedAt.UTC().Truncate(24*time.Hour).AddDate(0, 0, -6)
	n := 0
	for _, day := range d.Days {
		if !day.Day.Before(from) {
			n += day.Rankings
		}
	}
	if n == 0 {
		return 0, 0, false
	}
	perDay = float64(n) / 7
	return perDay, float64(max(0, d.Need-d.Done)) / perDay, true
}

// countedTask is a task with its rankings that count.
type countedTask struct {
	lengths  []int // characters of the answers, in the task's own order
	rankings []countedRanking
}

type countedRanking struct {
	labelerID string
	ranks     []int
	order     []int // order[d] = position of the answer shown at d
	activeMS  int64
	at        time.Time
}

// tally gathers a Dashboard task by task.
type tally struct {
	all      agreementSum
	weeks    map[time.Time]*agreementSum
	answers  map[int]*agreementSum
	days     map[time.Time]int
	places   map[int]*placeSums
	longer   shareSum
	seconds  []float64
	reading  []float64 // seconds per 1000 characters
	bins     [timeBins]int
	labelers map[string]*labelerTally
}

type labelerTally struct {
	agreement, gold, longer shareSum
	tau                     []float64
	seconds, reading        []float64
}

// shareSum are hits and trials, one entry a task: the trials of a task depend on each other.
type shareSum struct{ hits, trials []float64 }

func (s *shareSum) add(hits, trials float64) {
	if trials > 0 {
		s.hits, s.trials = append(s.hits, hits), append(s.trials, trials)
	}
}

func (s shareSum) share() Share {
	if len(s.trials) == 0 {
		return Share{}
	}
	var out Share
	out.Value, out.Low, out.High = ClusterProportion(s.hits, s.trials)
	for _, n := range s.trials {
		out.N += int(n)
	}
	return out
}

type placeSums struct {
	n          int
	sum, total []float64 // of mid-ranks, and of their squares
}

func newTally() *tally {
	return &tally{weeks: map[time.Time]*agreementSum{}, answers: map[int]*agreementSum{}, days: map[time.Time]int{}, places: map[int]*placeSums{}, labelers: map[string]*labelerTally{}}
}

func (t *tally) labeler(id string) *labelerTally {
	l := t.labelers[id]
	if l == nil {
		l = new(labelerTally)
		t.labelers[id] = l
	}
	return l
}

// part is the sum of a part of the tasks, made at its first use.
func part[K comparable](parts map[K]*agreementSum, key K) *agreementSum {
	if parts[key] == nil {
		parts[key] = new(agreementSum)
	}
	return parts[key]
}

// add takes the next task. Rankings of another length than the first (a task of another kind of question) are left out.
func (t *tally) add(task countedTask) {
	if len(task.rankings) == 0 {
		return
	}
	k := len(task.rankings[0].ranks)
	task.rankings = slices.DeleteFunc(task.rankings, func(r countedRanking) bool { return len(r.ranks) != k })
	vectors := make([][]int, len(task.rankings))
	newest := time.Time{}
	for i, r := range task.rankings {
		vectors[i] = r.ranks
		if r.at.After(newest) {
			newest = r.at
		}
		t.days[r.at.UTC().Truncate(24*time.Hour)]++
		t.one(task.lengths, r)
	}
	t.all.add(vectors)
	part(t.answers, k).add(vectors)
	day := newest.UTC().Truncate(24 * time.Hour)
	part(t.weeks, day.AddDate(0, 0, -(int(day.Weekday())+6)%7)).add(vectors)
	for i, r := range task.rankings {
		hit, both := 0.0, 0.0
		for j, other := range vectors {
			if j != i {
				c := Concordance(r.ranks, other)
				hit += float64(c.Concordant)
				both += float64(c.Concordant + c.Discordant)
			}
		}
		t.labeler(r.labelerID).agreement.add(hit, both)
	}
}

// one takes what a ranking says by itself: time, place, length.
func (t *tally) one(lengths []int, r countedRanking) {
	l, k := t.labeler(r.labelerID), len(r.ranks)
	seconds := float64(r.activeMS) / 1000
	t.seconds, l.seconds = append(t.seconds, seconds), append(l.seconds, seconds)
	t.bins[min(timeBins-1, max(0, int(math.Ceil(math.Log2(max(1, seconds))))))]++
	if len(r.order) == k {
		shown := make([]int, k) // rank by place
		place := make([]int, k)
		for d, pos := range r.order {
			shown[d], place[d] = r.ranks[pos], d
		}
		p := t.places[k]
		if p == nil {
			p = &placeSums{sum: make([]float64, k), total: make([]float64, k)}
			t.places[k] = p
		}
		p.n++
		for d, v := range Midranks(shown) {
			p.sum[d] += v
			p.total[d] += v * v
		}
		if tau, ok := Concordance(place, shown).TauB(); ok {
			l.tau = append(l.tau, tau)
		}
	}
	if len(lengths) != k {
		return
	}
	chars, hit, strict := 0, 0.0, 0.0
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
	t.longer.add(hit, strict)
	l.longer.add(hit, strict)
	if chars > 0 && seconds > 0 {
		v := 1000 * seconds / float64(chars)
		t.reading, l.reading = append(t.reading, v), append(l.reading, v)
	}
}

// fill writes what was gathered into d. The labelers of d are those with counters; what was tallied joins them.
func (t *tally) fill(d *Dashboard) {
	d.Rankings, d.Agreement = t.all.n, t.all.agreement()
	for day, n := range t.days {
		d.Days = append(d.Days, DayCount{day, n})
	}
	slices.SortFunc(d.Days, func(a, b DayCount) int { return a.Day.Compare(b.Day) })
	d.Days = newestOf(d.Days, maxDays)
	mondays := sortedKeys(t.weeks, time.Time.Compare)
	for _, monday := range newestOf(mondays, maxWeeks) {
		d.Weeks = append(d.Weeks, AgreementPart{monday.Format(time.DateOnly), t.weeks[monday].agreement()})
	}
	for k := MinAnswers; k <= MaxAnswers; k++ {
		if s := t.answers[k]; s != nil {
			d.ByAnswers = append(d.ByAnswers, AgreementPart{string(rune('0' + k)), s.agreement()})
		}
		if p := t.places[k]; p != nil {
			d.Places = append(d.Places, p.bias(k))
		}
	}
	d.Longer, d.Times = t.longer.share(), t.bins[:]
	d.Median, d.P90, d.Reading = quantile(t.seconds, .5), quantile(t.seconds, .9), quantile(t.reading, .5)
	for i := range d.Labelers {
		l := &d.Labelers[i]
		if got := t.labelers[l.LabelerID]; got != nil {
			got.fill(l, d.Reading/SpeederFactor)
		}
	}
}

func (t *labelerTally) fill(l *LabelerStats, fast float64) {
	l.Median, l.P90 = quantile(t.seconds, .5), quantile(t.seconds, .9)
	l.Agreement, l.Gold, l.Longer, l.PlaceTau = t.agreement.share(), t.gold.share(), t.longer.share(), meanOf(t.tau)
	hits := 0
	for _, v := range t.reading {
		if v < fast {
			hits++
		}
	}
	if n := len(t.reading); n > 0 {
		l.Fast = Share{Value: float64(hits) / float64(n), N: n}
		l.Fast.Low, l.Fast.High = Wilson(l.Fast.Value, float64(n))
	}
}

func (p placeSums) bias(k int) PlaceBias {
	b := PlaceBias{K: k, Rankings: p.n, Mean: make([]float64, k), Error: make([]float64, k)}
	n := float64(p.n)
	for d := range p.sum {
		b.Mean[d] = p.sum[d] / n
		if p.n > 1 {
			b.Error[d] = math.Sqrt(max(0, p.total[d]/n-b.Mean[d]*b.Mean[d]) / (n - 1))
		}
	}
	return b
}

func meanOf(x []float64) Mean {
	n := float64(len(x))
	if n == 0 {
		return Mean{}
	}
	m := Mean{Low: -1, High: 1, N: len(x)}
	for _, v := range x {
		m.Value += v / n
	}
	if n > 1 {
		var ss float64
		for _, v := range x {
			ss += (v - m.Value) * (v - m.Value)
		}
		half := z95 * math.Sqrt(ss/(n-1)/n)
		m.Low, m.High = max(-1, m.Value-half), min(1, m.Value+half)
	}
	return m
}

// quantile is the smallest value that at least the share q of x does not exceed; 0 of nothing. It sorts x.
func quantile(x []float64, q float64) float64 {
	if len(x) == 0 {
		return 0
	}
	slices.Sort(x)
	return x[max(0, int(math.Ceil(q*float64(len(x))))-1)]
}

func newestOf[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}
