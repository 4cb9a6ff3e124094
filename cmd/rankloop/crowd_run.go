package main

import (
	"math/rand/v2"
	"slices"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/labeling/simulate"
)

// crowdSetup is one crowd of the simulation: who is in it, and the operating point of the project it works for.
type crowdSetup struct {
	Labelers, Bad int
	Labels        int // each labeler gives at most so many
	K, Overlap    int
	GoldRate      float64
	Every         int // labels of each labeler between two looks of the rule
	Rule          labeling.Rule
	Targeted      bool // the bad ones flip only the prompts that have the trigger
}

// trigger is the word that targeted poisoning looks for: about one prompt in twelve has it.
const trigger = "drum"

// crowdMember is one labeler's end.
type crowdMember struct {
	Fault    simulate.Fault
	Labels   int // given when it was quarantined, or all
	Caught   bool
	Evidence float64 // at the last look
}

// crowdResult is one crowd's end.
type crowdResult struct {
	Members   []crowdMember
	Agreement [2]float64 // pairs that two honest labelers order alike, of those that both order
}

// runCrowd lets a crowd rank, in memory: tasks are dealt in the order of the queue, each to Overlap labelers, gold tasks in
// between at their rate; the rule looks after every Every labels and a labeler it suspects is quarantined: its labels are put
// aside and the slots open again. reads are the tasks to draw from.
func runCrowd(c crowdSetup, seed uint64, reads []simulate.Read) crowdResult {
	rng := rand.New(rand.NewPCG(seed, 0xc04d))
	world := simulate.Starter().(simulate.Casting)
	members := make([]crowdMember, c.Labelers)
	workers := make([]simulate.Worker, c.Labelers)
	faulty := rng.Perm(c.Labelers)[:c.Bad]
	for i := range workers {
		fault := simulate.Honest
		if slices.Contains(faulty, i) {
			fault = simulate.Faults[rng.IntN(len(simulate.Faults))]
			if c.Targeted {
				fault = simulate.Targeted
			}
		}
		members[i].Fault = fault
		workers[i] = simulate.NewWorker(world.Cast(seed, i), fault, trigger)
	}
	q := newCrowdQueue(c, rng, reads)
	for given := 1; given <= c.Labels; given++ {
		for _, i := range rng.Perm(c.Labelers) {
			if members[i].Caught {
				continue
			}
			task, read := q.claim(i, rng.Float64() < c.GoldRate)
			order := rng.Perm(c.K)
			shown := workers[i].Rank(rng, read.Shown(order))
			ranks := make([]int, c.K)
			for d, pos := range order {
				ranks[pos] = shown[d]
			}
			task.Labels = append(task.Labels, labeling.Label{Labeler: labelerName(i), Ranks: ranks, Order: order, At: int64(given)})
			members[i].Labels++
		}
		if given%c.Every == 0 || given == c.Labels {
			for _, s := range labeling.Suspect(q.judged(), c.Rule) {
				i := int(s.Labeler[0])
				members[i].Evidence = s.Evidence
				if s.Suspect {
					members[i].Caught = true
					q.quarantine(i)
				}
			}
		}
	}
	return crowdResult{Members: members, Agreement: q.agreement(members)}
}

func labelerName(i int) string { return string(rune(i)) }

// crowdQueue deals tasks.
type crowdQueue struct {
	c      crowdSetup
	tasks  []*labeling.Judged // ordinary ones, then gold; Reads alike
	reads  []simulate.Read
	golds  []*labeling.Judged
	goldAt []int // by labeler: the next gold task
	pool   []simulate.Read
	rng    *rand.Rand
}

func newCrowdQueue(c crowdSetup, rng *rand.Rand, pool []simulate.Read) *crowdQueue {
	return &crowdQueue{c: c, goldAt: make([]int, c.Labelers), pool: pool, rng: rng}
}

func (q *crowdQueue) draw() (simulate.Read, []int) {
	r := q.pool[q.rng.IntN(len(q.pool))]
	return r, slices.Clone(r.Words)
}

// claim is a task that the labeler has not ranked: gold, or the first of the queue with an open slot.
func (q *crowdQueue) claim(labeler int, gold bool) (*labeling.Judged, simulate.Read) {
	name := labelerName(labeler)
	if gold {
		at := q.goldAt[labeler]
		q.goldAt[labeler]++
		if at == len(q.golds) {
			r, lengths := q.draw()
			t := &labeling.Judged{Lengths: lengths, Gold: ranksOf(r.Gold)}
			q.golds, q.tasks, q.reads = append(q.golds, t), append(q.tasks, t), append(q.reads, r)
		}
		t := q.golds[at]
		return t, q.reads[slices.Index(q.tasks, t)]
	}
	for n, t := range q.tasks {
		if t.Gold == nil && len(t.Labels) < q.c.Overlap && !slices.ContainsFunc(t.Labels, func(l labeling.Label) bool { return l.Labeler == name }) {
			return t, q.reads[n]
		}
	}
	r, lengths := q.draw()
	t := &labeling.Judged{Lengths: lengths}
	q.tasks, q.reads = append(q.tasks, t), append(q.reads, r)
	return t, r
}

// ranksOf are the known ranks: by gold score, equal scores tied.
func ranksOf(gold []float64) []int {
	out := make([]int, len(gold))
	for i, g := range gold {
		out[i] = 1
		for _, h := range gold {
			if h > g+1e-9 {
				out[i]++
			}
		}
	}
	return out
}

func (q *crowdQueue) quarantine(labeler int) {
	name := labelerName(labeler)
	for _, t := range q.tasks {
		t.Labels = slices.DeleteFunc(t.Labels, func(l labeling.Label) bool { return l.Labeler == name })
	}
}

func (q *crowdQueue) judged() []labeling.Judged {
	out := make([]labeling.Judged, 0, len(q.tasks))
	for _, t := range q.tasks {
		if len(t.Labels) > 0 {
			out = append(out, *t)
		}
	}
	return out
}

// agreement counts the pairs on which honest labelers of a task agree, and those that both order.
func (q *crowdQueue) agreement(members []crowdMember) (n [2]float64) {
	honest := func(l labeling.Label) bool { return members[int(l.Labeler[0])].Fault == simulate.Honest }
	for _, t := range q.tasks {
		for i, x := range t.Labels {
			for _, y := range t.Labels[:i] {
				if honest(x) && honest(y) {
					c := labeling.Concordance(x.Ranks, y.Ranks)
					n[0] += float64(c.Concordant)
					n[1] += float64(c.Concordant + c.Discordant)
				}
			}
		}
	}
	return n
}
