package web

import (
	"strings"
	"testing"

	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// TestAdmin3RoundWizard: journey 3 of an admin. From the list of rounds through all steps to a scheduled setup and a round that runs, by
// mouse and keys, in both languages; every step is accessible and fits a phone.
func TestAdmin3RoundWizard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.weights()
	w.labeled(4)
	w.user("ada", account.RoleOwner)
	b := w.open(1280, 900, false)
	b.allow("400")
	b.signIn("ada@example.com")
	b.visit("/admin")
	b.click(`a[href="/admin/rounds/new"]`)
	next := func(step string) {
		b.Helper()
		b.click(`.actions button[value="next"]`)
		b.until(`document.querySelector("input[name=step]").value === "` + step + `"`)
	}
	look := func(name string) {
		b.Helper()
		b.drawn()
		b.axe()
		b.named()
		b.shot("wizard-" + name)
		b.size(360, 740)
		b.fitsWidth()
		b.shot("wizard-" + name + "-phone")
		b.size(1280, 900)
	}
	b.until(`document.querySelectorAll("input[name=parts]:checked").length === 3`)
	b.click(`input[name=parts][value=sft]`)
	look("parts")
	next("data")
	b.typed("#prompts", "x")
	b.click(`.actions button[value="next"]`)
	b.until(`document.querySelector(".wrong") && document.getElementById("prompts").value.includes("x")`)
	look("data")
	eval[string](b, `document.getElementById("prompts").value = "30"`)
	next("training")
	eval[string](b, `document.getElementById("preset").value = "n-plus"`)
	b.click(`button[value="preset"]`)
	b.until(`document.getElementById("ppo.iterations").value === "1953" && document.querySelectorAll("table tbody tr").length > 30`)
	look("training")
	b.typed("#hours", "2")
	next("gates")
	look("gates")
	next("summary")
	b.until(`document.querySelectorAll("tfoot td").length > 0`)
	b.typed("#cron", "0 3 * * *")
	b.typed("#time_zone", "Asia/Taipei")
	b.click(`button[value="preview"]`)
	b.until(`document.querySelectorAll("ol.small li").length === 5`)
	look("summary")
	b.typed("#name", "nightly")
	b.click(`button[value="save"]`)
	b.until(`location.search.includes("setup=")`)
	b.show("zh-Hant", "dark")
	b.shot("wizard-setup-zh-dark")
	for _, step := range []string{"data", "training", "gates", "summary"} {
		next(step)
		b.shot("wizard-" + step + "-zh-dark")
	}
	b.click(`button[value="start"]`)
	b.until(`location.pathname.startsWith("/admin/rounds/0")`)
	r, err := w.loop.List(t.Context(), w.project.ID, 2)
	w.must(err)
	if len(r) != 1 || r[0].Stage != loop.StageSFT || r[0].Config.Prompts != 30 || !strings.HasPrefix(r[0].Actor, "user:") {
		t.Fatalf("%+v", r)
	}
	b.visit("/docs/rounds")
	b.drawn()
	b.shot("docs-rounds-dark")
}
