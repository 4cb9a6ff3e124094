package labeling

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
)

// refreshed brings the figures up to date and returns their sums and the dashboard.
func (b *bench) refreshed() (f figures, d Dashboard) {
	b.Helper()
	b.ok(b.store.RefreshDashboard(b.ctx, b.project.ID))
	var raw []byte
	b.ok(b.pool.QueryRow(b.ctx, `SELECT sums FROM labeling_sums WHERE project_id = $1`, b.project.ID).Scan(&raw))
	b.ok(f.decode(raw))
	d, err := b.store.Dashboard(b.ctx, b.project.ID)
	b.ok(err)
	d.ComputedAt, d.Took = time.Time{}, 0
	return f, d
}

// TestFiguresByParts: after whatever people and admins do, in whatever order, sums that were moved are those that are
// computed anew, to the last digit; and so are those of other parts.
func TestFiguresByParts(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			b := setup(t, func(p *Project) { p.Overlap = 2 })
			b.store.part = 3
			customer := 0
			tasks := func() {
				for range 1 + r.IntN(5) {
					customer++
					p, _, err := b.add(NewPrompt{Text: fmt.Sprintf("Question %d", customer), Origin: OriginAPI, CustomerID: fmt.Sprint("c", customer%5), APIKeyID: "key", Consent: true})
					b.ok(err)
					b.task(p, 2+r.IntN(4), 2, "")
				}
			}
			people := []string{"ann", "bo", "carl", "dora"}
			who := func() string { return people[r.IntN(len(people))] }
			submit := func(flag string) {
				a, err := b.store.Claim(b.ctx, b.project.ID, who())
				if errors.Is(err, ErrEmpty) {
					return
				}
				b.ok(err)
				in := best(a, newKey())
				for i := range in.Ranks {
					in.Ranks[i] = 1 + r.IntN(len(in.Ranks))
				}
				if in.ActiveMS = int64(r.IntN(100_000)); flag != "" {
					in.Flags = make([][]string, len(in.Ranks))
					in.Flags[0] = []string{flag}
				}
				_, err = b.store.Submit(b.ctx, in, nil)
				b.ok(err)
			}
			one := func(query string) (id string, ok bool) {
				err := b.pool.QueryRow(b.ctx, query).Scan(&id)
				if errors.Is(err, pgx.ErrNoRows) {
					return "", false
				}
				b.ok(err)
				return id, true
			}
			acts := map[string]func(){
				"tasks":  tasks,
				"submit": func() { submit("") },
				"flag":   func() { submit(FlagUnsafe) },
				"skip": func() {
					a, err := b.store.Claim(b.ctx, b.project.ID, who())
					if err == nil {
						b.ok(b.store.Skip(b.ctx, a.ID, a.LabelerID, []string{"unsafe", "long"}[r.IntN(2)]))
					}
				},
				"release": func() {
					a, err := b.store.Claim(b.ctx, b.project.ID, who())
					if err == nil {
						b.ok(b.store.Release(b.ctx, a.ID, a.LabelerID))
					}
				},
				"unhold": func() {
					if id, ok := one(`SELECT id FROM tasks WHERE held <> '' ORDER BY id LIMIT 1`); ok {
						b.ok(b.store.Unhold(b.ctx, id, "user:x"))
					}
				},
				"consent": func() {
					b.tx(func(tx pgx.Tx) error {
						_, err := b.store.SetConsent(b.ctx, tx, fmt.Sprint("c", r.IntN(5)), "", r.IntN(2) == 0)
						return err
					})
				},
				"quarantine": func() {
					_, err := b.store.Quarantine(b.ctx, b.project.ID, who(), "test", "user:x")
					if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
						b.ok(err)
					}
				},
				"lift": func() {
					_, err := b.store.ReleaseQuarantine(b.ctx, b.project.ID, who(), "user:x")
					if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
						b.ok(err)
					}
				},
				"erase": func() {
					if r.IntN(3) == 0 {
						_, err := b.store.Erase(b.ctx, Subject{"customer", fmt.Sprint("c", r.IntN(5))}, "user:x", false, Erasing{})
						if !errors.Is(err, ErrNotFound) {
							b.ok(err)
						}
					}
				},
				"import": func() {
					b.importText(fmt.Sprintf(`{"prompt":"p%d","completions":["a","bb"],"ranks":[%d,2],"labeler":"l%d"}`, r.IntN(6), 1+r.IntN(2), r.IntN(3)), Reading{})
				},
				"import bare": func() {
					b.importText(fmt.Sprintf(`{"prompt":"open %d"}`, r.IntN(100)), Reading{})
				},
			}
			names := sortedKeys(acts, strings.Compare)
			tasks()
			for range 30 {
				for range r.IntN(8) {
					acts[names[r.IntN(len(names))]]()
					submit("")
				}
				moved, shown := b.refreshed()
				b.store.part = 1 + r.IntN(5)
				b.sql(`DELETE FROM labeling_sums`)
				anew, again := b.refreshed()
				if !gocmp.Equal(moved, anew, cmpopts.EquateEmpty()) {
					t.Fatalf("sums moved and computed anew differ:\n%s", gocmp.Diff(moved, anew, cmpopts.EquateEmpty()))
				}
				if !gocmp.Equal(shown, again, cmpopts.EquateEmpty()) {
					t.Fatalf("figures differ:\n%s", gocmp.Diff(shown, again))
				}
				if n := b.count(`SELECT count(*) FROM tasks WHERE purpose = 'work' AND NOT hidden AND held = ''`); int(anew.Tasks) != n {
					t.Fatalf("%d tasks, %d are there", anew.Tasks, n)
				}
				for state, n := range again.States {
					if want := b.count(`SELECT count(*) FROM tasks t WHERE purpose = 'work' AND `+taskStateOf+` = $1`, state); n != want {
						t.Fatalf("%d tasks are %s, want %d", n, state, want)
					}
				}
			}
			if n := b.count(`SELECT count(*) FROM labeling_figures`); n < 5 {
				t.Errorf("%d parts", n)
			}
		})
	}
}

// A transaction that began before a refresh and commits after it is in the next one.
func TestFiguresSeeLateCommits(t *testing.T) {
	b := setup(t)
	b.tasks(2, 2, 1, "")
	a := b.claim("ann")
	hold, err := b.pool.Begin(b.ctx)
	b.ok(err)
	// The ranking carries the time at which its transaction began: now, and before the refresh.
	b.ok(hold.QueryRow(b.ctx, `SELECT 1 FROM now()`).Scan(new(int)))
	_, err = hold.Exec(b.ctx, `INSERT INTO rankings (id, project_id, task_id, assignment_id, labeler_id, revision, ranks, idempotency_key, request_hash, guideline, surplus)
		VALUES (gen_random_uuid(), $1, $2, $3, 'ann', 1, '{1,2}', 'x', sha256('x'), 1, false)`, b.project.ID, a.TaskID, a.ID)
	b.ok(err)
	_, err = hold.Exec(b.ctx, `UPDATE assignments SET state = 'submitted', ranking_id = (SELECT id FROM rankings WHERE assignment_id = $1), closed_at = now() WHERE id = $1`, a.ID)
	b.ok(err)
	_, err = hold.Exec(b.ctx, `UPDATE tasks SET done = 1 WHERE id = $1`, a.TaskID)
	b.ok(err)
	if f, _ := b.refreshed(); f.All.N != 0 {
		t.Fatalf("%d rankings before the commit", f.All.N)
	}
	b.submit(b.claim("bo")) // another commits meanwhile
	if f, _ := b.refreshed(); f.All.N != 1 {
		t.Errorf("%d rankings", f.All.N)
	}
	b.ok(hold.Commit(b.ctx))
	if f, _ := b.refreshed(); f.All.N != 2 {
		t.Errorf("%d rankings after the commit, want 2", f.All.N)
	}
}
