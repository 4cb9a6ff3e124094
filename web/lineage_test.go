package web

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// TestLineagePages: from a labeler to the models that learned from it, from a model back to its labelers, and a round without one.
func TestLineagePages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	people, _ := w.labeled(12)
	nora, ada := w.as("nora", account.RoleAnalyst), w.as("ada", account.RoleAdmin)
	asked := "/admin/lineage?kind=labeler&id=" + people[0].ID
	if page := nora.get(asked).want(t, http.StatusOK).body; !strings.Contains(page, "nothing has learned from it") {
		t.Error("nothing is said of a labeler whom nobody learned from")
	}
	snap, err := w.labeling.MakeSnapshot(t.Context(), w.project.ID, labeling.SnapshotFilter{Name: "the <first>"}, "user:x")
	w.must(err)
	reward := w.register(registry.Version{Kind: registry.Reward, Name: "reward-<r1>", Digest: "sha256:" + repeat("c"), Parents: []string{w.version.ID}, Snapshot: &snap.ID, Code: "0123abc"})
	policy := w.register(registry.Version{Kind: registry.Policy, Name: "policy-r1", Digest: "sha256:" + repeat("d"), Parents: []string{w.version.ID, reward.ID}, Snapshot: &snap.ID})

	page := nora.get(asked).want(t, http.StatusOK).body
	for _, want := range []string{"the &lt;first&gt;", "reward-&lt;r1&gt;", "policy-r1", people[0].Email} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "/admin/lineage/retrain") {
		t.Error("an analyst is offered to start a round")
	}
	if byName := nora.get("/admin/lineage?kind=labeler&id="+url.QueryEscape(people[0].Email)).want(t, http.StatusOK).body; !strings.Contains(byName, "policy-r1") {
		t.Error("an e-mail address does not do")
	}
	if page := nora.get("/admin/lineage?kind=customer&id=nobody").want(t, http.StatusOK).body; strings.Contains(page, "policy-r1") {
		t.Error("a customer of whom nothing is known")
	}
	nora.get("/admin/lineage?kind=planet&id=x").want(t, http.StatusBadRequest)

	page = nora.get("/admin/models/"+policy.ID).want(t, http.StatusOK).body
	for _, want := range []string{`<svg class="plot tree"`, "reward-&lt;r1&gt;", ">snapshot<", people[1].Email, "prompts of no customer", ">tiny-sft<"} {
		if !strings.Contains(page, want) {
			t.Errorf("the model's page lacks %q", want)
		}
	}
	a := func(id string, parents ...string) registry.Ancestor {
		return registry.Ancestor{Version: registry.Version{ID: id, Parents: parents}}
	}
	if got := layersOf([]registry.Ancestor{a("p2", "p1", "r1"), a("p1", "sft", "r1"), a("r1", "sft"), a("sft", "base"), a("base")}); !maps.Equal(got, map[string]int{"p1": 1, "r1": 2, "sft": 3, "base": 4}) {
		t.Errorf("layers %v", got)
	}
	if page := nora.get("/admin/models/" + reward.ID).body; !strings.Contains(page, "0123abc") {
		t.Error("the program's version is not shown")
	}

	nora.form("/admin/lineage/retrain", "kind", "labeler", "id", people[0].ID).want(t, http.StatusForbidden)
	ada.form("/admin/lineage/retrain", "kind", "planet", "id", "x").want(t, http.StatusBadRequest)
	if !strings.Contains(ada.get(asked).body, "/admin/lineage/retrain") {
		t.Fatal("an admin is not offered to start a round")
	}
	ada.form("/admin/lineage/retrain", "kind", "labeler", "id", people[0].ID).want(t, http.StatusSeeOther)
	rounds, err := w.loop.List(t.Context(), w.project.ID, 10)
	w.must(err)
	if len(rounds) != 1 || rounds[0].Stage != loop.StageReward || len(rounds[0].Config.Without) != 1 {
		t.Fatalf("%+v", rounds)
	}
	o, err := w.labeling.SnapshotOrigin(t.Context(), rounds[0].SnapshotID)
	w.must(err)
	for _, l := range o.Labelers {
		if l.ID == people[0].ID {
			t.Error("the round learns from the labeler all the same")
		}
	}
	if len(o.Labelers) != 2 {
		t.Errorf("%+v", o.Labelers)
	}
	if page := ada.get(asked).body; strings.Contains(page, "Start that round") || !strings.Contains(page, "when the present one has ended") {
		t.Error("a second round is offered")
	}
}
