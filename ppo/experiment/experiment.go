package experiment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rankloop/rankloop/model/kernel"
	"github.com/rankloop/rankloop/ppo"
)

// spec is one line of the table of experiments.
type spec struct {
	name, title string
	fast        bool     // one of the fast set
	once        bool     // does not depend on the seed: done with the first one
	pure        bool     // arithmetic: needs no model
	plots       []Plot   // what points are drawn in
	demands     []demand // over all seeds
	run         func(ctx context.Context, l *lab, seed int, r *recorder) error
	finish      func(r *recorder, each []*recorder) // may be nil: what is measured over all seeds
}

// demand is a bound that is not simply one on every seed.
type demand struct {
	what  string
	share float64 // of the seeds that must keep the bounds of their rows; 0 = a bound on the mean instead
	mean  bound
	toy   bool // asked for in the toy world alone, where it was calibrated
}

// Fast is the name of the set that runs within minutes.
const Fast = "fast"

// All is the name of the set of everything.
const All = "all"

// Info is one line of the list of experiments.
type Info struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Fast  bool   `json:"fast"`
}

// List tells the experiments in the order in which a set runs them.
func List() []Info {
	var out []Info
	for _, s := range table() {
		out = append(out, Info{s.name, s.title, s.fast})
	}
	return out
}

// Names lists the experiments' names.
func Names() []string {
	var out []string
	for _, s := range table() {
		out = append(out, s.name)
	}
	return out
}

// Options say where and how experiments run. The zero value is the fast size of the toy world without a cache.
type Options struct {
	World   string // WorldToy (also "") or WorldStarter
	Size    string // SizeFast (also "") or Size1M
	Cache   string // folder that keeps base and SFT between runs; "" = none
	Workers int    // seeds under way at once, a thread each; below 1 = one for each thread of the kernels. No figure depends on it
	Log     func(line string)
}

// Run does one experiment, the fast set or all of them, and returns what each found, in the order of the table. An error
// means that an experiment could not be done, not that it does not hold. While seeds run side by side, kernels use one
// thread each: kernel.SetThreads is set to 1 and back.
func Run(ctx context.Context, name string, seeds []int, opt Options) ([]Result, Speed, error) {
	l, err := newLab(opt)
	if err != nil {
		return nil, Speed{}, err
	}
	return l.experiments(ctx, name, seeds)
}

// choose finds the experiments of a name.
func choose(name string) ([]spec, error) {
	chosen := slices.DeleteFunc(table(), func(s spec) bool {
		return !(s.name == name || name == All || name == Fast && s.fast)
	})
	if len(chosen) == 0 {
		return nil, &InvalidError{"name", fmt.Sprintf("there is no experiment %q; there are %s, and the sets fast and all", name, strings.Join(Names(), ", "))}
	}
	return chosen, nil
}

// task is one seed of one experiment.
type task struct {
	spec spec
	seed int
	rec  *recorder
}

// experiments runs the tasks of all chosen experiments, experiment by experiment: neighbours are of different seeds, and what
// the experiments of a seed share is there when the second of them asks for it.
func (l *lab) experiments(ctx context.Context, name string, seeds []int) ([]Result, Speed, error) {
	start := time.Now()
	seeds = slices.Compact(slices.Sorted(slices.Values(seeds)))
	if len(seeds) == 0 {
		return nil, Speed{}, &InvalidError{"seeds", "there are none"}
	}
	chosen, err := choose(name)
	if err != nil {
		return nil, Speed{}, err
	}
	var tasks []task
	for _, s := range chosen {
		for i, seed := range seeds {
			if s.once && i > 0 {
				break
			}
			tasks = append(tasks, task{s, seed, &recorder{seed: seed, log: l.log, name: s.name}})
		}
	}
	if slices.ContainsFunc(chosen, func(s spec) bool { return !s.pure }) {
		if _, err := l.SFT(ctx); err != nil { // with all threads, before the seeds have one each
			return nil, Speed{}, err
		}
	}
	if err := l.work(ctx, tasks); err != nil {
		return nil, Speed{}, err
	}
	var out []Result
	for _, s := range chosen {
		var each []*recorder
		for _, t := range tasks {
			if t.spec.name == s.name {
				each = append(each, t.rec)
			}
		}
		out = append(out, l.result(s, seeds, each))
	}
	return out, l.speed(start, len(tasks)), nil
}

// work does the tasks with as many workers as there may be. The first error ends all.
func (l *lab) work(ctx context.Context, tasks []task) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workers := l.workers
	if workers < 1 {
		workers = kernel.Threads()
	}
	workers = min(workers, len(tasks))
	if workers > 1 {
		defer kernel.SetThreads(kernel.Threads())
		kernel.SetThreads(1)
	}
	next := make(chan task)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for t := range next {
				if err := l.one(ctx, t); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, t := range tasks {
		if ctx.Err() != nil {
			break
		}
		next <- t
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// one does a task. A run that its health checks stopped is a finding, not an error.
func (l *lab) one(ctx context.Context, t task) error {
	err := t.spec.run(ctx, l, t.seed, t.rec)
	var h *ppo.HealthError
	switch {
	case errors.As(err, &h):
		t.rec.check("stopped by its health checks", 1, equals(0))
		t.rec.log(fmt.Sprintf("%s, seed %d: %v", t.spec.name, t.seed, h))
	case err != nil:
		return fmt.Errorf("experiment %s, seed %d: %w", t.spec.name, t.seed, err)
	}
	return nil
}
