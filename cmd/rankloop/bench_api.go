package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/kernel"
)

type benchAPICmd struct {
	Of      []string      `default:"streams,wire,beside,overload,http" enum:"streams,wire,beside,overload,http" help:"What is measured: ${enum}."`
	Shape   string        `default:"starter" help:"Shape of the model: ${bench_shapes}."`
	Streams int           `default:"32" help:"Streams that are written together."`
	Prompt  int           `default:"32" help:"Tokens of a prompt."`
	Tokens  int           `default:"48" help:"Tokens of an answer; all are written."`
	Rate    float64       `default:"20" help:"Of beside: requests a second."`
	Calls   float64       `default:"1000" help:"Of http: requests a second."`
	Time    time.Duration `default:"3s" help:"How long a sample takes."`
	Repeats int           `default:"3" help:"Samples; medians are shown."`
	JSON    bool          `name:"json" help:"As JSON."`
}

func (benchAPICmd) Help() string {
	return `The engine that answers the API, with random weights and prompts, every prompt another; and the API around it.

  - streams: many streams together against one alone, in turn
  - wire: the same as events over HTTP, with a server of its own that serves the starter model
  - beside: the time to the first token of requests that come now and then, with the machine idle and beside a PPO step on all
    threads, in turn
  - overload: requests at four times the rate that the engine can serve, whatever becomes of them: how long those that were taken on
    took, against half that rate; how soon the others were sent away; how much was still served; and how it is afterwards
  - http: requests a second to a server of its own, with keys, limits and usage in a Postgres of its own, and a model so small that
    writing costs nothing: how long an answer takes; and how many tokens a second go out as events of streams

Example:
  rankloop bench api --of beside --time 5s`
}

func (c benchAPICmd) Run(ctx context.Context, std streams) error {
	if min(c.Streams, c.Prompt, c.Tokens, c.Repeats) < 1 || c.Rate <= 0 || c.Calls <= 0 || c.Time <= 0 {
		return usageError{errors.New("counts of at least 1 and a positive --rate, --calls and --time are wanted")}
	}
	m, err := benchModel(shapeFlags{c.Shape}, c.Prompt+c.Tokens)
	if err != nil {
		return err
	}
	defer spareProcessor()()
	show := newProgress(std.err)
	defer show.end()
	lab := &apiLab{benchAPICmd: c, m: m.PackedCopy(model.WeightsFloat32), show: show}
	var bars []bar
	for _, part := range []struct {
		name string
		run  func(context.Context) ([]bar, error)
	}{{"streams", lab.together}, {"wire", lab.wire}, {"beside", lab.beside}, {"overload", lab.overload}, {"http", lab.http}} {
		if !slices.Contains(c.Of, part.name) {
			continue
		}
		some, err := part.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		bars = append(bars, some...)
	}
	show.end()
	if c.JSON {
		return json.NewEncoder(std.out).Encode(map[string]any{"shape": c.Shape, "streams": c.Streams, "bars": bars})
	}
	return printBars(std.out, bars)
}

// spareProcessor lets Go run one goroutine more than kernels have threads, so that whoever comes while all compute (a request, a
// timer) is heard at once; it returns what takes that back.
func spareProcessor() func() {
	before := runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), kernel.Threads()+1))
	return func() { runtime.GOMAXPROCS(before) }
}

// apiLab is an engine's load.
type apiLab struct {
	benchAPICmd
	m     *model.Transformer
	show  *progress
	asked int // so far
}

// engine starts one with so many places, and as many more as may wait.
func (l *apiLab) engine(places, wait int) *decode.Engine {
	return decode.NewEngine(l.m, nil, decode.EngineOptions{MaxBatch: places, Queue: wait})
}

// request is another one each time.
func (l *apiLab) request() decode.Request {
	l.asked++
	rng := rand.New(rand.NewPCG(1, uint64(l.asked)))
	ids := make([]int32, l.Prompt)
	for i := range ids {
		ids[i] = int32(rng.IntN(l.m.Config().Vocab))
	}
	return decode.Request{Prompt: ids, Customer: "bench", Key: fmt.Sprint(l.asked % 8),
		Params: decode.Params{MaxTokens: l.Tokens, Temperature: 1, Seed: uint64(l.asked), IgnoreEOS: true}}
}

// answer is what became of a request.
type answer struct {
	refused, first, last time.Duration // until it was sent away; from its time to the first and the last token
	tokens               int
	err                  error
}

// ask sends a request that was due at a time, and reads all of it.
func (l *apiLab) ask(ctx context.Context, e *decode.Engine, r decode.Request, due time.Time) (a answer) {
	s, err := e.Submit(ctx, r)
	if err != nil {
		a.refused, a.err = time.Since(due), err
		return a
	}
	for {
		_, ok, err := s.Next(ctx)
		if err != nil || !ok {
			a.err, a.last = err, time.Since(due)
			return a
		}
		if a.tokens++; a.tokens == 1 {
			a.first = time.Since(due)
		}
	}
}

// open sends requests at even times whatever becomes of them, rate a second, until ctx ends or span has passed, and waits for all.
func (l *apiLab) open(ctx context.Context, e *decode.Engine, rate float64, span time.Duration) []answer {
	var all sync.WaitGroup
	var mu sync.Mutex
	var out []answer
	begin := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		after := time.Duration(float64(i) / rate * float64(time.Second))
		if after >= span || !pauseFor(ctx, time.Until(begin.Add(after))) && ctx.Err() != nil {
			break
		}
		r, due := l.request(), begin.Add(after)
		all.Go(func() {
			a := l.ask(ctx, e, r, due)
			mu.Lock()
			out = append(out, a)
			mu.Unlock()
		})
	}
	all.Wait()
	return out
}

// closed keeps n streams going for so long and returns tokens a second.
func (l *apiLab) closed(ctx context.Context, e *decode.Engine, n int, span time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	before, begin := e.Stats().Completions, time.Now()
	var all sync.WaitGroup
	requests := make(chan decode.Request)
	for range n {
		all.Go(func() {
			for r := range requests {
				l.ask(ctx, e, r, time.Now())
			}
		})
	}
	for ctx.Err() == nil {
		select {
		case requests <- l.request():
		case <-ctx.Done():
		}
	}
	rate := float64(e.Stats().Completions-before) / time.Since(begin).Seconds()
	close(requests)
	all.Wait()
	if rate == 0 {
		return 0, errors.New("no token in a sample; use a longer --time")
	}
	return rate, nil
}
