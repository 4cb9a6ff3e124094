package web

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/health"
)

// Watched is where a Meter reads what the database knows.
type Watched struct {
	Health func(context.Context) health.Report
	Runs   func(context.Context) ([]run.Live, error)
	Rounds func(context.Context) ([]loop.StageCount, error)
	Canary func(context.Context) (loop.CanaryCounts, error)
}

const (
	watchEvery = 5 * time.Second // the database is asked at most once in so long, however many scrape
	watchLimit = 4 * time.Second // for all that it is asked
)

// watched is what was read last.
type watched struct {
	at     time.Time
	report health.Report
	runs   []run.Live
	rounds []loop.StageCount
	canary loop.CanaryCounts
}

// Watch lets the meter show what the database knows. Call it before the handler is used.
func (m *Meter) Watch(w Watched) { m.sources = &w }

// watch reads what the database knows, or returns what was read a moment ago. What cannot be read is left out.
func (m *Meter) watch(ctx context.Context) (watched, bool) {
	if m.sources == nil {
		return watched{}, false
	}
	m.watching.Lock()
	defer m.watching.Unlock()
	if now := time.Now(); now.Sub(m.last.at) >= watchEvery {
		ctx, cancel := context.WithTimeout(ctx, watchLimit)
		defer cancel()
		w := watched{at: now, report: m.sources.Health(ctx)}
		w.runs, _ = m.sources.Runs(ctx)
		w.rounds, _ = m.sources.Rounds(ctx)
		w.canary, _ = m.sources.Canary(ctx)
		m.last = w
	}
	return m.last, true
}

// openStages are those that a round waits or works in; all are shown, so that a graph of one that is empty is a line at 0.
var openStages = []loop.Stage{loop.StageSample, loop.StageRank, loop.StageReward, loop.StagePPO, loop.StageEvaluate, loop.StageDecide}

var endStages = []loop.Stage{loop.StageDone, loop.StageFailed, loop.StageCancelled}

// shownMetrics are the measurements of training steps that are exported; a run may measure others.
var shownMetrics = []string{"accuracy", "answers", "clipfrac", "entropy", "eos_rate", "grad_norm", "heldout_accuracy", "heldout_loss", "kl", "kl_coef", "length", "loss", "lr", "score", "value_loss"}

func (m *Meter) rooms(ctx context.Context, out exposition) {
	w, ok := m.watch(ctx)
	if !ok {
		return
	}
	w.queues(out)
	w.state(out)
	w.training(out)
	w.trial(out)
}

func (w watched) queues(out exposition) {
	f := w.report.Figures
	for _, x := range []struct {
		name, help string
		of         func(health.Queue) float64
	}{
		{"waiting", "Jobs that are due and not taken yet.", func(q health.Queue) float64 { return float64(q.Waiting) }},
		{"running", "Jobs at work.", func(q health.Queue) float64 { return float64(q.Running) }},
		{"later", "Jobs that are scheduled, or to be tried again.", func(q health.Queue) float64 { return float64(q.Later) }},
		{"oldest_seconds", "How long the oldest job that is due has waited.", func(q health.Queue) float64 { return q.OldestSeconds }},
		{"failed_24h", "Jobs given up in the last 24 hours.", func(q health.Queue) float64 { return float64(q.Failed24h) }},
	} {
		out.head("rankloop_queue_"+x.name, "gauge", x.help)
		for _, q := range f.Queues {
			out.value("rankloop_queue_"+x.name, x.of(q), "queue", q.Name)
		}
	}
	out.head("rankloop_leases", "gauge", "Tasks in the hands of labelers; of these, those past their time.")
	out.value("rankloop_leases", float64(f.Leases.Open), "state", "open")
	out.value("rankloop_leases", float64(f.Leases.Expired), "state", "expired")
	out.head("rankloop_webhook_deliveries", "gauge", "Deliveries that wait, and those given up in the last 24 hours.")
	out.value("rankloop_webhook_deliveries", float64(f.Webhooks.Waiting), "state", "waiting")
	out.value("rankloop_webhook_deliveries", float64(f.Webhooks.Failed), "state", "failed_24h")
}

func (w watched) state(out exposition) {
	f := w.report.Figures
	out.head("rankloop_health", "gauge", "State of a check: 0 well, 1 look at it, 2 act now.")
	for _, c := range w.report.Checks {
		out.value("rankloop_health", map[health.State]float64{health.Warn: 1, health.Bad: 2}[c.State], "check", c.Name)
	}
	out.one("rankloop_database_bytes", "gauge", "Size of the database.", float64(f.DatabaseBytes))
	out.one("rankloop_database_connections", "gauge", "Connections to Postgres, of all programs.", float64(f.Connections))
	out.one("rankloop_database_connections_max", "gauge", "Connections that Postgres allows.", float64(f.ConnectionMax))
	out.one("rankloop_clock_skew_seconds", "gauge", "Clock of this machine, less that of the database.", f.SkewSeconds)
	out.one("rankloop_audit_unsealed", "gauge", "Entries of the audit log that are not part of its chain yet.", float64(f.AuditUnsealed))
	out.one("rankloop_disk_free_bytes", "gauge", "Free space on the disk of the data folder.", float64(f.Disk.Free))
	out.one("rankloop_disk_total_bytes", "gauge", "Size of that disk.", float64(f.Disk.Total))
	out.one("rankloop_memory_free_bytes", "gauge", "Memory of this machine that is free, or could be at once.", float64(f.Memory.Free))
	out.head("rankloop_backup_age_seconds", "gauge", "Age of the last backup; none, where none is known.")
	if f.BackupAt != nil {
		out.value("rankloop_backup_age_seconds", f.BackupAt.Age)
	}
}

func (w watched) training(out exposition) {
	at := map[loop.Stage]loop.StageCount{}
	for _, c := range w.rounds {
		at[c.Stage] = c
	}
	out.head("rankloop_rounds", "gauge", "Open rounds by stage.")
	for _, s := range openStages {
		out.value("rankloop_rounds", float64(at[s].Rounds), "stage", string(s))
	}
	out.head("rankloop_round_stage_seconds", "gauge", "How long a round has been at a stage, the longest.")
	for _, s := range openStages {
		out.value("rankloop_round_stage_seconds", at[s].Longest.Seconds(), "stage", string(s))
	}
	out.head("rankloop_rounds_ended_total", "counter", "Rounds that have ended, by how.")
	for _, s := range endStages {
		out.value("rankloop_rounds_ended_total", float64(at[s].Rounds), "stage", string(s))
	}
	out.head("rankloop_train_step", "gauge", "Step of the newest run of a kind that is at work.")
	for _, r := range w.runs {
		out.value("rankloop_train_step", float64(r.Step), "kind", r.Kind)
	}
	out.head("rankloop_train_steps", "gauge", "Steps that it will have.")
	for _, r := range w.runs {
		out.value("rankloop_train_steps", float64(r.Total), "kind", r.Kind)
	}
	out.head("rankloop_train_metric", "gauge", "What its last step measured.")
	for _, r := range w.runs {
		for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
			v := math.NaN()
			if x := r.Metrics[name]; x != nil {
				v = *x
			}
			if slices.Contains(shownMetrics, name) {
				out.value("rankloop_train_metric", v, "kind", r.Kind, "metric", name)
			}
		}
	}
}
