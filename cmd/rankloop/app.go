package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/remote"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/model/train"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/conversation"
	"github.com/rankloop/rankloop/web/stored"
)

// projectName is the project that customers' prompts join.
const projectName = "main"

const instructions = `Read the conversation and rank the answers from best to worst; answers that are equally good share a rank.

1. **Follows the instruction.** The named people, animals and things appear, and the ending is the one that was asked for.
2. **Ends properly.** The last sentence is whole and the story has come to a close.
3. **Kind.** Nobody is mocked or hurt for fun.
4. **No repetition.** The same thing is not said twice.`

// app is the rooms of one process, joined.
type app struct {
	db       *database
	dir      string
	log      *slog.Logger
	labeling *labeling.Store
	registry *registry.Store
	runs     *run.Store
	accounts *account.Store
	stored   *stored.Store
	blobs    checkpoint.Blobs
	template token.ChatTemplate
	loop     *loop.Loop
	client   *river.Client[pgx.Tx]
	webhooks webhooks
	secrets  *secrets
	project  labeling.Project
}

// appConfig is what differs between the commands that use the rooms.
type appConfig struct {
	Dir   string        // data folder
	Slice time.Duration // length of a training slice
	Judge loop.Judge    // nil: the reward model judges
	Work  bool          // takes jobs; otherwise it only puts them into the queue

	EngineNetworks []netip.Prefix // private networks where other engines may be asked
}

// newApp joins the rooms on an open database. Nothing runs until start.
func newApp(ctx context.Context, db *database, c appConfig, log *slog.Logger) (*app, error) {
	a := &app{db: db, dir: c.Dir, log: log,
		labeling: labeling.NewStore(db.Pool), registry: registry.NewStore(db.Jobs),
		accounts: account.NewStore(db.Pool), stored: stored.NewStore(db.Pool)}
	a.accounts.RememberSessions(time.Second)
	a.accounts.RememberKeys(500 * time.Millisecond)
	a.accounts.GatherUsage(50*time.Millisecond, func(err error) { log.Error("usage not recorded", "error", err) })
	for _, d := range []string{"models", "runs", "scratch", "uploads"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("data folder: %w", err)
		}
	}
	a.blobs = checkpoint.Dir(filepath.Join(c.Dir, "models"))
	var err error
	if a.template, err = token.Chat("plain"); err != nil {
		return nil, err
	}
	if a.webhooks, err = openWebhooks(c.Dir); err != nil {
		return nil, err
	}
	if a.secrets, err = openSecrets(c.Dir); err != nil {
		return nil, err
	}
	a.runs = run.NewStore(db.Jobs)
	a.loop = loop.New(loop.Deps{Pool: db.Jobs, Labeling: labeling.NewStore(db.Jobs), Registry: a.registry, Runs: a.runs, Blobs: a.blobs,
		Template: a.template, Judge: c.Judge, Log: log, Scratch: filepath.Join(c.Dir, "scratch"), ChatRatings: a.chatRatings,
		Remote: &remote.Client{HTTP: engineClient(c.EngineNetworks)}, Secrets: a.secrets,
		Cost: machineCost()})
	if err := a.makeClient(c); err != nil {
		return nil, err
	}
	a.project, err = a.labeling.EnsureProject(ctx, labeling.Project{Name: projectName, Question: "ranking", Instructions: instructions,
		K: 4, Overlap: 1, PromptCap: 200, ValidShare: 0.125, Lease: 30 * time.Minute})
	if err != nil {
		return nil, fmt.Errorf("project: %w", err)
	}
	return a, nil
}

// chatRatings counts what people think of versions' answers at the chat page.
func (a *app) chatRatings(ctx context.Context, versions []string, since time.Time) (map[string]loop.Ratings, error) {
	said, err := conversation.NewStore(a.db.Pool).ThumbsOf(ctx, versions, since)
	out := map[string]loop.Ratings{}
	for id, n := range said {
		out[id] = loop.Ratings{Rated: n[0] + n[1], Down: n[1]}
	}
	return out, err
}

// makeClient registers every kind of job, whether or not this process takes any: a leader that does not know a kind would
// throw its jobs away.
func (a *app) makeClient(c appConfig) error {
	workers := river.NewWorkers()
	a.loop.AddWorkers(workers)
	labeling.AddWorkers(workers, labeling.NewStore(a.db.Jobs))
	uploads := filepath.Join(c.Dir, "uploads")
	labeling.AddDataWorkers(workers, labeling.NewStore(a.db.Jobs), labeling.DataWork{
		Open: func(file string) (io.ReadCloser, error) { return os.Open(filepath.Join(uploads, filepath.Base(file))) },
		Done: func(file string) { os.Remove(filepath.Join(uploads, filepath.Base(file))) },
		Send: a.webhooks.send,
	})
	trains := train.Worker{Registry: a.registry, Blobs: a.blobs, Scratch: filepath.Join(c.Dir, "scratch")}
	run.AddWorkers(workers, a.runs, append(a.loop.Kinds(), trains.Kinds()...), run.Options{Dir: filepath.Join(c.Dir, "runs"), Slice: c.Slice, Logger: a.log})
	river.AddWorker(workers, &verifyAuditWorker{sources: healthSources(a.db.Jobs, a.db.URL, c.Dir, 0)})
	cfg := &river.Config{
		Schema: "river", Logger: a.log, Workers: workers,
		Middleware: append(a.db.traces.jobs(), a.loop.Middleware()),
		JobTimeout: time.Minute, RescueStuckJobsAfter: 90 * time.Second, MaxAttempts: 10, SoftStopTimeout: 20 * time.Second,
	}
	if c.Work {
		cfg.Queues = map[string]river.QueueConfig{
			river.QueueDefault: {MaxWorkers: 4}, run.Queue: {MaxWorkers: 1}, loop.QueueRollout: {MaxWorkers: 1},
		}
		cfg.PeriodicJobs = append(loop.PeriodicJobs(), append(run.PeriodicJobs(), append(labeling.PeriodicJobs(), append(labeling.DataJobs(), verifyDaily())...)...)...)
	}
	client, err := river.NewClient(riverpgxv5.New(a.db.Jobs), cfg)
	if err != nil {
		return fmt.Errorf("job client: %w", err)
	}
	a.client = client
	a.loop.SetClient(client)
	return nil
}

// ensureStarter registers the starter model and lets its SFT policy serve where no policy does yet.
func (a *app) ensureStarter(ctx context.Context) error {
	_, err := a.registry.Serving(ctx, loop.Channel)
	if err == nil || !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	var parents []string
	for _, m := range []struct {
		kind, name string
		open       func() (*checkpoint.Checkpoint, error)
	}{{registry.Base, "starter-base", starter.Base}, {registry.SFT, "starter-sft", starter.SFT}} {
		cp, err := m.open()
		if err != nil {
			return fmt.Errorf("starter model: %w", err)
		}
		dir := filepath.Join(a.dir, "scratch", m.name)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := cp.Save(dir, "F32"); err != nil {
			return err
		}
		digest, err := a.blobs.Put(ctx, dir)
		os.RemoveAll(dir)
		if err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, a.db.Jobs, func(tx pgx.Tx) error {
			v, err := a.registry.Register(ctx, tx, registry.Version{Kind: m.kind, Name: m.name, Digest: digest, Parents: parents, Metrics: cp.Card.Metrics})
			if err != nil {
				return err
			}
			parents = []string{v.ID}
			if m.kind != registry.SFT {
				return nil
			}
			return a.registry.Promote(ctx, tx, loop.Channel, v.ID, "system", "the starter model")
		})
		if err != nil {
			return err
		}
	}
	return nil
}
