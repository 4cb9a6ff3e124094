package decode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// mixModels are one of each way to attend: as many key heads as query heads, fewer, bands, norms behind.
func mixModels(t *testing.T) []*model.Transformer {
	t.Helper()
	var out []*model.Transformer
	for i, cfg := range []model.Config{
		{Family: "gpt2", Layers: 2, Width: 24, Heads: 3}, {Family: "llama", Layers: 2, Width: 32, Heads: 4, KVHeads: 2, Hidden: 60},
		{Family: "gpt3", Layers: 2, Width: 24, Heads: 3, Window: 21}, {Family: "gpt1", Layers: 1, Width: 16, Heads: 2},
	} {
		cfg.Vocab, cfg.Context, cfg.BOS, cfg.EOS = 257, 90, -1, 256
		m, err := model.New(cfg, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		for _, p := range m.Params() {
			for i := range p.Data {
				p.Data[i] += float32(rng.NormFloat64() * 0.15)
			}
		}
		out = append(out, m)
	}
	return out
}

// asked is a request of a mix: when it comes and when its caller goes, in steps of the engine and tokens.
type asked struct {
	Request
	at, leave int // leave -1: never
	stream    *Stream
	cancel    context.CancelFunc
	got       []Token
	err       error
	over      bool
	drawn     [][]int32 // by choice: what the engine has drawn
}

// watch notes what the newest step of the engine drew.
func watch(e *Engine, all []*asked) {
	for _, s := range e.batch.seats {
		for _, a := range all {
			if a.stream == s.of.Stream {
				a.drawn[s.choice] = s.ids[len(a.Prompt):]
			}
		}
	}
}

// drain takes what the stream has.
func (a *asked) drain(t *testing.T) {
	for !a.over {
		tok, ok, err := a.stream.Next(expired())
		switch {
		case ok:
			a.got = append(a.got, tok)
		case err == nil:
			a.over = true
			return
		default:
			a.stream.mu.Lock()
			a.over, a.err = a.stream.ended, a.stream.err
			a.stream.mu.Unlock()
			return
		}
		if len(a.got) == a.leave {
			a.cancel()
		}
	}
}

func randomRequest(rng *rand.Rand, m *model.Transformer, beginnings [][]int32) *asked {
	vocab := m.Config().Vocab
	r := Request{Params: Params{MaxTokens: 1 + rng.IntN(40), Temperature: []float64{0, 0.7, 1, 1.4}[rng.IntN(4)], Seed: rng.Uint64()}}
	r.Prompt = slices.Clone(beginnings[rng.IntN(len(beginnings))])
	r.Prompt = r.Prompt[:1+rng.IntN(len(r.Prompt))]
	for range rng.IntN(20) {
		r.Prompt = append(r.Prompt, int32(rng.IntN(vocab)))
	}
	if rng.IntN(3) == 0 {
		r.TopK, r.TopP = rng.IntN(30), rng.Float64()
	}
	if rng.IntN(3) == 0 {
		r.PresencePenalty, r.FrequencyPenalty = rng.NormFloat64(), rng.NormFloat64()
		r.LogitBias = map[int32]float32{int32(rng.IntN(vocab)): 3, 256: float32(rng.NormFloat64() * 4)}
	}
	if rng.IntN(3) == 0 {
		r.N = 1 + rng.IntN(4)
	}
	if rng.IntN(5) == 0 {
		r.BestOf = max(1, r.N) + rng.IntN(3)
	}
	if rng.IntN(4) == 0 {
		r.Stop = []string{string(rune('a' + rng.IntN(26))), "\x01\x02"}
	}
	r.Logprobs, r.Echo, r.First, r.IgnoreEOS = rng.IntN(3), rng.IntN(5) == 0, rng.IntN(3), rng.IntN(4) == 0
	r.Customer, r.Key = []string{"", "a", "a", "b"}[rng.IntN(4)], strconv.Itoa(rng.IntN(3))
	r.Priority = PriorityLabels + Priority(rng.IntN(3))
	a := &asked{Request: r, at: rng.IntN(30), leave: -1}
	if rng.IntN(5) == 0 {
		a.leave = rng.IntN(8)
	}
	return a
}

// alone is what the request gets without company: its choices, as they are given, by another way than the engine. What it is
// believed to draw saves passes and decides nothing: the logits of a whole text come of one pass, and where another token is drawn
// than the one believed, a pass over what was drawn. A choice that most has a number for ends after so many tokens.
func alone(t *testing.T, m *model.Transformer, tok token.Tokenizer, r Request, believed [][]int32, most []int) [][]Token {
	t.Helper()
	out := make([][]Token, r.choices())
	means := make([]float64, len(out))
	for c := range out {
		row := newRow(m, r.Prompt, r.Params, 256, uint64(r.First+c))
		text, sum := &writer{stream: token.NewStream(tok), stop: r.Stop}, 0.0
		ids := slices.Clone(r.Prompt)
		if c < len(believed) && len(believed[c]) > 0 {
			ids = append(ids, believed[c][:len(believed[c])-1]...)
		}
		known := len(r.Prompt) // how much of ids was asked or drawn
		logits := m.Logits(ids)
		for row.finish == "" && (most == nil || len(out[c]) < most[c]) {
			row.take(logits[known-1], 0)
			got := row.last
			if known == len(ids) || ids[known] != got.ID {
				ids = append(ids[:known], got.ID)
				logits = nil
			}
			known++
			stopped := false
			if row.finish != FinishStop {
				got.Text, stopped = text.next(got.ID)
			}
			if row.finish != "" && !stopped {
				var rest string
				rest, stopped = text.flush()
				got.Text += rest
			}
			if stopped {
				row.finish = FinishStop
			}
			got.Finish = row.finish
			out[c] = append(out[c], got)
			sum += float64(got.Logprob)
			if logits == nil && row.finish == "" {
				logits = m.Logits(ids)
			}
		}
		means[c] = sum / float64(len(out[c]))
	}
	order := make([]int, len(out))
	for i := range order {
		order[i] = i
	}
	if r.BestOf > max(r.N, 1) {
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(means[j], means[i]) })
	}
	var best [][]Token
	for i, c := range order[:max(r.N, 1)] {
		for k := range out[c] {
			out[c][k].Choice = i
		}
		best = append(best, out[c])
	}
	return best
}

// mix runs random requests together, step by step, and compares each with what it gets alone. It returns how many tokens of prompts
// were not read again, and how many requests were cut short.
func mix(t *testing.T, m *model.Transformer, tok token.Tokenizer, seed uint64) (cached, cut int) {
	rng := rand.New(rand.NewPCG(seed, 9))
	page := 16 * (1 + rng.IntN(3))
	opt := EngineOptions{MaxBatch: 1 + rng.IntN(8), Queue: 1000, Chunk: 1 + rng.IntN(40), Page: page, Memory: 1, Patience: patient}
	opt.Memory = int64(6+rng.IntN(60)) * m.NewPages(page, 0).PageBytes()
	e := newEngine(m, tok, opt)
	beginnings := make([][]int32, 2)
	for i := range beginnings {
		beginnings[i] = make([]int32, 1+rng.IntN(60))
		for k := range beginnings[i] {
			beginnings[i][k] = int32(rng.IntN(256))
		}
	}
	var all []*asked
	for range 2 + rng.IntN(8) {
		all = append(all, randomRequest(rng, m, beginnings))
	}
	for now, busy := 0, true; busy || now < 31; now++ {
		for _, a := range all {
			if a.at != now {
				continue
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			s, err := e.Submit(ctx, a.Request)
			if errors.Is(err, ErrMemory) {
				a.over = true
				a.stream, a.err = newStream(), err
				continue
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			a.drawn = make([][]int32, a.choices())
			if a.stream, a.cancel = s, cancel; a.leave == 0 {
				cancel()
			}
		}
		busy = e.step()
		watch(e, all)
		fed := 0
		for i, s := range e.batch.seats {
			if len(s.ids) <= len(s.of.Prompt)+1 {
				fed += len(e.batch.ids[i])
			}
		}
		if most := opt.Chunk + opt.MaxBatch; fed > most || len(e.batch.seats) > opt.MaxBatch {
			t.Fatalf("seed %d: a step reads %d tokens of prompts for %d choices, the most are %d and %d", seed, fed, len(e.batch.seats), opt.Chunk, opt.MaxBatch)
		}
		for _, a := range all {
			if a.stream != nil {
				a.drain(t)
			}
		}
	}
	for i, a := range all {
		if !a.over {
			t.Fatalf("seed %d: request %d does not end", seed, i)
		}
		if errors.Is(a.err, ErrMemory) {
			continue
		}
		got := make([][]Token, max(a.N, 1))
		for _, x := range a.got {
			got[x.Choice] = append(got[x.Choice], x)
		}
		var most []int
		if a.err != nil {
			if !errors.Is(a.err, context.Canceled) || a.leave < 0 {
				t.Fatalf("seed %d: request %d ends by %v", seed, i, a.err)
			}
			cut++
			most = make([]int, a.choices())
			for c := range got {
				most[c] = len(got[c])
			}
		}
		if seed%97 == 0 { // and now and then without what is believed, as it would be alone
			a.drawn = nil
		}
		want := alone(t, m, tok, a.Request, a.drawn, most)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: request %d (%+v) gets %v, alone %v", seed, i, a.Request, got, want)
		}
		if echo := a.stream.Echo(); a.err == nil && a.Request.Echo {
			logits := m.Logits(a.Prompt)
			for at := 1; at < len(a.Prompt); at++ {
				if want := describe(a.Prompt[at], logits[at-1], model.LogSumExp(logits[at-1]), &a.Params); !reflect.DeepEqual(echo[at], want) {
					t.Fatalf("seed %d: request %d: token %d of the prompt is %+v, alone %+v", seed, i, at, echo[at], want)
				}
			}
		}
		if u := a.stream.Usage(); u.Cached > 0 && (a.Customer == "" || a.Request.Echo) || u.Prompt != len(a.Prompt) || u.Cached >= u.Prompt {
			t.Fatalf("seed %d: request %d of customer %q: usage %+v", seed, i, a.Customer, u)
		}
		cached += a.stream.Usage().Cached
	}
	checkPages(t, fmt.Sprintf("seed %d", seed), e)
	return cached, cut
}

// checkPages counts the pages of an engine with nothing to do.
func checkPages(t *testing.T, what string, e *Engine) {
	t.Helper()
	s, b := e.Stats(), e.batch
	if s.PagesUsed != s.PagesKept || s.Active != 0 || s.Waiting != 0 || b.promised != 0 || b.pages.Total()-b.pages.Free() != s.PagesKept || b.prefixes.idle() != s.PagesKept {
		t.Fatalf("%s: afterwards %+v, %d promised, %d of %d free", what, s, b.promised, b.pages.Free(), b.pages.Total())
	}
	for b.prefixes.evict() {
	}
	if b.pages.Free() != b.pages.Total() || len(b.prefixes.roots) > 0 && b.prefixes.size != 0 {
		t.Fatalf("%s: %d of %d pages are free in the end, %d are remembered", what, b.pages.Free(), b.pages.Total(), b.prefixes.size)
	}
}

// Whatever the company, each request gets the tokens that it gets alone, and no page is lost. RANKLOOP_MIXES says from which seed to
// which, "0 10000".
func TestMixes(t *testing.T) {
	from, to := uint64(0), uint64(1000)
	if s := os.Getenv("RANKLOOP_MIXES"); s != "" {
		if _, err := fmt.Sscan(s, &from, &to); err != nil {
			t.Fatal(err)
		}
	}
	models, tok := mixModels(t), bytesOnly(t)
	cached, cut := 0, 0
	for seed := from; seed < to; seed++ {
		c, short := mix(t, models[seed%uint64(len(models))], tok, seed)
		cached, cut = cached+c, cut+short
	}
	t.Logf("mixes %d to %d: %d tokens of prompts were not read again, %d requests were cut short", from, to, cached, cut)
	if cached == 0 || cut == 0 {
		t.Error("no prompt was shared, or no request cut short")
	}
}
