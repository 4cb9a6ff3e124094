package labeling

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/rankloop/rankloop/migrations/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

// bench is a store on a private database with one project.
type bench struct {
	testing.TB
	ctx     context.Context
	pool    *pgxpool.Pool
	store   *Store
	project Project
}

func setup(t testing.TB, change ...func(*Project)) *bench {
	t.Helper()
	b := &bench{TB: t, ctx: context.Background(), pool: pgtest.New(t)}
	b.store = NewStore(b.pool)
	p := Project{Name: "helpful", Instructions: "Prefer the answer that helps.", K: 4, Overlap: 1, ValidShare: 0.125}
	for _, f := range change {
		f(&p)
	}
	var err error
	b.project, err = b.store.EnsureProject(b.ctx, p)
	b.ok(err)
	return b
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// oneConnection lets the store work on a single connection, so that what that one has prepared can be looked at.
func (b *bench) oneConnection() *pgxpool.Pool {
	b.Helper()
	cfg := b.pool.Config()
	cfg.MaxConns, cfg.MinConns = 1, 0
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	b.ok(err)
	b.Cleanup(pool.Close)
	b.store = NewStore(pool)
	return pool
}

func (b *bench) is(err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("error is %v, want %v", err, want)
	}
}

func (b *bench) invalid(err error, field string) {
	b.Helper()
	var e *InvalidError
	if !errors.As(err, &e) || e.Field != field {
		b.Fatalf("error is %v, want one of the field %s", err, field)
	}
}

func (b *bench) tx(f func(tx pgx.Tx) error) {
	b.Helper()
	b.ok(pgx.BeginFunc(b.ctx, b.pool, f))
}

func (b *bench) sql(statement string, args ...any) {
	b.Helper()
	_, err := b.pool.Exec(b.ctx, statement, args...)
	b.ok(err)
}

func (b *bench) count(query string, args ...any) int {
	b.Helper()
	var n int
	b.ok(b.pool.QueryRow(b.ctx, query, args...).Scan(&n))
	return n
}

func (b *bench) add(n NewPrompt) (p Prompt, created bool, err error) {
	n.ProjectID = b.project.ID
	b.tx(func(tx pgx.Tx) error {
		p, created, err = b.store.AddPrompt(b.ctx, tx, n)
		return nil
	})
	return
}

func (b *bench) prompt(text string) Prompt {
	b.Helper()
	p, created, err := b.add(NewPrompt{Text: text, Origin: OriginImport, Split: Train})
	b.ok(err)
	if !created {
		b.Fatalf("prompt %q was there", text)
	}
	return p
}

func answers(k int) []NewResponse {
	list := make([]NewResponse, k)
	for i := range list {
		list[i] = NewResponse{Text: fmt.Sprintf("answer %d", i), TokenIDs: []int32{int32(i), 7}, TokenizerDigest: "toy", ModelVersion: "sft", Finish: "stop"}
	}
	return list
}

func (b *bench) task(p Prompt, k, overlap int, batch string) (t Task) {
	b.Helper()
	b.tx(func(tx pgx.Tx) (err error) {
		t, err = b.store.AddTask(b.ctx, tx, p.ID, answers(k), overlap, batch)
		return err
	})
	return t
}

// tasks makes n tasks on prompts of their own.
func (b *bench) tasks(n, k, overlap int, batch string) []Task {
	b.Helper()
	var list []Task
	b.tx(func(tx pgx.Tx) error {
		for i := range n {
			p, _, err := b.store.AddPrompt(b.ctx, tx, NewPrompt{ProjectID: b.project.ID, Text: fmt.Sprintf("prompt %s %d", batch, i), Origin: OriginImport, Split: Train})
			if err != nil {
				return err
			}
			t, err := b.store.AddTask(b.ctx, tx, p.ID, answers(k), overlap, batch)
			if err != nil {
				return err
			}
			list = append(list, t)
		}
		return nil
	})
	return list
}

func (b *bench) claim(labeler string) *Assignment {
	b.Helper()
	a, err := b.store.Claim(b.ctx, b.project.ID, labeler)
	b.ok(err)
	return a
}

// best is a submit that ranks the answers by their stored position, first = best.
func best(a *Assignment, idempotencyKey string) SubmitInput {
	in := SubmitInput{AssignmentID: a.ID, LabelerID: a.LabelerID, IdempotencyKey: idempotencyKey, ActiveMS: 900, WallMS: 1000}
	for _, pos := range a.Order {
		in.Ranks = append(in.Ranks, pos+1)
	}
	return in
}

func (b *bench) submit(a *Assignment) Ranking {
	b.Helper()
	r, err := b.store.Submit(b.ctx, best(a, newKey()), nil)
	b.ok(err)
	return r
}

func newKey() string {
	id, err := newID()
	if err != nil {
		panic(err)
	}
	return id
}

// expire lets the lease of an assignment run out without a sweep.
func (b *bench) expire(a *Assignment) {
	b.Helper()
	b.sql(`UPDATE assignments SET lease_until = now() - interval '1 second' WHERE id = $1`, a.ID)
}

// sound checks what must hold at every commit.
func (b *bench) sound() {
	b.Helper()
	for what, query := range map[string]string{
		"tasks with more rankings and leases than needed": `SELECT count(*) FROM tasks t WHERE (SELECT count(*) FROM assignments a
			WHERE a.task_id = t.id AND (a.state = 'leased' OR a.ranking_id IS NOT NULL AND NOT a.surplus)) > t.need`,
		"tasks whose done counter is wrong": `SELECT count(*) FROM tasks t WHERE done <> (SELECT count(*) FROM assignments a
			WHERE a.task_id = t.id AND a.ranking_id IS NOT NULL AND NOT a.surplus)`,
		"tasks whose slots do not add up": `SELECT count(*) FROM tasks t WHERE need <> open_slots + done + (SELECT count(*) FROM assignments a
			WHERE a.task_id = t.id AND a.state = 'leased')`,
		"assignments of another project than their task's, or whose ranking is not there or another's": `SELECT count(*) FROM assignments a
			LEFT JOIN tasks t ON t.id = a.task_id LEFT JOIN rankings k ON k.id = a.ranking_id
			WHERE t.project_id IS DISTINCT FROM a.project_id OR a.ranking_id IS NOT NULL AND k.assignment_id IS DISTINCT FROM a.id`,
		"labelers with two assignments of a task": `SELECT count(*) FROM (SELECT FROM assignments GROUP BY task_id, labeler_id HAVING count(*) > 1) x`,
		"rankings without their comparisons": `SELECT count(*) FROM rankings r WHERE (SELECT count(*) FROM comparisons c WHERE c.ranking_id = r.id)
			<> (SELECT count(*) FROM unnest(r.ranks) x, unnest(r.ranks) y WHERE x < y)`,
		"rankings without an audit row": `SELECT count(*) FROM rankings r WHERE NOT starts_with(labeler_id, 'import:') AND (SELECT count(*) FROM audit a
			WHERE a.act = 'labeling.submit' AND a.subject = r.id::text) <> 1`,
		"imported rankings whose line no audit row tells of": `SELECT count(*) FROM rankings r WHERE starts_with(labeler_id, 'import:') AND (SELECT count(*) FROM audit a
			WHERE a.act = 'labeling.import_settled' AND a.subject = split_part(r.idempotency_key, ' ', 2)
				AND split_part(split_part(r.idempotency_key, ' ', 3), '.', 1)::int BETWEEN (a.detail -> 'lines' ->> 0)::int AND (a.detail -> 'lines' ->> 1)::int) <> 1`,
		"labelers whose done counter is wrong": `SELECT count(*) FROM labelers l WHERE done <> (SELECT count(*) FROM assignments a
			WHERE a.project_id = l.project_id AND a.labeler_id = l.labeler_id AND a.ranking_id IS NOT NULL)`,
	} {
		if n := b.count(query); n != 0 {
			b.Errorf("%d %s", n, what)
		}
	}
}

func TestRankOneTask(t *testing.T) {
	b := setup(t)
	task := b.tasks(1, 4, 1, "round 1")[0]
	a := b.claim("ann")
	if len(a.Answers) != 4 || len(a.Order) != 4 || a.Answers[0].Key != "A" || a.Instructions != "Prefer the answer that helps." || a.Draft != nil ||
		a.Messages[0].Content != "prompt round 1 0" || time.Until(a.LeaseUntil) < 29*time.Minute {
		t.Fatalf("assignment %+v", a)
	}
	for d, pos := range a.Order {
		if want := fmt.Sprintf("answer %d", pos); a.Answers[d].Text != want {
			t.Errorf("shown at %d: %q, want %q", d, a.Answers[d].Text, want)
		}
	}
	in := best(a, "key")
	in.Ranks = make([]int, 4)
	for d, pos := range a.Order {
		in.Ranks[d] = []int{1, 2, 2, 4}[pos]
	}
	in.Ratings = []int{1, 0, 7, 4}
	in.Flags = [][]string{nil, {"opinion", "opinion"}, nil, nil}
	in.Comment = "第二"
	called := 0
	r, err := b.store.Submit(b.ctx, in, func(_ context.Context, _ pgx.Tx, project string) error {
		if called++; project != b.project.ID {
			t.Errorf("after got project %s", project)
		}
		return nil
	})
	b.ok(err)
	if fmt.Sprint(r.Ranks) != "[1 2 2 4]" || fmt.Sprint(r.ResponseIDs) != fmt.Sprint(task.ResponseIDs) || r.Batch != "round 1" || r.Revision != 1 || called != 1 {
		t.Errorf("ranking %+v, after called %d times", r, called)
	}
	pairs, err := b.store.Comparisons(b.ctx, r.ID)
	b.ok(err)
	if len(pairs) != 5 {
		t.Errorf("%d comparisons of 1 2 2 4, want 5", len(pairs))
	}
	for _, c := range pairs {
		if c.WinnerID == task.ResponseIDs[3] || c.LoserID == task.ResponseIDs[0] {
			t.Errorf("comparison %+v is the wrong way round", c)
		}
	}
	// ratings and flags land on the answers that were shown there
	for d, pos := range a.Order {
		n := b.count(`SELECT count(*) FROM ratings WHERE ranking_id = $1 AND response_id = $2 AND rating IS NOT DISTINCT FROM nullif($3::int, 0)
			AND flags = CASE WHEN $4 THEN ARRAY['opinion'] ELSE '{}' END`, r.ID, task.ResponseIDs[pos], in.Ratings[d], d == 1)
		if n != 1 {
			t.Errorf("rating of the answer shown at %d is not there", d)
		}
	}
	if _, err = b.store.Claim(b.ctx, b.project.ID, "bob"); !errors.Is(err, ErrEmpty) {
		t.Errorf("claim of a full task: %v", err)
	}
	p, err := b.store.Progress(b.ctx, b.project.ID, "ann")
	b.ok(err)
	if p != (Progress{Done: 1, ActiveMS: 900}) {
		t.Errorf("progress %+v", p)
	}
	b.sound()
}
