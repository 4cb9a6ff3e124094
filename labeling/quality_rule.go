package labeling

import (
	"cmp"
	"math"
	"slices"
)

// Rule is the quarantine rule's operating point.
type Rule struct {
	// FalseAlarms bounds the share of honest labelers who are ever suspected, however long they work.
	FalseAlarms float64
	// MinLabels is how many rankings must be in before anybody is suspected.
	MinLabels int
}

// DefaultRule is the operating point of a new project. The bound is loose: crowds are measured to lose one honest labeler in
// two hundred (`rankloop crowd`).
var DefaultRule = Rule{FalseAlarms: 0.05, MinLabels: 20}

// Suspicion is what the rule says of one labeler.
type Suspicion struct {
	Labeler string
	Labels  int     // rankings looked at
	Sense   float64 // the labeler's inverse temperature over the crowd's: 1 like the others, 0 random, below 0 reversed
	// Evidence is the natural logarithm of the likelihood of the labeler's rankings as those of a bad labeler over that as
	// an honest one's. Suspect is set where it reaches -ln(Rule.FalseAlarms).
	Evidence float64
	Suspect  bool
	Fault    string // the bad hypothesis that fits best: "random", "careless", "reversed", "length", "brevity", "places"
}

// hypothesis is a reader with its prior weight.
type hypothesis struct {
	name   string
	weight float64
	reader
}

// honest is how the rule believes labelers who do their work to be spread: noise from 0.7 to 1.25 times the median
// labeler's, and a small pull of length and place.
var honest = func() (out []hypothesis) {
	for _, sense := range []struct{ at, weight float64 }{{0.8, .15}, {0.9, .3}, {1.1, .3}, {1.4, .25}} {
		for _, length := range []float64{-0.15, 0.15} {
			for _, place := range []float64{0, 0.2} {
				out = append(out, hypothesis{"", sense.weight / 4, reader{Sense: sense.at, Length: length, Place: place}})
			}
		}
	}
	return out
}()

// faults are the readers that the rule looks for, with weights (which sum to one): those that show soon need little.
var faults = []hypothesis{
	{"careless", .4, reader{Sense: 0.3}}, {"random", .3, reader{}}, {"reversed", .08, reader{Sense: -0.5}}, {"reversed", .07, reader{Sense: -1}},
	{"length", .05, reader{Length: 3}}, {"brevity", .05, reader{Length: -3}}, {"places", .05, reader{Habit: 5}},
}

// senses is the grid on which a labeler's sense is estimated, with the prior weight of each: four of five labelers do their
// work.
var senses = []struct{ sense, prior float64 }{{-1, .04}, {-0.5, .03}, {0, .08}, {0.25, .05}, {0.55, .2}, {0.75, .2}, {1, .2}, {1.35, .2}}

// rounds is how often senses and qualities are estimated from each other.
const rounds = 3

// Suspect judges every labeler of a crowd by all tasks that are given, in the order of the labelers' names.
//
// The rule is a sequential probability ratio test of two composite hypotheses, each made simple by weights on its readers
// (Wald 1945, section 6 of "Sequential tests of statistical hypotheses"; Robbins 1970): the evidence against a labeler is the
// weighted mean over the faults of the likelihood of all its rankings, divided by that over the honest readers. For a labeler
// drawn from the honest ones that ratio has expectation one at any time, so by Ville's inequality (1939) it ever reaches
// 1/FalseAlarms with a probability of at most FalseAlarms; no correction for looking often, or for many statistics, is needed.
// There is no lower boundary: an honest labeler is never accepted for good.
//
// The likelihood of a ranking is Plackett and Luce's, integrated over the qualities of the answers given what the others
// said of them (never the labeler itself) and the known ranks of gold tasks. What the others' word is worth is estimated
// along with it, one inverse temperature per labeler, in turns (as Dawid and Skene 1979 do with confusion matrices): a
// colluding or careless neighbour costs an honest labeler little. The unit of senses is the median labeler's; the spread of
// qualities follows from the agreement of those who seem to do their work. Being estimated from the same rankings, these
// make the bound approximate.
func Suspect(tasks []Judged, rule Rule) []Suspicion {
	c := newCrowd(tasks)
	if len(c.names) == 0 {
		return nil
	}
	for range rounds {
		c.scale()
		c.estimate()
	}
	c.scale()
	return c.test(rule)
}

// crowd is a set of judged tasks with what is estimated of it.
type crowd struct {
	tasks  []Judged
	z      [][]float64 // log lengths within the task, standardised
	names  []string
	labels [][]seat // by labeler, in the order of time
	sense  map[string]float64

	sigma  float64 // spread of qualities
	length float64 // what the crowd itself gives for length, in quality per standard deviation
}

// seat is where a labeler's ranking stands.
type seat struct{ task, label int }

func newCrowd(tasks []Judged) *crowd {
	c := &crowd{tasks: tasks, sense: map[string]float64{}, z: logLengths(tasks)}
	by := map[string][]seat{}
	for t, task := range tasks {
		for l, label := range task.Labels {
			by[label.Labeler] = append(by[label.Labeler], seat{t, l})
		}
	}
	for name := range by {
		c.names = append(c.names, name)
		c.sense[name] = 1
	}
	slices.Sort(c.names)
	for _, name := range c.names {
		list := by[name]
		slices.SortStableFunc(list, func(a, b seat) int {
			return cmp.Compare(tasks[a.task].Labels[a.label].At, tasks[b.task].Labels[b.label].At)
		})
		c.labels = append(c.labels, list)
	}
	return c
}

func logLengths(tasks []Judged) [][]float64 {
	z := make([][]float64, len(tasks))
	ss, n := 0.0, 0.0
	for t, task := range tasks {
		z[t] = make([]float64, len(task.Lengths))
		mean := 0.0
		for j, l := range task.Lengths {
			z[t][j] = math.Log(1 + float64(l))
			mean += z[t][j] / float64(len(task.Lengths))
		}
		for j := range z[t] {
			z[t][j] -= mean
			ss += z[t][j] * z[t][j]
		}
		n += float64(len(task.Lengths) - 1)
	}
	if ss == 0 {
		return z
	}
	sd := math.Sqrt(ss / n)
	for _, row := range z {
		for j := range row {
			row[j] = max(-3, min(3, row[j]/sd))
		}
	}
	return z
}

// works says whether a labeler seems to do its work: whose agreement sets the scale.
func (c *crowd) works(l Label) bool { return c.sense[l.Labeler] >= 0.5 }

// scale sets the spread of qualities and the crowd's own taste for length from the labelers who seem to do their work.
func (c *crowd) scale() {
	agree, strict := 0.0, 0.0
	gradient := func(at float64) (g, h float64) {
		for t, task := range c.tasks {
			for _, l := range task.Labels {
				if !c.works(l) {
					continue
				}
				for i, a := range l.Ranks {
					for j, b := range l.Ranks {
						if d := c.z[t][i] - c.z[t][j]; a < b && d != 0 {
							p := 1 / (1 + math.Exp(-at*d))
							g += (1 - p) * d
							h += p * (1 - p) * d * d
						}
					}
				}
			}
		}
		return g, h
	}
	c.length = 0
	for range 5 {
		g, h := gradient(c.length)
		c.length += g / (h + 1)
	}
	for _, task := range c.tasks {
		for i, x := range task.Labels {
			for _, y := range task.Labels[:i] {
				if c.works(x) && c.works(y) {
					n := Concordance(x.Ranks, y.Ranks)
					agree += float64(n.Concordant)
					strict += float64(n.Concordant + n.Discordant)
				}
			}
		}
	}
	// Ten tasks' worth of pairs at InstructGPT's agreement keep a small crowd from a wild scale.
	const prior, weight = 0.726, 60
	c.sigma = spreadOf(max(0.55, min(0.95, (agree+prior*weight)/(strict+weight))))
}

// believe is what the others and the known ranks say of a task, without one of its labels (-1: with all).
func (c *crowd) believe(task, without int) belief {
	t := c.tasks[task]
	prior := make([]float64, len(c.z[task]))
	for j, z := range c.z[task] {
		prior[j] = c.length * z
	}
	var opinions []opinion
	if t.Gold != nil {
		opinions = append(opinions, opinion{t.Gold, goldSense})
	}
	for i, l := range t.Labels {
		if i != without {
			opinions = append(opinions, opinion{l.Ranks, c.sense[l.Labeler]})
		}
	}
	return believe(prior, c.sigma, opinions)
}

// estimate sets every labeler's sense to its posterior mean, given the others' senses of the round before.
func (c *crowd) estimate() {
	next := map[string]float64{}
	var zero [MaxAnswers]float64
	for i, name := range c.names {
		logs := make([]float64, len(senses))
		for g, s := range senses {
			logs[g] = math.Log(s.prior)
		}
		for _, at := range c.labels[i] {
			b := c.believe(at.task, at.label)
			ranks := c.tasks[at.task].Labels[at.label].Ranks
			for g, s := range senses {
				logs[g] += b.likelihood(ranks, s.sense, zero[:len(ranks)])
			}
		}
		total := logSumExp(logs)
		for g, s := range senses {
			next[name] += s.sense * math.Exp(logs[g]-total)
		}
	}
	c.sense = next
}

// unit is the median labeler's sense: what one is on the scale of the readers. Less than half of a crowd cannot move it far.
func (c *crowd) unit() float64 {
	all := make([]float64, 0, len(c.sense))
	for _, v := range c.sense {
		all = append(all, v)
	}
	slices.Sort(all)
	return max(0.5, all[len(all)/2])
}

// test weighs each labeler's rankings.
func (c *crowd) test(rule Rule) []Suspicion {
	unit := c.unit()
	out := make([]Suspicion, len(c.names))
	for i, name := range c.names {
		fair, foul := weights(honest), weights(faults)
		var habit places
		for _, at := range c.labels[i] {
			l := c.tasks[at.task].Labels[at.label]
			b := c.believe(at.task, at.label)
			h := habit.expect(len(l.Ranks))
			for n, r := range honest {
				fair[n] += b.likelihood(l.Ranks, unit*r.Sense, r.offset(c.z[at.task], l.Order, h))
			}
			for n, f := range faults {
				foul[n] += b.likelihood(l.Ranks, unit*f.Sense, f.offset(c.z[at.task], l.Order, h))
			}
			habit.see(l)
		}
		s := Suspicion{Labeler: name, Labels: len(c.labels[i]), Sense: c.sense[name]}
		s.Evidence = logSumExp(foul) - logSumExp(fair)
		s.Suspect = s.Labels >= rule.MinLabels && s.Evidence >= -math.Log(rule.FalseAlarms)
		best := 0
		for n := range foul {
			if foul[n] > foul[best] {
				best = n
			}
		}
		s.Fault = faults[best].name
		out[i] = s
	}
	return out
}

// offset is the part of a reader's utilities that does not come from quality, in the task's own order.
func (r reader) offset(z []float64, order []int, habit []float64) []float64 {
	out := make([]float64, len(z))
	last := float64(max(1, len(order)-1))
	for d, pos := range order {
		out[pos] = r.Length*z[pos] + r.Place*(0.5-float64(d)/last) - r.Habit*habit[d]
	}
	return out
}

// places is a labeler's mean rank by the place shown, by the number of answers.
type places [MaxAnswers + 1]struct {
	n   float64
	sum [MaxAnswers]float64
}

// expect is the mean rank of each of k places so far, from -1 (always best) to 1, drawn to 0 while little was seen.
func (p *places) expect(k int) []float64 {
	out := make([]float64, k)
	for d := range out {
		out[d] = p[k].sum[d] / (p[k].n + 2)
	}
	return out
}

func (p *places) see(l Label) {
	k := len(l.Ranks)
	mid := Midranks(l.Ranks)
	for d, pos := range l.Order {
		p[k].sum[d] += (2*mid[pos] - float64(k+1)) / float64(max(1, k-1))
	}
	p[k].n++
}

func weights(list []hypothesis) []float64 {
	out := make([]float64, len(list))
	for i, h := range list {
		out[i] = math.Log(h.weight)
	}
	return out
}
