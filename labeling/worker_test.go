package labeling

import (
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// river starts a client that works the room's jobs.
func (b *bench) river(t *testing.T) *river.Client[pgx.Tx] {
	t.Helper()
	workers := river.NewWorkers()
	AddWorkers(workers, b.store)
	client, err := river.NewClient(riverpgxv5.New(b.pool), &river.Config{
		Schema: "river", Workers: workers, PeriodicJobs: PeriodicJobs(), Logger: slog.New(slog.DiscardHandler),
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}},
	})
	b.ok(err)
	b.ok(client.Start(b.ctx))
	return client
}
