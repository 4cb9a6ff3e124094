package loop_test

import (
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/migrations/pgtest"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestStagesMigrated: rounds whose stages were noted with the round alone have them in the table of stages, and the way back keeps when they
// began; what was there already stays.
func TestStagesMigrated(t *testing.T) {
	pool, ctx := pgtest.New(t), t.Context()
	run := func(file string) {
		t.Helper()
		sql, err := os.ReadFile("../../migrations/sql/0027_stages." + file + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Exec(ctx, string(sql), pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	const done, open = "01890a5d-ac96-774b-bcce-b302099a8001", "01890a5d-ac96-774b-bcce-b302099a8002"
	run("down")
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`SET LOCAL session_replication_role = replica`, // the rounds refer to nothing
			`INSERT INTO rounds (id, project_id, number, stage, config, actor, init_version_id, sft_version_id, started_at, ended_at, stages_began) VALUES
				('` + done + `', '` + done + `', 1, 'done', '{}', 'ada', '` + done + `', '` + done + `', to_timestamp(1000), to_timestamp(1090), '{"rank": 1010.5, "reward": 1030, "decide": 1060, "done": 1090}'),
				('` + open + `', '` + done + `', 2, 'rank', '{}', 'ada', '` + done + `', '` + done + `', to_timestamp(2000), NULL, '{"rank": 2040}')`,
			`INSERT INTO round_stages (round_id, stage, began_at, ended_at) VALUES ('` + open + `', 'sample', to_timestamp(2000), to_timestamp(2039)), ('` + open + `', 'rank', to_timestamp(2039), NULL)`,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		stage        loop.Stage
		began, ended float64
		broken       bool
	}
	check := func(id string, want ...row) {
		t.Helper()
		times, err := loop.NewStore(pool).StageTimes(ctx, id)
		if err != nil || len(times) != len(want) {
			t.Fatalf("%+v, %v", times, err)
		}
		seconds := func(at *time.Time) float64 {
			if at == nil {
				return 0
			}
			return float64(at.UnixMilli()) / 1000
		}
		for i, s := range times {
			if got := (row{s.Stage, seconds(&s.BeganAt), seconds(s.EndedAt), s.Broken}); got != want[i] {
				t.Errorf("%+v, want %+v", got, want[i])
			}
		}
	}
	run("up")
	check(done, row{"sample", 1000, 1010.5, true}, row{"rank", 1010.5, 1030, true}, row{"reward", 1030, 1060, true}, row{"decide", 1060, 1090, true})
	check(open, row{"sample", 2000, 2039, false}, row{"rank", 2039, 0, false})
	run("down")
	var began string
	if err := pool.QueryRow(ctx, `SELECT (stages_began ->> 'reward')::float8 || ' ' || (stages_began ->> 'done')::float8 FROM rounds WHERE id = $1`, done).Scan(&began); err != nil || began != "1030 1090" {
		t.Errorf("%q, %v", began, err)
	}
	run("up")
}
