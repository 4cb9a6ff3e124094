package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// apiServer is a server as a process of its own, and a key for it.
type apiServer struct {
	lab
	key  string
	http *http.Client
}

// newAPIServer starts one that serves the starter model or, where free is set, a model that costs nothing.
func newAPIServer(ctx context.Context, show *progress, free bool) (_ *apiServer, err error) {
	s := &apiServer{lab: lab{show: show}, http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000}}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	a, err := newApp(ctx, &database{URL: s.postgres.URL(), Pool: s.pool, Jobs: s.pool}, appConfig{Dir: filepath.Join(s.dir, "server")}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if err := a.promoteStarter(ctx, filepath.Join(s.dir, "starter"), free); err != nil {
		return nil, err
	}
	customer, _, err := a.accounts.CreateUser(ctx, account.NewUser{Email: "load@example.com", Name: "load", Role: account.RoleCustomer, Password: "a long secret of the load", Actor: "system"})
	if err != nil {
		return nil, err
	}
	if _, s.key, err = a.accounts.CreateKey(ctx, account.NewKey{CustomerID: customer.ID, Name: "load", RPM: 1_000_000, TPM: 100_000_000, Actor: "system"}); err != nil {
		return nil, err
	}
	return s, s.start(ctx)
}

// promoteStarter lets the starter model serve or, where free is set, one with its tokenizer whose one layer is as narrow as can be.
func (a *app) promoteStarter(ctx context.Context, dir string, free bool) error {
	cp, err := starter.SFT()
	if err != nil {
		return err
	}
	if free {
		cfg := cp.Model.Config()
		cfg.Layers, cfg.Width, cfg.Heads, cfg.KVHeads, cfg.Hidden = 1, 16, 1, 1, 16
		if cp.Model, err = model.New(cfg, 1); err != nil {
			return err
		}
	}
	if err := cp.Save(dir, "F32"); err != nil {
		return err
	}
	digest, err := a.blobs.Put(ctx, dir)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, a.db.Jobs, func(tx pgx.Tx) error {
		v, err := a.registry.Register(ctx, tx, registry.Version{Kind: registry.SFT, Name: "load", Digest: digest})
		if err != nil {
			return err
		}
		return a.registry.Promote(ctx, tx, loop.Channel, v.ID, "system", "")
	})
}

// ask sends a completion request; each hears of every line of the answer.
func (s *apiServer) ask(ctx context.Context, tokens int, stream bool, each func(line []byte)) error {
	options := ""
	if stream {
		options = `,"stream_options":{"include_usage":true}`
	}
	body := fmt.Sprintf(`{"model":"default","prompt":"Tell a story about a fox","max_tokens":%d,"stream":%v%s}`, tokens, stream, options)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/completions", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.key)
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 300))
		return fmt.Errorf("status %d: %s", res.StatusCode, text)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		each(lines.Bytes())
	}
	return lines.Err()
}

// http is the API around an engine that costs nothing.
func (l *apiLab) http(ctx context.Context) ([]bar, error) {
	s, err := newAPIServer(ctx, l.show, true)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var times, rates []float64
	for i := range l.Repeats + 1 {
		l.show.show("http", i, l.Repeats+1, "samples")
		p, err := s.calls(ctx, l.Calls, l.Time)
		if err != nil {
			return nil, fmt.Errorf("%w%s", err, s.serverLog())
		}
		r, err := s.events(ctx, l.Streams, l.Time)
		if err != nil {
			return nil, fmt.Errorf("%w%s", err, s.serverLog())
		}
		if i > 0 {
			times, rates = append(times, float64(p)/float64(time.Millisecond)), append(rates, r)
		}
	}
	return []bar{
		atMost(fmt.Sprintf("answer at %.0f requests/s, p99", l.Calls), median(times), "ms", 5, "from the time it was due; one token"),
		atLeast(fmt.Sprintf("tokens/s as events of %d streams", l.Streams), median(rates), "/s", 10_000, ""),
	}, nil
}

// wire are many streams against one, as events over HTTP.
func (l *apiLab) wire(ctx context.Context) ([]bar, error) {
	s, err := newAPIServer(ctx, l.show, false)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var one, many, gains []float64
	for i := range l.Repeats + 1 {
		l.show.show("wire", i, l.Repeats+1, "samples")
		a, err := s.events(ctx, 1, l.Time)
		if err != nil {
			return nil, fmt.Errorf("%w%s", err, s.serverLog())
		}
		b, err := s.events(ctx, l.Streams, l.Time)
		if err != nil {
			return nil, fmt.Errorf("%w%s", err, s.serverLog())
		}
		if i > 0 {
			one, many, gains = append(one, a), append(many, b), append(gains, b/a)
		}
	}
	return []bar{atLeast(fmt.Sprintf("tokens/s of %d streams over one, HTTP", l.Streams), median(gains), "x", 8,
		fmt.Sprintf("%.0f and %.0f tokens/s; client, server and database share the machine", median(many), median(one)))}, nil
}

// calls sends requests at even times, rate a second, whatever becomes of them, and returns the 99th percentile of the time from when one
// was due to its answer.
func (s *apiServer) calls(ctx context.Context, rate float64, span time.Duration) (time.Duration, error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	begin := time.Now()
	for i := 0; ; i++ {
		after := time.Duration(float64(i) / rate * float64(time.Second))
		if after >= span || ctx.Err() != nil {
			break
		}
		due := begin.Add(after)
		pauseFor(ctx, time.Until(due))
		all.Go(func() {
			err := s.ask(ctx, 1, false, func([]byte) {})
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(due))
			failed = cmp.Or(failed, err)
		})
	}
	all.Wait()
	if err := errors.Join(failed, ctx.Err()); err != nil {
		return 0, err
	}
	return quantile(took, .99), nil
}

// events keeps n streams going for so long and returns the tokens that came a second.
func (s *apiServer) events(ctx context.Context, n int, span time.Duration) (float64, error) {
	var all sync.WaitGroup
	counts, errs := make([]int, n), make([]error, n)
	begin := time.Now()
	for i := range n {
		all.Go(func() {
			for time.Since(begin) < span && errs[i] == nil {
				errs[i] = s.ask(ctx, 100, true, func(line []byte) { counts[i] += tokensOf(line) })
			}
		})
	}
	all.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / time.Since(begin).Seconds(), cmp.Or(errs...)
}

// tokensOf is what the last event of a stream says that was written, 0 for the other events.
func tokensOf(line []byte) int {
	_, after, found := bytes.Cut(line, []byte(`"usage":{`))
	if !found {
		return 0
	}
	var u struct {
		N int `json:"completion_tokens"`
	}
	if json.NewDecoder(io.MultiReader(strings.NewReader("{"), bytes.NewReader(after))).Decode(&u) != nil {
		return 0
	}
	return u.N
}
