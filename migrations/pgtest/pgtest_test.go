package pgtest

import (
	"context"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(Wrap(m)) }

func TestNewIsMigratedAndOwn(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		pool := New(t)
		wg.Go(func() {
			var id int64
			if err := pool.QueryRow(context.Background(), `SELECT audit_append('system:test', 'test.act', '', '{}')`).Scan(&id); err != nil {
				t.Error(err)
			} else if id != 1 {
				t.Errorf("first audit row has id %d: the database is not the test's own", id)
			}
			var jobs int
			if err := pool.QueryRow(context.Background(), `SELECT count(*) FROM river.river_job`).Scan(&jobs); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
