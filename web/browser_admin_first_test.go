package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// choose gives a field of the page a file of that name and text, as a person's choice does.
func (b *tab) choose(selector, name, text string) {
	b.Helper()
	eval[bool](b, fmt.Sprintf(`(() => { const all = new DataTransfer(); all.items.add(new File([%q], %q)); document.querySelector(%q).files = all.files; return true; })()`, text, name, selector))
}

// fill gives fields values by their selectors.
func (b *tab) fill(fields ...string) {
	b.Helper()
	for i := 0; i < len(fields); i += 2 {
		eval[bool](b, fmt.Sprintf(`(() => { const f = document.querySelector(%q); f.value = %q; f.dispatchEvent(new Event("input", { bubbles: true })); return f.value !== ""; })()`, fields[i], fields[i+1]))
	}
}

// says waits until the page shows a text.
func (b *tab) says(text string) {
	b.Helper()
	b.until(fmt.Sprintf(`document.getElementById("main").innerText.includes(%q)`, text))
}

// follow clicks a link and waits for the page that it leads to.
func (b *tab) follow(selector string) {
	b.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q)`, selector))
	eval[bool](b, `window.former = true`)
	eval[bool](b, fmt.Sprintf(`document.querySelector(%q).click(); true`, selector))
	b.until(`!window.former && document.readyState === "complete"`)
}

// TestAdmin1FirstRun is journey 1 of admins: of an empty server with an owner's account alone, by its pages: a project, a file, a link, and
// somebody who joins by it is served the first task. Each empty page says what comes next.
func TestAdmin1FirstRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner) // as 'rankloop admin create' does
	policy, _ := w.pairOfVersions()
	w.must(w.loop.Promote(t.Context(), policy.ID, "system", ""))
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin")
	b.says("No round has run yet.")
	b.visit("/admin/labeling")
	b.says("No figures yet")
	b.visit("/admin/snapshots")
	b.says("No snapshot has been made yet.")

	b.visit("/admin/projects")
	b.fill("#name", "stories", "#question", labeling.QuestionRanking, "#k", "2", "#overlap", "2", "#instructions", "Rank the kinder story first.")
	b.follow(`form[action="/admin/projects"] .btn.primary`)
	b.until(`location.pathname.startsWith("/admin/projects/") && document.querySelector("h1").textContent === "stories"`)
	project := eval[string](b, `location.pathname.split("/").pop()`)
	b.says("Import a file of prompts or answers")
	b.follow(`a[href="/admin/import?project=` + project + `"]`)
	b.says("Nothing has been imported yet.")
	b.axe()
	b.choose("#file", "stories.jsonl", strings.Repeat("\n", 2)+`{"prompt":"Tell a story about a fox."}`)
	b.follow(`form[action^="/admin/import"] .btn.primary`)
	b.until(`location.pathname.startsWith("/admin/import/")`)
	w.workIn(project)
	b.follow(`a[href="` + eval[string](b, `location.pathname`) + `"]`)
	b.says("1 imported")
	b.size(360, 740)
	b.fitsWidth()
	b.shot("imported-phone")
	b.size(1280, 900)
	b.follow(`main a[href="/admin/projects/` + project + `"]`) // the next step
	b.fill("#prompts", "1")
	b.follow(`form[action$="/tasks"] .btn`)
	for w.count(`SELECT count(*) FROM tasks WHERE project_id = $1 AND open_slots > 0`, project) == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	b.visit("/admin/projects/" + project)
	b.says("1 task is open to labelers.")

	b.visit("/admin/people")
	b.fill("#invite-role", "labeler", "#invite-project", project)
	b.follow(`form[action="/admin/invitations"] .btn.primary`)
	link := eval[string](b, `document.getElementById("link").textContent`)

	mina := w.open(360, 740, false)
	mina.visit(strings.TrimPrefix(link, w.http.URL))
	mina.fill("#name", "Mina", "#email", "mina@example.com", "#password", testPassword)
	mina.follow(`form .btn.primary`)
	mina.says("Rank the kinder story first.")
	mina.follow(`.actions .btn.primary`)
	mina.until(workOpen + ` && document.querySelectorAll(".card").length === 2`)
	mina.keys("12")
	mina.send()
	mina.until(`!document.getElementById("empty").hidden`) // it was the only one
	if n := w.count(`SELECT count(*) FROM rankings k JOIN users u ON u.id::text = k.labeler_id WHERE u.email = 'mina@example.com'`); n != 1 {
		t.Errorf("%d rankings of the invited labeler", n)
	}
}
