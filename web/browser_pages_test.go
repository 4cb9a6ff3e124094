package web

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"

	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// named checks the accessibility tree: what can be operated has a name.
func (b *tab) named() {
	b.Helper()
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	b.w.must(err)
	seen := 0
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		var role, name string
		_ = json.Unmarshal(n.Role.Value, &role) // a value that is no string has no role of interest
		switch role {
		case "button", "link", "textbox", "combobox", "checkbox", "radio", "spinbutton", "dialog", "progressbar":
			seen++
			if n.Name != nil {
				_ = json.Unmarshal(n.Name.Value, &name)
			}
			if strings.TrimSpace(name) == "" {
				b.Errorf("%s: a %s has no name", eval[string](b, `location.pathname`), role)
			}
		}
	}
	if seen < 2 {
		b.Errorf("only %d controls found", seen)
	}
}

// TestLiveRound: stage, progress and curves move by themselves; the page reloads into the next stage.
func TestLiveRound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	r, err := w.loop.Start(t.Context(), w.project.ID, "system", loop.DefaultConfig())
	w.must(err)
	var id string
	w.must(w.pool.QueryRow(t.Context(), `INSERT INTO runs (id, kind, state, config, round_id, total, step) VALUES (gen_random_uuid(), 'ppo.train', 'running', '{}', $1, 100, 10) RETURNING id::text`, r.ID).Scan(&id))
	exec := func(sql string, args ...any) {
		_, err := w.pool.Exec(t.Context(), sql, args...)
		w.must(err)
	}
	exec(`UPDATE rounds SET stage = 'ppo', ppo_run_id = $2 WHERE id = $1`, r.ID, id)
	exec(`INSERT INTO run_metrics (run_id, step, metrics) SELECT $1, s, jsonb_build_object('score', s / 10.0, 'kl', s / 5.0) FROM generate_series(1, 10) s`, id)
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/rounds/" + r.ID)
	b.until(`document.querySelectorAll(".chart canvas").length === 2 && document.getElementById("count").textContent.includes("10 of 100")`)
	exec(`INSERT INTO run_metrics (run_id, step, metrics) VALUES ($1, 11, '{"score": 4.25, "kl": 3}')`, id)
	exec(`UPDATE runs SET step = 11 WHERE id = $1`, id)
	b.until(`document.querySelector(".chart output").textContent === "4.25" && document.getElementById("count").textContent.includes("11 of 100")`)
	b.shot("live")
	exec(`UPDATE rounds SET stage = 'evaluate' WHERE id = $1`, r.ID)
	b.until(`document.getElementById("stage") && document.getElementById("stage").textContent === "Evaluating"`)
	b.do(chromedp.Click(chromedp.CSS("details.confirm summary")))
	b.do(chromedp.Click(chromedp.CSS("details.confirm button")))
	b.until(`document.body.innerText.includes("The round is cancelled.")`)
}
