package web

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

var (
	hiddenConfig = regexp.MustCompile(`name="config" value="([^"]*)"`)
	inputValue   = func(page, name string) string {
		m := regexp.MustCompile(`<input id="` + regexp.QuoteMeta(name) + `"[^>]* value="([^"]*)"`).FindStringSubmatch(page)
		if m == nil {
			return "\x00"
		}
		return html.UnescapeString(m[1])
	}
)

// wizard is somebody who goes through the steps without scripts: each page's hidden settings are sent back with the fields.
type wizard struct {
	*browser
	page answer
}

// send sends the form of the page, with the values that its fields hold and those that are given.
func (w *wizard) send(fields ...string) answer {
	w.browser.w.Helper()
	v := url.Values{"config": {html.UnescapeString(hiddenConfig.FindStringSubmatch(w.page.body)[1])}}
	for _, m := range regexp.MustCompile(`<input [^>]*name="([a-z_.]+)"[^>]*>`).FindAllStringSubmatch(w.page.body, -1) {
		if value := regexp.MustCompile(` value="([^"]*)"`).FindStringSubmatch(m[0]); value != nil && m[1] != "config" {
			if !strings.Contains(m[0], `type="checkbox"`) || strings.Contains(m[0], " checked") {
				v.Add(m[1], html.UnescapeString(value[1]))
			}
		}
	}
	for i := 0; i+1 < len(fields); i += 2 {
		v.Del(fields[i])
	}
	for i := 0; i+1 < len(fields); i += 2 {
		v.Add(fields[i], fields[i+1])
	}
	a := w.do(post, "/admin/rounds/new", "application/x-www-form-urlencoded", v.Encode())
	if a.code < 500 && a.code != http.StatusSeeOther {
		w.page = a
	}
	return a
}

// weights gives the version that serves real ones, so that a round of it can be estimated.
func (w *world) weights() {
	w.Helper()
	tok := token.GPT2()
	m, err := model.New(model.Config{Family: "gpt2", Vocab: tok.Vocab(), Context: 256, Layers: 1, Width: 16, Heads: 2, KVHeads: 2, Hidden: 32,
		NormEps: 1e-5, Tied: true, BOS: -1, EOS: int(tok.EOS())}, 1)
	w.must(err)
	dir := w.TempDir() + "/model"
	w.must((&checkpoint.Checkpoint{Model: m, Tokenizer: tok, Card: checkpoint.Card{Kind: "sft"}}).Save(dir, "F32"))
	digest, err := w.loop.Blobs.Put(w.Context(), dir)
	w.must(err)
	v := w.register(registry.Version{Kind: registry.SFT, Name: "real-sft", Digest: digest})
	w.must(w.loop.Promote(w.Context(), v.ID, "system", ""))
}

// TestWizard: a round is set up without scripts; faults stand beside their fields, and nothing that was typed is lost.
func TestWizard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.weights()
	ada := w.as("ada", account.RoleAdmin)
	w.as("nils", account.RoleAnalyst).get("/admin/rounds/new").want(t, http.StatusForbidden)
	wz := &wizard{browser: ada, page: ada.get("/admin/rounds/new").want(t, http.StatusOK)}

	wz.send("go", "next", "parts", "").want(t, http.StatusBadRequest)
	wz.send("go", "next", "parts", "rank", "parts", "reward", "parts", "ppo").want(t, http.StatusOK)
	if !strings.Contains(wz.page.body, `name="step" value="data"`) {
		t.Fatal("the second step is not the data")
	}
	a := wz.send("go", "next", "prompts", "many <b>", "k", "7").want(t, http.StatusBadRequest)
	if inputValue(a.body, "prompts") != "many <b>" || inputValue(a.body, "k") != "7" || !strings.Contains(a.body, `aria-invalid="true"`) || !strings.Contains(a.body, "must be a whole number") {
		t.Fatalf("a fault: prompts %q, k %q", inputValue(a.body, "prompts"), inputValue(a.body, "k"))
	}
	a = wz.send("go", "next", "prompts", "40", "k", "12").want(t, http.StatusBadRequest)
	if !strings.Contains(a.body, "12 answers per prompt; 4 to 9 are possible") || inputValue(a.body, "prompts") != "40" {
		t.Fatal("a fault of the settings is not shown beside the field")
	}
	wz.send("go", "next", "prompts", "40", "k", "7", "overlap_share", "25").want(t, http.StatusOK)
	wz.send("go", "preset", "preset", "instructgpt").want(t, http.StatusOK)
	if inputValue(wz.page.body, "ppo.iterations") != "500" || !strings.Contains(wz.page.body, "InstructGPT eq. 2: 0.02") || inputValue(wz.page.body, "ppo.kl.coef") != "0.02" {
		t.Fatalf("the preset's values are not explained: %q iterations", inputValue(wz.page.body, "ppo.iterations"))
	}
	wz.send("go", "preset", "preset", "mine").want(t, http.StatusBadRequest)
	wz.send("go", "next", "ppo.iterations", "10", "ppo.rollouts", "64", "ppo.minibatch", "128", "hours", "").want(t, http.StatusBadRequest)
	if !strings.Contains(wz.page.body, "128 is more than the 64 rollouts") {
		t.Fatal("PPO's own fault is not beside its field")
	}
	wz.send("go", "next", "ppo.minibatch", "32").want(t, http.StatusOK)
	wz.send("go", "next", "gates.agreement", "60", "gates.kl", "12", "promotion", "manual").want(t, http.StatusOK)
	if !strings.Contains(wz.page.body, "the cost model and this machine&#39;s speed") || !strings.Contains(wz.page.body, "not known: people do it") {
		t.Fatalf("the summary has no forecast: %s", wz.page.body)
	}
	if wz.send("go", "to:gates").want(t, http.StatusOK); inputValue(wz.page.body, "gates.agreement") != "60" {
		t.Fatal("what was set is lost on the way back")
	}
	wz.send("go", "next").want(t, http.StatusOK)

	wz.send("go", "preview", "cron", "30 3 * * 1", "time_zone", "Middle/Earth", "name", "half typed").want(t, http.StatusBadRequest)
	if inputValue(wz.page.body, "cron") != "30 3 * * 1" || inputValue(wz.page.body, "name") != "half typed" {
		t.Fatal("a wrong time zone loses what was typed")
	}
	wz.send("go", "preview", "cron", "30 3 * * 1", "time_zone", "Asia/Taipei").want(t, http.StatusOK)
	if n := strings.Count(wz.page.body, "03:30 CST"); n != 5 {
		t.Errorf("%d of the next times are shown", n)
	}
	wz.send("go", "schedule", "accuracy_below", "60").want(t, http.StatusSeeOther)
	list, err := w.loop.Schedules(t.Context(), w.project.ID)
	w.must(err)
	if len(list) != 1 || list[0].TimeZone != "Asia/Taipei" || list[0].AccuracyBelow != 0.6 || list[0].Config.Relabel.Below != 0.6 || list[0].Config.K != 7 {
		t.Fatalf("schedules %+v", list)
	}
	if page := ada.get("/admin").want(t, http.StatusOK).body; !strings.Contains(page, "Next five") || !strings.Contains(page, "with a reward accuracy below 60.0") {
		t.Error("the rounds page does not tell of the schedule")
	}
	to := wz.send("go", "save", "name", "nightly").want(t, http.StatusSeeOther).head.Get("Location")
	wz.send("go", "save", "name", "nightly").want(t, http.StatusBadRequest)
	wz.send("go", "start").want(t, http.StatusSeeOther)
	rounds, err := w.loop.List(t.Context(), w.project.ID, 5)
	w.must(err)
	c := rounds[0].Config
	if len(rounds) != 1 || rounds[0].Stage != loop.StageSample || c.K != 7 || c.OverlapShare != 0.25 || c.Gates.Agreement != 0.6 || c.Gates.KL != 12 || c.Promotion != loop.PromoteByHand ||
		c.PPO.Iterations != 10 || c.PPO.Minibatch != 32 || c.PPO.KL.Coef != 0.02 || !slices.Equal(c.Parts, []loop.Stage{loop.StageRank, loop.StageReward, loop.StagePPO}) {
		t.Fatalf("%d rounds, %+v", len(rounds), c)
	}
	wz.send("go", "start").want(t, http.StatusConflict)

	// From the setup, changed, removed.
	wz.page = ada.get(strings.TrimSuffix(to, "&done=setup")).want(t, http.StatusOK)
	for range 4 {
		wz.send("go", "next").want(t, http.StatusOK)
	}
	wz.send("go", "change", "name", "weekly").want(t, http.StatusSeeOther)
	setups, err := w.loop.Templates(t.Context(), w.project.ID)
	w.must(err)
	if len(setups) != 1 || setups[0].Name != "weekly" || setups[0].Config.K != 7 {
		t.Fatalf("setups %+v", setups)
	}
	ada.form("/admin/setups/"+setups[0].ID+"/remove").want(t, http.StatusSeeOther)
	ada.form("/admin/setups/"+setups[0].ID+"/remove").want(t, http.StatusNotFound)

	// A gate holds it: a person says why it may go on.
	ada.form("/admin/rounds/"+rounds[0].ID+"/override", "reason", "x").want(t, http.StatusConflict)
	_, err = w.pool.Exec(t.Context(), `UPDATE rounds SET stage = 'rank', held = 'agreement', finding = 'two labelers agree on 40.0% [30.0, 50.0] of 80 pairs, below the limit of 60.0%' WHERE id = $1`, rounds[0].ID)
	w.must(err)
	if page := ada.get("/admin/rounds/"+rounds[0].ID).want(t, http.StatusOK).body; !strings.Contains(page, "A gate holds this round.") || strings.Contains(page, "/proceed") || strings.Contains(page, "/pause") {
		t.Error("the page of a held round")
	}
	ada.form("/admin/rounds/"+rounds[0].ID+"/override", "reason", " ").want(t, http.StatusBadRequest)
}

// TestWizardSnapshot: a reward model of a snapshot is offered the snapshots, with counts; the hours bound PPO.
func TestWizardSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.weights()
	ada := w.as("ada", account.RoleAdmin)
	w.labeled(4)
	snap, err := w.labeling.MakeSnapshot(t.Context(), w.project.ID, labeling.SnapshotFilter{Name: "autumn"}, "user:x")
	w.must(err)
	wz := &wizard{browser: ada, page: ada.get("/admin/rounds/new").want(t, http.StatusOK)}
	wz.send("go", "next", "parts", "reward", "parts", "ppo").want(t, http.StatusOK)
	if !strings.Contains(wz.page.body, "autumn: ") {
		t.Fatal("the snapshot is not offered")
	}
	wz.send("go", "next", "snapshot", snap.ID).want(t, http.StatusOK)
	wz.send("go", "next", "ppo.iterations", "100000", "hours", "2").want(t, http.StatusOK)
	wz.send("go", "next").want(t, http.StatusOK)
	if !strings.Contains(wz.page.body, "To keep to the hours, PPO runs") {
		t.Fatalf("the hours do not bound PPO: %s", wz.page.body)
	}
	wz.send("go", "start").want(t, http.StatusSeeOther)
	rounds, err := w.loop.List(t.Context(), w.project.ID, 5)
	w.must(err)
	if c := rounds[0].Config; c.PPO.Iterations >= 100000 || c.PPO.Iterations < 1 || rounds[0].SnapshotID != snap.ID || rounds[0].Stage != loop.StageReward {
		b, _ := json.Marshal(c)
		t.Fatalf("%s %s", rounds[0].Stage, b)
	}
}
