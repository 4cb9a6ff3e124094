package loop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/remote"
)

const (
	engineWorkers = 4                // requests to one engine at a time
	engineGiveUp  = 3                // failures in a row after which an engine is not asked again for a chunk
	engineLeave   = 20 * time.Second // of a job's time for the policy and the database
	sampleLimit   = 10 * time.Minute // of a job that asks engines
)

// timeoutOf is a sampling job's; 0 is that of all jobs.
func timeoutOf(slow bool) time.Duration {
	if slow {
		return sampleLimit
	}
	return 0
}

// askEngines lets the other engines answer prompts, at most k answers to each. It returns what came, [prompt][]: an engine that fails, is
// too slow or out of budget is missed and no error; the policy fills its places. Customers' prompts go to engines that may see them.
func (l *Loop) askEngines(ctx context.Context, prompts []labeling.Prompt, k int, seed uint64) ([][]labeling.NewResponse, error) {
	out := make([][]labeling.NewResponse, len(prompts))
	list, err := l.Engines(ctx)
	if err != nil || l.Remote == nil {
		return out, err
	}
	patient := ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		patient, cancel = context.WithDeadline(ctx, end.Add(-engineLeave))
		defer cancel()
	}
	for _, e := range list {
		if !e.Enabled {
			continue
		}
		before := count(out)
		if err := l.askEngine(patient, e, prompts, k, seed, out); err != nil && patient.Err() == nil {
			l.Log.Error("engine not asked", "engine", e.Name, "error", err)
		}
		if n := count(out) - before; n > 0 {
			if err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
				return audit(ctx, tx, "system", "engine.answers", e.ID, map[string]any{"engine": e.Name, "model": e.Model, "answers": n})
			}); err != nil {
				return nil, err
			}
		}
	}
	return out, ctx.Err()
}

func count(answers [][]labeling.NewResponse) (n int) {
	for _, a := range answers {
		n += len(a)
	}
	return n
}

// askEngine adds one engine's answers to those that are there.
func (l *Loop) askEngine(ctx context.Context, e Engine, prompts []labeling.Prompt, k int, seed uint64, out [][]labeling.NewResponse) error {
	server, err := l.server(ctx, e)
	if err != nil {
		return err
	}
	a := asking{l: l, e: e, server: server, seed: seed}
	queue := make(chan int)
	var workers sync.WaitGroup
	for range engineWorkers {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := range queue {
				out[i] = append(out[i], a.answer(ctx, prompts[i], min(e.Answers, k-len(out[i])), i, out[i])...)
			}
		}()
	}
	for i, p := range prompts {
		if len(out[i]) < k && (e.Customers || p.CustomerID == nil && p.Origin != labeling.OriginAPI) {
			queue <- i
		}
	}
	close(queue)
	workers.Wait()
	return a.err
}

// asking is one engine's share of a chunk.
type asking struct {
	l      *Loop
	e      Engine
	server remote.Server
	seed   uint64

	mu     sync.Mutex
	failed int   // in a row
	over   bool  // not asked again
	err    error // of the database
}

// answer asks for n answers to a prompt; texts that repeat another are left out, since ranking two equal texts tells nothing.
func (a *asking) answer(ctx context.Context, p labeling.Prompt, n, i int, have []labeling.NewResponse) []labeling.NewResponse {
	a.mu.Lock()
	over := a.over
	a.mu.Unlock()
	if over || ctx.Err() != nil {
		return nil
	}
	r, err := a.l.ask(ctx, a.e, a.server, remote.Request{Messages: messagesOf(p), N: n, MaxTokens: a.e.MaxTokens, Temperature: 1, Seed: seedOf(a.seed+uint64(i), a.e.ID)})
	a.mu.Lock()
	defer a.mu.Unlock()
	var e *remote.Error
	switch {
	case err == nil:
		a.failed = 0
	case errors.Is(err, errBudget):
		a.over = true
	case errors.As(err, &e):
		a.failed++
		a.over = a.over || a.failed >= engineGiveUp || !e.Passing()
	case ctx.Err() == nil:
		a.over, a.err = true, err
	}
	var out []labeling.NewResponse
	seen := map[string]bool{}
	for _, x := range have {
		seen[x.Text] = true
	}
	for _, x := range r.Answers {
		text, _ := labeling.Sanitize(x.Text)
		if seen[text] {
			continue
		}
		seen[text] = true
		out = append(out, labeling.NewResponse{Text: text, ModelVersion: provenance(a.e, r.Model), Finish: finishOf(x.Finish)})
	}
	return out
}

// provenance is the engine's, with a model name that can be stored.
func provenance(e Engine, model string) string {
	if labeling.CheckText("", model) != nil || !printable(model, 200) {
		model = ""
	}
	return e.Provenance(model)
}

// finishOf keeps to the words that this program knows.
func finishOf(s string) string {
	if s == "stop" || s == "length" {
		return s
	}
	return ""
}

func messagesOf(p labeling.Prompt) []remote.Message {
	out := make([]remote.Message, len(p.Messages))
	for i, m := range p.Messages {
		out[i] = remote.Message{Role: m.Role, Content: m.Content}
	}
	return out
}

var errBudget = errors.New("loop: the engine's budget of the day is used up")

// ask asks within the engine's budget.
func (l *Loop) ask(ctx context.Context, e Engine, s remote.Server, r remote.Request) (remote.Reply, error) {
	aside, ok, err := l.reserveEngine(ctx, e.ID, e.estimate(r.Messages, r.N))
	if err != nil {
		return remote.Reply{}, err
	}
	if !ok {
		return remote.Reply{}, errBudget
	}
	reply, failure := l.Remote.Chat(ctx, s, r)
	if err := l.settleEngine(ctx, e.ID, aside, used(r.Messages, reply), reply, failure); err != nil {
		return remote.Reply{}, err
	}
	return reply, failure
}

// TestEngine asks an engine for a few words, whether it is enabled or not, and says how long it took. What it answered is not told.
// A *remote.Error says why there was no answer; InvalidError that the budget is used up.
func (l *Loop) TestEngine(ctx context.Context, id, actor string) (time.Duration, error) {
	e, err := l.Engine(ctx, id)
	if err != nil {
		return 0, err
	}
	if l.Remote == nil {
		return 0, errors.New("loop: nothing can ask other engines")
	}
	if err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error { return audit(ctx, tx, actor, "engine.test", id, map[string]any{"name": e.Name}) }); err != nil {
		return 0, err
	}
	server, err := l.server(ctx, e)
	if err != nil {
		return 0, err
	}
	started := time.Now()
	_, err = l.ask(ctx, e, server, remote.Request{Messages: []remote.Message{{Role: "user", Content: "Say hello."}}, N: 1, MaxTokens: min(16, e.MaxTokens), Temperature: 1, Seed: 1})
	if errors.Is(err, errBudget) {
		return 0, &InvalidError{"daily_tokens", fmt.Sprintf("the budget of today is used up: %d of %d tokens", e.Today.Tokens, e.DailyTokens)}
	}
	return time.Since(started), err
}
