package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/labeling/simulate"
)

type crowdCmd struct {
	Labelers int     `help:"Labelers of a crowd." default:"20"`
	Bad      string  `help:"Bad labelers of a crowd, in turn over the seeds." default:"1-4"`
	Seeds    string  `help:"Seeds, such as 0-199; one crowd each." default:"0-199"`
	K        string  `name:"k" help:"Answers of a task, such as 4 or 2-7; each is a row of its own." default:"4"`
	Labels   int     `help:"Rankings that each labeler gives." default:"60"`
	Overlap  int     `help:"Labelers of a task." default:"3"`
	Gold     float64 `help:"Share of gold tasks in a labeler's stream." default:"0.1"`
	Every    int     `help:"Rankings of each labeler between two looks of the rule." default:"10"`
	Targeted bool    `help:"The bad ones are honest but flip the prompts that have a trigger: reported, without a bar."`
	JSON     bool    `name:"json" help:"Print one JSON line for each K."`
}

func (crowdCmd) Help() string {
	return `Simulates crowds of labelers of whom some are bad (flipped, random, a fixed position, longest wins, four times the noise) and
applies the quarantine rule of 'labeling' to what they rank. Exits 0 where at least 95% of the bad are found within the labels
given and at most 2% of the honest are quarantined, at the first K.

Example:
  rankloop crowd --seeds 0-199 --k 4 --json`
}

// The bar of the simulation: shares of the bad who must be found, and of the honest who may be.
const (
	crowdFound = 0.95
	crowdLost  = 0.02
)

// crowdShare is a share of labelers with its 95% interval (Wilson's, the crowds being independent).
type crowdShare struct {
	N      int     `json:"n"`
	Caught int     `json:"caught"`
	Share  float64 `json:"share"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Labels float64 `json:"mean_labels"` // given by the ones caught, at the look that caught them
}

func (s *crowdShare) add(m crowdMember) {
	s.N++
	if m.Caught {
		s.Labels += (float64(m.Labels) - s.Labels) / float64(s.Caught+1)
		s.Caught++
	}
	s.Share = float64(s.Caught) / float64(s.N)
	s.Low, s.High = labeling.Wilson(s.Share, float64(s.N))
}

// crowdReport is a row of the command: one operating point over all seeds.
type crowdReport struct {
	K         int                            `json:"k"`
	Crowds    int                            `json:"crowds"`
	Labelers  int                            `json:"labelers"`
	Labels    int                            `json:"labels"`
	Overlap   int                            `json:"overlap"`
	Gold      float64                        `json:"gold_rate"`
	Rule      labeling.Rule                  `json:"rule"`
	Agreement float64                        `json:"honest_agreement"`
	Bad       crowdShare                     `json:"bad"`
	Honest    crowdShare                     `json:"honest"`
	ByFault   map[simulate.Fault]*crowdShare `json:"by_fault"`
	Holds     bool                           `json:"holds"`
}

func (c crowdCmd) Run(ctx context.Context, std streams) error {
	seeds, err := parseSeeds(c.Seeds)
	if err != nil {
		return usageError{err}
	}
	ks, err := parseSeeds(c.K)
	if err != nil {
		return usageError{fmt.Errorf("--k %s: want numbers such as 4 or 2-7", c.K)}
	}
	bad, err := parseSeeds(c.Bad)
	if err != nil {
		return usageError{fmt.Errorf("--bad %s: want numbers such as 1-4", c.Bad)}
	}
	for _, n := range bad {
		if n >= c.Labelers {
			return usageError{fmt.Errorf("--bad %s: a crowd of %d cannot have that many", c.Bad, c.Labelers)}
		}
	}
	for _, k := range ks {
		if k < labeling.MinAnswers || k > labeling.MaxAnswers {
			return usageError{fmt.Errorf("--k %s: a task has %d to %d answers", c.K, labeling.MinAnswers, labeling.MaxAnswers)}
		}
	}
	if c.Labels < 1 || c.Overlap < 1 || c.Overlap > c.Labelers || c.Every < 1 || !(c.Gold >= 0 && c.Gold < 1) {
		return usageError{fmt.Errorf("labels and every must be positive, overlap within the crowd, gold within 0 and 1")}
	}
	var first *crowdReport
	for _, k := range ks {
		report, err := c.measure(ctx, seeds, bad, k)
		if err != nil {
			return err
		}
		if first == nil {
			first = report
		}
		if err := c.print(std, report); err != nil {
			return err
		}
	}
	if !first.Holds && !c.Targeted {
		return fmt.Errorf("the bar does not hold: %.1f%% of the bad found (%.0f%% wanted), %.2f%% of the honest quarantined (%.0f%% allowed)",
			100*first.Bad.Share, 100*crowdFound, 100*first.Honest.Share, 100*crowdLost)
	}
	return nil
}

// measure runs one crowd for each seed, as many at once as there are processors.
func (c crowdCmd) measure(ctx context.Context, seeds, bad []int, k int) (*crowdReport, error) {
	setup := crowdSetup{Labelers: c.Labelers, Labels: c.Labels, K: k, Overlap: c.Overlap, GoldRate: c.Gold, Every: c.Every,
		Rule: labeling.DefaultRule, Targeted: c.Targeted}
	reads := simulate.Reads(1, 3000, k)
	results := make([]crowdResult, len(seeds))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				s := setup
				s.Bad = bad[i%len(bad)]
				results[i] = runCrowd(s, uint64(seeds[i]), reads)
			}
		})
	}
	for i := range seeds {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r := &crowdReport{K: k, Crowds: len(seeds), Labelers: c.Labelers, Labels: c.Labels, Overlap: c.Overlap, Gold: c.Gold, Rule: setup.Rule,
		ByFault: map[simulate.Fault]*crowdShare{}}
	var agree, pairs float64
	for _, res := range results {
		agree, pairs = agree+res.Agreement[0], pairs+res.Agreement[1]
		for _, m := range res.Members {
			if m.Fault == simulate.Honest {
				r.Honest.add(m)
				continue
			}
			r.Bad.add(m)
			if r.ByFault[m.Fault] == nil {
				r.ByFault[m.Fault] = new(crowdShare)
			}
			r.ByFault[m.Fault].add(m)
		}
	}
	if pairs > 0 {
		r.Agreement = agree / pairs
	}
	r.Holds = r.Bad.Share >= crowdFound && r.Honest.Share <= crowdLost
	return r, nil
}

func (c crowdCmd) print(std streams, r *crowdReport) error {
	if c.JSON {
		b, err := json.Marshal(r)
		if err == nil {
			_, err = fmt.Fprintln(std.out, string(b))
		}
		return err
	}
	fmt.Fprintf(std.out, "K %d: %d crowds of %d, %d labels each, overlap %d, gold %.0f%%; two honest labelers agree on %.1f%% of pairs\n",
		r.K, r.Crowds, r.Labelers, r.Labels, r.Overlap, 100*r.Gold, 100*r.Agreement)
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	row := func(name string, s *crowdShare) {
		if s == nil {
			return
		}
		labels := ""
		if s.Caught > 0 {
			labels = fmt.Sprintf("after %.1f labels", s.Labels)
		}
		fmt.Fprintf(tw, "  %s\t%d of %d\t%.1f%%\t[%.1f, %.1f]\t%s\n", name, s.Caught, s.N, 100*s.Share, 100*s.Low, 100*s.High, labels)
	}
	for _, f := range append(simulate.Faults, simulate.Targeted) {
		row(string(f), r.ByFault[f])
	}
	row("all bad", &r.Bad)
	row("honest", &r.Honest)
	if err := tw.Flush(); err != nil {
		return err
	}
	if c.Targeted {
		return nil
	}
	_, err := fmt.Fprintln(std.out, strings.TrimSpace(map[bool]string{true: "  the bar holds", false: "  THE BAR FAILS"}[r.Holds]))
	return err
}
