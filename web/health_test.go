package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/health"
)

// TestHealth: the page and its JSON say what is wrong with a database whose settings endanger data and whose work stands still, and
// what mends it; then that it is mended.
func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	w.as("nora", account.RoleAnalyst).get("/api/v1/health").want(t, http.StatusForbidden)
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := w.pool.Exec(t.Context(), sql, args...)
		w.must(err)
	}
	type report struct {
		State   health.State
		Checks  []struct{ Name, State, Found, Advice string }
		Figures health.Figures
	}
	look := func() (r report, by map[string]string) {
		t.Helper()
		ada.get("/api/v1/health").want(t, http.StatusOK).into(t, &r)
		by = map[string]string{}
		for _, c := range r.Checks {
			by[c.Name] = c.State + " " + c.Found
			if (c.State == "ok") != (c.Advice == "") {
				t.Errorf("%s is %s and advises %q", c.Name, c.State, c.Advice)
			}
		}
		return r, by
	}
	want := func(by map[string]string, name, begins string) {
		t.Helper()
		if !strings.HasPrefix(by[name], begins) {
			t.Errorf("%s: %q, want %q", name, by[name], begins)
		}
	}
	w.addTask(says("Tell a story."), demoAnswers...)
	w.as("mina", account.RoleLabeler).json(post, "/label/api/claim", nil).want(t, http.StatusOK)
	exec(`UPDATE assignments SET lease_until = now() - interval '1 hour'`)
	exec(`INSERT INTO river.river_job (kind, queue, args, state, max_attempts, scheduled_at) VALUES ('labeling.sweep', 'default', '{}', 'available', 3, now() - interval '1 hour')`)
	exec(`INSERT INTO river.river_job (kind, queue, args, state, max_attempts, finalized_at) VALUES ('ppo.train', 'train', '{}', 'discarded', 3, now())`)
	exec(`INSERT INTO river.river_queue (name, updated_at, paused_at) VALUES ('train', now(), now())`)
	r, by := look()
	want(by, "postgres.fsync", "bad is off") // that of the tests
	want(by, "postgres.version", "ok ")
	want(by, "clock", "ok ")
	want(by, "jobs.leader", "bad nobody")
	want(by, "jobs.waiting", "warn 1; the oldest has waited for 1h")
	want(by, "jobs.failed", "warn 1 in")
	want(by, "jobs.paused", "warn train")
	want(by, "leases", "warn 1 open, 1 past")
	want(by, "audit.chain", "warn never")
	want(by, "backup", "warn none")
	want(by, "engine", "ok 0 of 32")
	want(by, "webhooks", "ok 0 deliveries")
	if r.State != health.Bad || r.Figures.Disk.Total == 0 || r.Figures.DatabaseBytes == 0 || r.Figures.Engine == nil || len(r.Figures.Queues) != 2 {
		t.Errorf("%+v", r)
	}
	page := ada.get("/admin/health").want(t, http.StatusOK).body
	for _, text := range []string{"Something endangers data", "Set fsync = on in postgresql.conf", "nobody takes jobs"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	if page := ada.get("/admin/health", "Accept-Language", "zh-TW").body; !strings.Contains(page, "沒有行程領取工作") || strings.Contains(page, "nobody takes jobs") {
		t.Error("the page does not speak Chinese")
	}

	exec(`DELETE FROM river.river_job`)
	exec(`UPDATE river.river_queue SET paused_at = NULL`)
	exec(`INSERT INTO river.river_leader (elected_at, expires_at, leader_id) VALUES (now(), now() + interval '1 minute', 'here')`)
	_, err := w.labeling.Sweep(t.Context())
	w.must(err)
	w.must(w.server.Health.Store.Mark(t.Context(), health.MarkBackup, true, "9 rows"))
	exec(`SELECT audit_seal()`)
	ada.get("/admin/audit/verify").want(t, http.StatusOK)
	_, by = look()
	for _, name := range []string{"jobs.leader", "jobs.waiting", "jobs.failed", "jobs.paused", "leases", "audit.chain", "backup"} {
		want(by, name, "ok ")
	}
	w.must(pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error { // what a thief with the owner's password does
		if _, err := tx.Exec(t.Context(), `SET LOCAL session_replication_role = replica`); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `UPDATE audit SET actor = 'user:nobody' WHERE id = (SELECT min(id) FROM audit)`)
		return err
	}))
	_, err = w.server.Health.Verify(t.Context(), nil)
	w.must(err)
	_, by = look()
	want(by, "audit.chain", "bad broken: entry ")
	w.slot.Set(nil)
	_, by = look()
	want(by, "engine", "bad no policy serves")
}

// TestHealthRefreshes: the page follows what changes, and what has the focus keeps it.
func TestHealthRefreshes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleAdmin)
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/health")
	b.until(`document.querySelector('[data-check="backup"] .tag').textContent === "look at it"`)
	w.must(w.server.Health.Store.Mark(t.Context(), health.MarkBackup, true, ""))
	eval[bool](b, `window.kept = document.querySelector('.panel a[href="/admin/jobs"]'), window.kept.focus(), document.dispatchEvent(new Event("visibilitychange", { bubbles: true }))`)
	b.until(`document.querySelector('[data-check="backup"] .tag').textContent === "well"`)
	if !eval[bool](b, `document.activeElement === window.kept && window.kept.isConnected`) {
		t.Error("the focus is gone")
	}
}
