package main

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/migrations"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web"
	"github.com/rankloop/rankloop/web/audit"
	"github.com/rankloop/rankloop/web/health"
	"github.com/rankloop/rankloop/web/setting"
)

// healthSources are what the health page, the metrics and doctor look at. pools are the connections that this process may open.
func healthSources(pool *pgxpool.Pool, url, dir string, pools int) health.Sources {
	work, settings := labeling.NewStore(pool), setting.NewStore(pool)
	return health.Sources{Store: health.NewStore(pool), Audit: audit.NewStore(pool), Dir: dir, Pools: pools,
		BackupDays: func() int { return settings.Int(setting.BackupDays) },
		Migrations: schemaState(url),
		Leases: func(ctx context.Context) (l health.Leases, err error) {
			var late time.Duration
			l.Open, l.Expired, late, err = work.LeaseState(ctx)
			l.OldestSeconds = late.Seconds()
			return l, err
		},
		Webhooks: func(ctx context.Context) (w health.Webhooks, err error) {
			w.Waiting, w.Failed, err = work.DeliveryState(ctx)
			return w, err
		},
	}
}

// schemaState says how far the schema and this program are apart. It connects anew to find out, and remembers it for a minute.
func schemaState(url string) func(context.Context) (pending, unknown int, err error) {
	var mu sync.Mutex
	var last migrations.Status
	var at time.Time
	return func(ctx context.Context) (int, int, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(at) > time.Minute {
			st, err := migrations.ReadStatus(ctx, url)
			if err != nil {
				return 0, 0, err
			}
			last, at = st, time.Now()
		}
		return len(last.Pending) + len(last.RiverPending), len(last.Unknown), nil
	}
}

// health are the sources of this process.
func (db *database) health(dir string) health.Sources {
	return healthSources(db.Pool, db.URL, dir, int(db.Pool.Config().MaxConns+db.Jobs.Config().MaxConns))
}

// watch lets the meter show what the database knows. Its connections are those of background work: a scrape takes none from people.
func (a *app) watch(m *web.Meter) {
	sources := healthSources(a.db.Jobs, a.db.URL, a.dir, int(a.db.Pool.Config().MaxConns+a.db.Jobs.Config().MaxConns))
	m.Watch(web.Watched{
		Health: func(ctx context.Context) health.Report { return sources.Look(ctx, nil, false) },
		Runs:   a.runs.Live,
		Rounds: loop.NewStore(a.db.Jobs).Stages,
		Canary: a.loop.CanaryCounts,
	})
}

// verifyAudit verifies the audit log's chain once a day, whoever leads.
type verifyAudit struct{}

func (verifyAudit) Kind() string { return "audit.verify" }

type verifyAuditWorker struct {
	river.WorkerDefaults[verifyAudit]
	sources health.Sources
}

// Work says nothing of a broken chain but where everybody looks: the mark that the health page and the alerts read.
func (w *verifyAuditWorker) Work(ctx context.Context, _ *river.Job[verifyAudit]) error {
	_, err := w.sources.Verify(ctx, nil)
	return err
}

// verifyDaily asks for it at each start of a leader; a day's second job is a double.
func verifyDaily() *river.PeriodicJob {
	const day = 24 * time.Hour
	return river.NewPeriodicJob(river.PeriodicInterval(day), func() (river.JobArgs, *river.InsertOpts) {
		return verifyAudit{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: day}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}
