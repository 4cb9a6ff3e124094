package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"riverqueue.com/riverui"

	"github.com/rankloop/rankloop/web/account"
)

// TestJobsUI: the job queue's own pages are for admins, work under a policy without inline scripts, and leave their acts in the audit log.
func TestJobsUI(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ui *riverui.Handler
	w := newWorld(t, func(_ *Config, d *Deps) {
		d.JobsUI = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { ui.ServeHTTP(rw, r) })
	})
	client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{Schema: "river"})
	w.must(err)
	ui, err = riverui.NewHandler(&riverui.HandlerOpts{Endpoints: riverui.NewEndpoints(client, nil), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Prefix: "/admin/jobs"})
	w.must(err)
	w.must(ui.Start(ctx))
	job := func(state, more string) (id int64) {
		w.must(w.pool.QueryRow(ctx, `INSERT INTO river.river_job (kind, queue, args, state, max_attempts, attempt, finalized_at, errors)
			VALUES ('labeling.sweep', 'default', '{}', $1::river.river_job_state, 10, 3, `+more+`) RETURNING id`, state).Scan(&id))
		return id
	}
	waits := job("available", "NULL, NULL")
	failed := job("discarded", `now(), ARRAY['{"at":"2026-01-02T03:04:05Z","attempt":3,"error":"no room on the disk","trace":""}'::jsonb]`)

	if got := w.anon().get("/admin/jobs/jobs"); got.code != http.StatusFound || got.head.Get("Location") == "" {
		t.Errorf("who has not signed in gets %d", got.code)
	}
	w.as("mina", account.RoleLabeler).get("/admin/jobs/api/jobs").want(t, http.StatusForbidden)
	w.as("nora", account.RoleAnalyst).get("/admin/jobs").want(t, http.StatusForbidden)
	ada := w.as("ada", account.RoleAdmin)
	cancelJob := fmt.Sprintf(`{"ids":["%d"]}`, waits)
	ada.json(post, "/admin/jobs/api/jobs/cancel", cancelJob, "Sec-Fetch-Site", "cross-site").want(t, http.StatusForbidden)
	if n := w.count(`SELECT count(*) FROM audit WHERE act LIKE 'jobs.%'`); n != 0 {
		t.Errorf("%d acts of a foreign page are in the log", n)
	}

	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/jobs/jobs?state=available")
	b.until(`document.body.innerText.includes("labeling.sweep")`)
	b.shot("jobs")
	b.visit(fmt.Sprintf("/admin/jobs/jobs/%d", failed))
	b.until(`document.body.innerText.includes("no room on the disk")`)
	b.shot("job")
	press := func(id int64, label, state string) {
		t.Helper()
		b.visit(fmt.Sprintf("/admin/jobs/jobs/%d", id))
		button := fmt.Sprintf(`[...document.querySelectorAll("button")].find((e) => e.textContent.trim() === %q && !e.disabled && e.checkVisibility())`, label)
		b.until(button)
		eval[bool](b, button+`.click(), true`)
		w.eventually(fmt.Sprintf(`SELECT count(*) = 1 FROM river.river_job WHERE id = %d AND state = '%s'`, id, state))
	}
	press(waits, "Cancel", "cancelled")
	press(failed, "Retry", "available")
	for act, id := range map[string]int64{"jobs.cancel": waits, "jobs.retry": failed} {
		if n := w.count(`SELECT count(*) FROM audit WHERE act = $1 AND detail -> 'jobs' = jsonb_build_array($2::text) AND actor LIKE 'user:%'`, act, fmt.Sprint(id)); n != 1 {
			t.Errorf("%s of job %d stands %d times in the log", act, id, n)
		}
	}
}
