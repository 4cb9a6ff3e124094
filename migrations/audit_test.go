package migrations_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rankloop/rankloop/migrations/pgtest"
)

type verdict struct {
	Checked, Unsealed int64
	Broken            *int64
}

func verify(t *testing.T, conn *pgx.Conn) verdict {
	t.Helper()
	var v verdict
	if err := conn.QueryRow(t.Context(), `SELECT checked, unsealed, broken FROM audit_verify()`).Scan(&v.Checked, &v.Unsealed, &v.Broken); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAuditIsAppendOnly(t *testing.T) {
	conn := connect(t, pgtest.URL(t))
	exec(t, conn, `SELECT audit_append('user:1', 'test.act', 'x', '{"a": 1}'), audit_append('user:1', 'test.act', 'y', NULL)`)
	for _, sealed := range []bool{false, true} {
		if sealed {
			exec(t, conn, `SELECT audit_seal()`)
		}
		statements := []string{
			`UPDATE audit SET actor = 'user:2' WHERE id = 1`,
			`UPDATE audit SET detail = '{}' WHERE id = 1`,
			`DELETE FROM audit WHERE id = 1`,
			`TRUNCATE audit`,
			`TRUNCATE audit_seals`,
		}
		if sealed {
			statements = append(statements, `UPDATE audit_seals SET hashes = ARRAY['\x00'::bytea, '\x01']`, `DELETE FROM audit_seals`)
		}
		for _, sql := range statements {
			_, err := conn.Exec(t.Context(), sql)
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) || pgErr.Code != "42501" {
				t.Errorf("sealed %v: %s: error %v, want 42501", sealed, sql, err)
			}
		}
	}
}

func TestAuditChainFindsTampering(t *testing.T) {
	for name, tamper := range map[string]struct {
		sql    string
		broken int64
	}{
		"none":          {`SELECT 1`, 0},
		"detail":        {`UPDATE audit SET detail = '{"n": 99}' WHERE id = 4`, 4},
		"time":          {`UPDATE audit SET at = at + interval '1 microsecond' WHERE id = 4`, 4},
		"row removed":   {`DELETE FROM audit WHERE id = 4`, 4},
		"first removed": {`DELETE FROM audit WHERE id = 1`, 1},
		"row put in":    {`INSERT INTO audit (actor, act, subject) VALUES ('user:9', 'x', '')`, 12},
		"link removed":  {`DELETE FROM audit_seals WHERE position = 2`, 5},
		"resealed alone": {`UPDATE audit SET actor = 'user:9' WHERE id = 4;
			UPDATE audit_seals s SET hashes[3] = (SELECT audit_hash(s.hashes[2], 4, a.id, a.at, a.actor, a.act, a.subject, a.detail) FROM audit a WHERE a.id = 4) WHERE s.position = 2`, 5},
		"removed, closed": {`DELETE FROM audit WHERE id = 4; UPDATE audit_seals SET ids = ids[1:2], hashes = hashes[1:2] WHERE position = 2;
			UPDATE audit_seals SET position = position - 1 WHERE position > 2`, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, pgtest.URL(t))
			for i := range 10 {
				exec(t, conn, `SELECT audit_append('user:1', 'test.act', '', jsonb_build_object('n', $1::int))`, i)
				if i%3 == 0 {
					exec(t, conn, `SELECT audit_seal()`)
				}
			}
			exec(t, conn, `SELECT audit_append('user:1', 'late', '', '{}')`)
			exec(t, conn, `ALTER TABLE audit DISABLE TRIGGER ALL; ALTER TABLE audit_seals DISABLE TRIGGER ALL`)
			exec(t, conn, tamper.sql)
			v := verify(t, conn)
			if v.Unsealed != 1 || v.Checked < 7 {
				t.Errorf("verify: %+v", v)
			}
			if (v.Broken == nil) != (tamper.broken == 0) || v.Broken != nil && *v.Broken != tamper.broken {
				t.Errorf("verify found row %v broken, want %d", deref(v.Broken), tamper.broken)
			}
		})
	}
}

func deref(p *int64) any {
	if p == nil {
		return nil
	}
	return *p
}

// A row with a low id that commits after higher ones were sealed joins the chain behind them.
func TestAuditLateCommit(t *testing.T) {
	url := pgtest.URL(t)
	slow, conn := connect(t, url), connect(t, url)
	exec(t, slow, `BEGIN`)
	exec(t, slow, `SELECT audit_append('user:1', 'slow', '', '{}')`)
	exec(t, conn, `SELECT audit_append('user:2', 'fast', '', '{}')`)
	exec(t, conn, `SELECT audit_seal()`)
	exec(t, slow, `COMMIT`)
	exec(t, conn, `SELECT audit_seal()`)
	if v := verify(t, conn); v.Checked != 2 || v.Unsealed != 0 || v.Broken != nil {
		t.Errorf("verify: %+v", v)
	}
}

// Appending and sealing at once from many connections leaves one whole chain.
func TestAuditConcurrent(t *testing.T) {
	pool := pgtest.New(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				sql := `SELECT audit_append('user:1', 'test.act', '', '{}')`
				if w < 2 && i%5 == 0 {
					sql = `SELECT audit_seal()`
				}
				if _, err := pool.Exec(t.Context(), sql); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	conn := connect(t, pool.Config().ConnString())
	exec(t, conn, `SELECT audit_seal()`)
	if v := verify(t, conn); v.Checked != 380 || v.Unsealed != 0 || v.Broken != nil {
		t.Errorf("verify: %+v", v)
	}
}
