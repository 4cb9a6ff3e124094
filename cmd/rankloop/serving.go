package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/train"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/audit"
	"github.com/rankloop/rankloop/web/conversation"
	"github.com/rankloop/rankloop/web/oidc"
	"github.com/rankloop/rankloop/web/setting"
)

// checkServing is how often the serving pointer is read where no notification came.
const checkServing = 2 * time.Second

// serverOptions are what the commands that serve differ in.
type serverOptions struct {
	LabelsPerMinute int
	BehindProxy     bool
	Weights         model.Weights // of the policy; empty is float32
	Patience        float64       // how long requests of the API wait for a place, see decode.EngineOptions; 0 is its default
	KVCache         int64         // bytes for the keys and values of its requests; 0 is the engine's default
	KeepFormer      int           // policies that served before and answer who pins them
	Memory          int64         // bytes that all policies together may take; 0 is what the machine has
	MetricsAddr     string        // of /metrics; empty is nowhere
	Providers       []*oidc.Provider
	Components      bool // the page of the design system's parts
}

// server is a listening web server together with the keeper of its policy.
type server struct {
	http     *http.Server
	listener net.Listener
	metrics  *http.Server // nil: none
	slot     *web.Slot
	restore  func() // what the server changed of the process
	flush    func(context.Context) error
	log      *slog.Logger
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// Addr is the address it listens on.
func (s *server) Addr() string { return s.listener.Addr().String() }

// Close finishes open requests, for up to 10 s, and stops.
func (s *server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	if s.metrics != nil {
		s.metrics.Close()
	}
	s.cancel()
	s.done.Wait()
	if err := s.flush(ctx); err != nil {
		s.log.Error("usage of the last requests not recorded", "error", err)
	}
	s.slot.Set(nil)
	s.restore()
}

// listen serves pages and API until Close.
func (a *app) listen(ctx context.Context, addr string, opt serverOptions) (*server, error) {
	slot := &web.Slot{Keep: opt.KeepFormer}
	keeper := newKeeper(a, slot, opt)
	if err := keeper.loadFormer(ctx); err != nil {
		return nil, err
	}
	if err := keeper.load(ctx); err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.Background())
	jobs, err := a.jobsUI(running)
	if err != nil {
		cancel()
		return nil, err
	}
	meter, scores := web.NewMeter(slot), &rewards{app: a}
	watch := newObserver(a, scores)
	a.watch(meter)
	handler, err := web.New(web.Config{LabelsPerMinute: opt.LabelsPerMinute, HTTPS: opt.BehindProxy, Version: version, Components: opt.Components}, web.Deps{
		Accounts: a.accounts, Conversations: conversation.NewStore(a.db.Pool), Audit: audit.NewStore(a.db.Pool), Labeling: a.labeling, Registry: a.registry, Settings: setting.NewStore(a.db.Pool), Stored: a.stored, Runs: a.runs, Loop: a.loop,
		Serving: slot, Rewards: scores, Memory: keeper, Observe: watch.take, ProjectID: a.project.ID, AfterSubmit: a.loop.RankingSubmitted, Awaited: a.loop.RankingsAwaited, OnPrompt: a.joinPool, Meter: meter, Tracer: a.db.traces.web(), Ping: a.db.Pool.Ping, Log: a.log,
		Uploads: filepath.Join(a.dir, "uploads"), WebhookSecret: a.webhooks.secret, Erase: a.erase, Consent: a.consent, JobsUI: jobs, Health: a.db.health(a.dir), Providers: opt.Providers,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("listen: %w (another program may use the port; choose one with --addr)", err)
	}
	var metrics net.Listener
	if opt.MetricsAddr != "" {
		if metrics, err = net.Listen("tcp", opt.MetricsAddr); err != nil {
			l.Close()
			cancel()
			return nil, fmt.Errorf("listen for metrics: %w (another program may use the port; choose one with --metrics-addr)", err)
		}
	}
	s := &server{http: web.NewServer(handler), listener: l, slot: slot, cancel: cancel, restore: spareProcessor(), flush: a.accounts.Flush, log: a.log}
	s.done.Go(func() { watch.run(running) })
	s.done.Add(2)
	go func() {
		defer s.done.Done()
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("server stopped", "error", err)
		}
	}()
	go func() {
		defer s.done.Done()
		keeper.run(running)
	}()
	if metrics != nil {
		s.metrics = web.NewServer(meter.Handler())
		s.done.Go(func() {
			if err := s.metrics.Serve(metrics); !errors.Is(err, http.ErrServerClosed) {
				a.log.Error("metrics stopped", "error", err)
			}
		})
		a.log.Info("metrics", "address", metrics.Addr().String())
	}
	return s, nil
}

// joinPool offers a consenting customer's prompt to the labeling pool, and keeps its answers for feedback.
func (a *app) joinPool(ctx context.Context, tx pgx.Tx, key account.Key, p web.Prompt) error {
	return a.labeling.JoinPool(ctx, tx, p.Answered(a.project.ID, key))
}

// keeper keeps a slot on the promoted policy: it loads the weights that the registry's pointer names and swaps them in, while
// streams under way finish on the old ones.
type keeper struct {
	app     *app
	slot    *web.Slot
	weights model.Weights
	engine  decode.EngineOptions
	limit   int64 // bytes that all policies together may take; 0 is what the machine has
	free    func() (bytes int64, known bool)
	shapes  sync.Map // of versions, model.Config by digest: opening the weights reads them whole
	id      string   // of the version that serves
	canary  string   // id of the canary that is loaded; empty: none
	trial   *web.Served
}

func newKeeper(a *app, slot *web.Slot, opt serverOptions) *keeper {
	return &keeper{app: a, slot: slot, weights: cmp.Or(opt.Weights, model.WeightsFloat32), limit: opt.Memory, free: train.Available,
		engine: decode.EngineOptions{Memory: opt.KVCache, Patience: opt.Patience}}
}

func (k *keeper) run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Add(1)
	go func() {
		defer listening.Done()
		for ctx.Err() == nil {
			if err := k.app.registry.Listen(ctx, poke, func(string) { poke() }); err != nil && ctx.Err() == nil {
				sleep(ctx, checkServing)
			}
		}
	}()
	tick := time.NewTicker(checkServing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
		if err := k.load(ctx); err != nil && ctx.Err() == nil {
			k.app.log.Error("promoted policy could not be loaded; the former one goes on", slog.Any("error", err))
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// load swaps in the version that the pointer names, if it is another one, and the canary beside it. What the slot holds already, a canary
// that was promoted or a former version that is rolled back to, serves at once. The blob store checks the digest of what is loaded.
func (k *keeper) load(ctx context.Context) error {
	v, canary, err := k.app.registry.Routing(ctx, loop.Channel)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if v.ID != k.id && !k.slot.Recall(v.ID) {
		if err := k.replace(ctx, v); err != nil {
			return err
		}
	}
	k.id = v.ID
	return k.loadCanary(ctx, canary)
}

// replace lets a version serve that is not loaded. What served before makes room where there is too little.
func (k *keeper) replace(ctx context.Context, v registry.Version) error {
	full := new(web.NoRoomError)
	err := k.Room(ctx, v)
	if errors.As(err, &full) {
		k.slot.Shed()
		err = k.Room(ctx, v)
	}
	short := errors.As(err, &full)
	if err != nil && !short {
		return err
	}
	served, err := k.open(ctx, v)
	if err != nil {
		return err
	}
	k.slot.Set(served)
	if short {
		k.slot.Shed() // the one that served until now
		k.app.log.Warn("there is little memory for the policy that was promoted: what served before was let go", "error", full)
	}
	return nil
}

// loadCanary lets the canary answer its share; nil: there is none. Its weights and its engine come on top of what serves and served: where
// there is no room for them, the canary is ended, and its history says why.
func (k *keeper) loadCanary(ctx context.Context, c *registry.Canary) error {
	if c == nil {
		k.slot.SetTrial("", 0, nil)
		k.canary, k.trial = "", nil
		return nil
	}
	if c.ID != k.canary {
		k.slot.SetTrial("", 0, nil)
		k.canary, k.trial = "", nil
		if err := k.Room(ctx, c.Version); err != nil {
			if full := new(web.NoRoomError); errors.As(err, &full) {
				return k.app.loop.AbortCanary(ctx, c.ID, "server", full.Error())
			}
			return fmt.Errorf("canary: %w", err)
		}
		served, err := k.open(ctx, c.Version)
		if err != nil {
			return fmt.Errorf("canary: %w", err)
		}
		k.canary, k.trial = c.ID, served
	}
	k.slot.SetTrial(c.ID, c.Share, k.trial)
	return nil
}

// loadFormer lets those that served last be asked by who pins them, as before a restart. One that cannot be loaded is left out.
func (k *keeper) loadFormer(ctx context.Context) error {
	if k.slot.Keep == 0 {
		return nil
	}
	history, err := k.app.registry.ServingHistory(ctx, loop.Channel, 10*(k.slot.Keep+1))
	if err != nil || len(history) == 0 {
		return err
	}
	w, kv, err := k.need(ctx, history[0].Version)
	if err != nil {
		return err
	}
	promised := w + kv     // to the one that serves, and to those that are kept
	var kept []*web.Served // the newest first
	seen := map[string]bool{history[0].Version.ID: true}
	for _, p := range history[1:] {
		if seen[p.Version.ID] || len(kept) == k.slot.Keep {
			continue
		}
		seen[p.Version.ID] = true
		err := k.roomBeside(ctx, p.Version, promised)
		var served *web.Served
		if err == nil {
			served, err = k.open(ctx, p.Version)
		}
		if err != nil {
			k.app.log.Warn("a policy that served before could not be loaded; it cannot be pinned", "version", p.Version.Name, "error", err)
			continue
		}
		w, kv, _ := k.need(ctx, p.Version) // known by now
		kept, promised = append(kept, served), promised+w+kv
	}
	for _, served := range slices.Backward(kept) {
		k.slot.Set(served)
	}
	return nil
}

// open makes a version ready to answer.
func (k *keeper) open(ctx context.Context, v registry.Version) (*web.Served, error) {
	dir, err := k.app.blobs.Open(ctx, v.Digest)
	if err != nil {
		return nil, err
	}
	cp, err := checkpoint.Load(dir)
	if err == nil && cp.Tokenizer == nil {
		err = errors.New("there is no tokenizer in the folder")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Name, err)
	}
	digest := strings.TrimPrefix(v.Digest, "sha256:")
	if cp.Model.Pack(k.weights); k.weights != model.WeightsFloat32 {
		digest = cp.Model.Digest() // rounded weights are others
	}
	k.shapes.Store(v.Digest, cp.Model.Config())
	return &web.Served{VersionID: v.ID, Name: v.Name, Created: v.CreatedAt, Engine: decode.NewEngine(cp.Model, cp.Tokenizer, k.engine), Tokenizer: cp.Tokenizer,
		Template: k.app.template, Context: cp.Model.Config().Context, Digest: digest, Weights: cp.Model.Config().PackedBytes(k.weights)}, nil
}
