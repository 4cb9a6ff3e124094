package web

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// learnedRound is a round of all rankings that there are, with the reward model and the policy that came of it; it is over.
func (w *world) learnedRound() (r loop.Round, reward, policy registry.Version) {
	w.Helper()
	ctx := w.Context()
	cfg := loop.DefaultConfig()
	cfg.Retrain, cfg.Promotion = true, loop.PromoteByHand
	r, err := w.loop.Start(ctx, w.project.ID, "system", cfg)
	w.must(err)
	reward = w.register(registry.Version{Kind: registry.Reward, Name: "reward-r1", Digest: "sha256:" + repeat("c"), Parents: []string{w.version.ID}, Snapshot: &r.SnapshotID, RoundID: &r.ID, Code: "0123abc"})
	policy = w.register(registry.Version{Kind: registry.Policy, Name: "policy-r1", Digest: "sha256:" + repeat("d"), Parents: []string{w.version.ID, reward.ID}, RoundID: &r.ID, Code: "0123abc"})
	w.must(w.loop.Cancel(ctx, r.ID, "system"))
	return r, reward, policy
}

// newest is the newest round, which a click has started.
func (w *world) newest() loop.Round {
	w.Helper()
	list, err := w.loop.List(w.Context(), w.project.ID, 1)
	w.must(err)
	return list[0]
}

// TestAdmin7Lineage is journey 7 of admins, by clicks alone: from a checkpoint to its round, its snapshot, the rankings, who made them,
// under which instructions and with which program; from one of the rankings to all that learned from it; and a round without it.
func TestAdmin7Lineage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	people, _ := w.labeled(4)
	r, reward, policy := w.learnedRound()
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	here := func(path string) {
		b.Helper()
		b.until(fmt.Sprintf(`location.pathname + location.search === %q`, path))
	}

	b.visit("/admin/models")
	b.follow(`a[href="/admin/models/` + policy.ID + `"]`)
	b.says("0123abc") // the program
	b.follow(`table.facts a[href="/admin/rounds/` + r.ID + `"]`)
	b.says("Round 1")
	b.visit("/admin/models/" + policy.ID)
	b.follow(`a[href="/admin/models/` + reward.ID + `"]`)
	b.axe()
	model := eval[string](b, `location.pathname`)
	b.follow(`a[href^="/admin/projects/` + w.project.ID + `/guidelines?from=1"]`) // the instructions
	b.says("Follows the instruction.")
	b.visit(model)
	b.follow(`a[href="/admin/lineage?kind=labeler&id=` + people[1].ID + `"]`)
	b.says("policy-r1")
	b.visit(model)
	b.follow(`table.facts a[href="/admin/snapshots/` + r.SnapshotID + `"]`)
	b.says("12 rankings of 4 prompts")
	for _, p := range people {
		b.says(p.Email)
	}
	b.axe()
	b.wholeShot("snapshot")
	b.size(360, 740)
	b.fitsWidth()
	b.wholeShot("snapshot-phone")
	b.size(1280, 900)
	if n := eval[int](b, `document.querySelectorAll('a[href^="/admin/labeling/tasks/"]').length`); n != 12 {
		t.Errorf("%d rankings are listed", n)
	}

	// Forward from one of the rankings.
	b.follow(`a[href^="/admin/labeling/tasks/"]`)
	ranking := eval[string](b, `new URLSearchParams(document.querySelector('a[href*="kind=ranking"]').search).get("id")`)
	b.follow(`a[href*="kind=ranking"]`)
	here("/admin/lineage?kind=ranking&id=" + ranking)
	b.says("round 1")
	for _, v := range []registry.Version{reward, policy} {
		b.until(`document.querySelector('a[href="/admin/models/` + v.ID + `"]')`)
	}
	b.click(`details.confirm summary`)
	b.follow(`form[action="/admin/lineage/retrain"] button`)
	b.until(`location.pathname.startsWith("/admin/rounds/")`)
	again := w.newest()
	if again.Number != 2 || !slices.Equal(again.Config.Without, []labeling.Subject{{Kind: labeling.SubjectRanking, ID: ranking}}) {
		t.Fatalf("%+v", again.Config)
	}
	if n, left := w.count(`SELECT count(*) FROM snapshot_items WHERE snapshot_id = $1`, again.SnapshotID), w.count(`SELECT count(*) FROM snapshot_items WHERE snapshot_id = $1 AND ranking_id = $2`, again.SnapshotID, ranking); n != 11 || left != 0 {
		t.Errorf("the new round learns from %d rankings, from the one that was left out %d times", n, left)
	}
}

// downloads lets the tab keep files in a folder of the test's own.
func (b *tab) downloads() (dir string) {
	b.Helper()
	dir = b.TempDir()
	_, err := chromedp.CallBrowser(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow,
		BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID, DownloadPath: dir})
	b.w.must(err)
	return dir
}

// download clicks a link, and takes the file that comes out of the folder.
func (b *tab) download(dir, selector string) []byte {
	b.Helper()
	eval[bool](b, fmt.Sprintf(`document.querySelector(%q).click(); true`, selector))
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		list, err := os.ReadDir(dir)
		b.w.must(err)
		if len(list) == 1 && !list[0].IsDir() && filepath.Ext(list[0].Name()) != ".crdownload" && list[0].Name()[0] != '.' {
			name := filepath.Join(dir, list[0].Name())
			file, err := os.ReadFile(name)
			b.w.must(err)
			if len(file) > 0 { // its place is kept before it comes
				b.w.must(os.Remove(name))
				return file
			}
		}
	}
	b.Fatalf("%s brought no file", selector)
	return nil
}

// TestAdmin9Erasure is journey 9 of admins: somebody is found by name, what would go is shown, it goes, the report is signed; new
// snapshots hold nothing of it, and models that learned from it say from which round on to train again, which a click does.
func TestAdmin9Erasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleOwner)
	people, _ := w.labeled(4)
	r, reward, policy := w.learnedRound()
	b := w.open(1280, 900, false)
	dir := b.downloads()
	b.signIn("ada@example.com")
	b.visit("/admin/import")
	b.follow(`main a[href="/admin/erase"]`)
	b.fill("#q", "nobody-at-all")
	b.follow(`form[method="get"] .btn.primary`)
	b.says("Nobody of that name has asked, ranked or written anything.")
	b.fill("#q", "YUKI")
	b.follow(`form[method="get"] .btn.primary`)
	b.says(people[2].Email)
	b.axe()
	b.follow(`.scroll form button`)
	b.says("Rankings: 4")
	b.says("policy-r1")
	b.axe()
	b.wholeShot("preview")
	b.size(360, 740)
	b.fitsWidth()
	b.wholeShot("preview-phone")
	b.size(1280, 900)
	if n := w.count(`SELECT count(*) FROM rankings`); n != 12 {
		t.Fatalf("the preview left %d rankings", n)
	}
	b.follow(`form .btn.danger`)
	b.until(`location.pathname.startsWith("/admin/erase/")`)
	b.says("Erased. The report is below.")
	b.says("from round 1 on")
	b.axe()
	b.wholeShot("report")
	b.size(360, 740)
	b.fitsWidth()
	b.show("zh-Hant", "dark")
	b.wholeShot("report-phone-zh-dark")
	b.show("en", "light")
	b.size(1280, 900)
	if n := w.count(`SELECT count(*) FROM rankings`); n != 8 {
		t.Errorf("%d rankings are left", n)
	}

	// The report is the one that was signed, whatever is done to it.
	report := eval[string](b, `location.pathname`)
	signed, err := labeling.ReadSignedErasure(b.download(dir, `a[download]`))
	w.must(err)
	got, err := signed.Verify(labeling.ErasureKey(reportKey))
	w.must(err)
	if got.Subject.ID != people[2].ID || got.Rows["rankings"] != 4 || len(got.Snapshots) != 1 || got.Snapshots[0].Rankings != 4 || len(got.Models) != 2 || got.Models[0].Round != 1 || got.Models[0].RoundID != r.ID {
		t.Errorf("%+v", got)
	}
	b.visit("/admin/audit?subject=labeler%3A" + people[2].ID)
	b.says("labeling.erase")
	b.visit("/admin/erase")
	b.until(`document.querySelector('a[href="` + report + `"]')`)

	// What learned from it says so; what is learned from now on has nothing of it.
	b.visit("/admin/models")
	b.until(`[...document.querySelectorAll(".tag.bad")].filter((e) => e.textContent === "to be trained again").length === 2`)
	b.follow(`a[href="/admin/models/` + policy.ID + `"]`)
	b.says("Retrain from round 1")
	b.axe()
	b.shot("tainted")
	b.follow(`.alert a[href="` + report + `"]`)
	b.click(`details.confirm summary`)
	b.follow(`form[action="/admin/lineage/retrain"] button`)
	b.until(`location.pathname.startsWith("/admin/rounds/")`)
	again := w.newest()
	if n := w.count(`SELECT count(*) FROM snapshot_items WHERE snapshot_id = $1`, again.SnapshotID); again.Number != 2 || !again.Config.Retrain || len(again.Config.Without) != 0 || n != 8 {
		t.Errorf("round %d learns from %d rankings: %+v", again.Number, n, again.Config)
	}
	b.visit(report)
	b.says("can start when the present one has ended")
	fresh := w.register(registry.Version{Kind: registry.Reward, Name: "reward-r2", Digest: "sha256:" + repeat("f"), Parents: []string{w.version.ID}, Snapshot: &again.SnapshotID, RoundID: &again.ID})
	if taints, err := w.registry.Taints(t.Context(), fresh.ID); err != nil || len(taints) != 0 {
		t.Errorf("what was trained again is marked: %v %v", taints, err)
	}
	if taints, err := w.registry.Taints(t.Context(), reward.ID); err != nil || len(taints) != 1 || taints[0].RoundID != r.ID {
		t.Errorf("%v %v", taints, err)
	}
	_, err = w.pool.Exec(t.Context(), `UPDATE erasures SET signature = '', signed_by = ''`) // as those of before
	w.must(err)
	ada.get(report+"/report.json").want(t, 409)
	b.visit(report)
	b.says("This report is older than signatures.")
}
