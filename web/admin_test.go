package web

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

func TestRoundActs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	got := ada.form("/admin/rounds", "k", "5", "prompts", "40", "eval_prompts", "100", "seed", "3", "promotion", "manual", "config", `{"max_kl": 12}`).want(t, http.StatusSeeOther)
	r, err := w.loop.List(t.Context(), w.project.ID, 10)
	w.must(err)
	if len(r) != 1 || r[0].Config.K != 5 || r[0].Config.Prompts != 40 || r[0].Config.Seed != 3 || r[0].Config.Promotion != loop.PromoteByHand || r[0].Config.MaxKL != 12 || !strings.HasPrefix(r[0].Actor, "user:") {
		t.Fatalf("%+v", r)
	}
	if loc := got.head.Get("Location"); !strings.Contains(loc, r[0].ID) {
		t.Errorf("leads to %s", loc)
	}
	ada.form("/admin/rounds").want(t, http.StatusConflict) // one at a time
	page := ada.get("/admin").want(t, http.StatusOK)
	if !strings.Contains(page.body, "Sampling answers") || !strings.Contains(page.body, "/admin/rounds/"+r[0].ID) || !strings.Contains(page.body, "tiny-sft") {
		t.Error("the overview does not show the round")
	}
	ada.form("/admin/rounds/"+r[0].ID+"/promote").want(t, http.StatusConflict)
	ada.form("/admin/rounds/"+r[0].ID+"/proceed").want(t, http.StatusConflict)
	ada.form("/admin/rounds/"+r[0].ID+"/resume").want(t, http.StatusConflict)
	ada.form("/admin/rounds/"+r[0].ID+"/pause").want(t, http.StatusSeeOther)
	if page := ada.get("/admin/rounds/" + r[0].ID + "?done=paused").body; !strings.Contains(page, "The round is paused.") || !strings.Contains(page, "/resume") || strings.Contains(page, "/pause\"") {
		t.Error("a paused round does not offer to go on")
	}
	ada.form("/admin/rounds/"+r[0].ID+"/resume").want(t, http.StatusSeeOther)
	ada.form("/admin/rounds/"+r[0].ID+"/retry").want(t, http.StatusConflict)
	ada.form("/admin/rounds/"+r[0].ID+"/cancel").want(t, http.StatusSeeOther)
	ada.form("/admin/rounds/"+r[0].ID+"/cancel").want(t, http.StatusConflict)
	if page := ada.get("/admin/rounds/" + r[0].ID + "?done=cancelled"); !strings.Contains(page.body, "The round is cancelled.") || strings.Contains(page.body, "Yes, cancel") {
		t.Error("the page does not say that it is cancelled")
	}

	ada.form("/admin/schedules", "cron", "0 3 * * 1", "k", "6", "time_zone", "Middle/Earth").want(t, http.StatusBadRequest)
	ada.form("/admin/schedules", "cron", "0 3 * * 1", "k", "6", "time_zone", "Asia/Taipei", "rankings", "250").want(t, http.StatusSeeOther)
	s, err := w.loop.Schedules(t.Context(), w.project.ID)
	w.must(err)
	if len(s) != 1 || !s[0].Enabled || s[0].Config.K != 6 || s[0].NextAt.Before(time.Now()) {
		t.Fatalf("%+v", s)
	}
	for _, act := range []struct {
		path string
		on   bool
	}{{"disable", false}, {"enable", true}} {
		ada.form("/admin/schedules/"+s[0].ID+"/"+act.path).want(t, http.StatusSeeOther)
		if s, err = w.loop.Schedules(t.Context(), w.project.ID); err != nil || s[0].Enabled != act.on {
			t.Errorf("%s: %+v %v", act.path, s, err)
		}
	}
	if page := ada.get("/admin"); !strings.Contains(page.body, "0 3 * * 1") || !strings.Contains(page.body, "Asia/Taipei") || !strings.Contains(page.body, "from 250 new rankings on") {
		t.Error("the schedule is not shown")
	}
	ada.form("/admin/schedules/"+s[0].ID+"/remove").want(t, http.StatusSeeOther)
	ada.form("/admin/schedules/"+s[0].ID+"/remove").want(t, http.StatusNotFound)
}

func TestModelActs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	reward := w.register(registry.Version{Kind: registry.Reward, Name: "reward-r1", Digest: "sha256:" + repeat("c"), Parents: []string{w.version.ID}})
	v := w.register(registry.Version{Kind: registry.Policy, Name: "policy-r1", Digest: "sha256:" + repeat("d"), Parents: []string{w.version.ID, reward.ID}})
	page := ada.get("/admin/models/"+v.ID).want(t, http.StatusOK).body
	for _, want := range []string{"policy-r1", "reward-r1", "tiny-sft", "tiny-base", "Yes, promote"} {
		if !strings.Contains(page, want) {
			t.Errorf("lineage lacks %s", want)
		}
	}
	value := w.register(registry.Version{Kind: registry.Value, Name: "value-r1", Digest: "sha256:" + repeat("e"), Parents: []string{w.version.ID}})
	ada.form("/admin/models/"+value.ID+"/promote", "reason", "x").want(t, http.StatusBadRequest) // neither answers anybody nor gives rewards
	ada.form("/admin/models/"+v.ID+"/promote", "reason", "  ").want(t, http.StatusBadRequest)    // nobody would know why
	ada.form("/admin/models/"+v.ID+"/promote", "reason", "wins blind").want(t, http.StatusSeeOther)
	if live, err := w.registry.Serving(t.Context(), loop.Channel); err != nil || live.ID != v.ID {
		t.Errorf("%+v %v", live, err)
	}
	page = ada.get("/admin/models").want(t, http.StatusOK).body
	if !regexp.MustCompile(`policy-r1</bdi></a> <span class="tag good">serving`).MatchString(page) || !strings.Contains(page, "ada@example.com") || !strings.Contains(page, "wins blind") {
		t.Error("the page does not say what serves, who promoted it, and why")
	}
	ada.form("/admin/rollback").want(t, http.StatusBadRequest)
	ada.form("/admin/rollback", "reason", "repeats itself").want(t, http.StatusSeeOther)
	if live, err := w.registry.Serving(t.Context(), loop.Channel); err != nil || live.ID != w.version.ID {
		t.Errorf("%+v %v", live, err)
	}
	ada.form("/admin/rollback", "reason", "and again").want(t, http.StatusConflict)
}

func TestPeopleAndKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleOwner)
	page := ada.form("/admin/people", "email", "New@Example.com", "name", "Néw", "role", "labeler").want(t, http.StatusOK).body
	m := regexp.MustCompile(`<code id="password">([^<]+)</code>`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no password shown: %s", page)
	}
	if got := w.anon().login("new@example.com", m[1]); got.code != http.StatusSeeOther || got.head.Get("Location") != "/label" {
		t.Errorf("sign in with the shown password: %d", got.code)
	}
	if strings.Contains(ada.get("/admin/people").body, m[1]) {
		t.Error("the password is shown twice")
	}
	u, err := w.accounts.UserByEmail(t.Context(), "new@example.com")
	w.must(err)
	page = ada.form("/admin/people/"+u.ID+"/password").want(t, http.StatusOK).body
	if n := regexp.MustCompile(`<code id="password">([^<]+)</code>`).FindStringSubmatch(page); n == nil || n[1] == m[1] {
		t.Error("no new password")
	}
	ada.form("/admin/people/"+u.ID+"/disable").want(t, http.StatusSeeOther)
	if !strings.Contains(ada.get("/admin/people").body, "disabled") {
		t.Error("not shown as disabled")
	}
	ada.form("/admin/people/"+u.ID+"/enable").want(t, http.StatusSeeOther)
	me, err := w.accounts.UserByEmail(t.Context(), "ada@example.com")
	w.must(err)
	ada.form("/admin/people/"+me.ID+"/disable").want(t, http.StatusConflict) // the last owner

	customer := w.user("acme", account.RoleCustomer)
	page = ada.form("/admin/keys", "customer", customer.ID, "name", "first", "rpm", "7", "days", "30", "training", "yes").want(t, http.StatusOK).body
	m = regexp.MustCompile(`<code id="secret">(rk_live_[^<]+)</code>`).FindStringSubmatch(page)
	if m == nil {
		t.Fatal("no key shown")
	}
	if got := w.withKey(m[1]).get("/v1/models").want(t, http.StatusOK); got.head.Get("X-Ratelimit-Limit-Requests") != "7" {
		t.Error(got.head)
	}
	list, err := w.accounts.Keys(t.Context(), customer.ID)
	w.must(err)
	if !list[0].TrainingOptIn || list[0].ExpiresAt == nil {
		t.Errorf("%+v", list[0])
	}
	ada.form("/admin/keys/"+list[0].ID+"/revoke").want(t, http.StatusSeeOther)
	w.withKey(m[1]).get("/v1/models").want(t, http.StatusUnauthorized)
	if page := ada.get("/admin/keys").body; strings.Contains(page, m[1]) || !strings.Contains(page, "revoked") {
		t.Error("keys page")
	}

	// The account page: the old password is asked for.
	mina := w.as("mina", account.RoleLabeler)
	mina.form("/account/password", "old", "wrong wrong wrong", "new", "a brand new secret").want(t, http.StatusBadRequest)
	mina.form("/account/password", "old", testPassword, "new", "a brand new secret").want(t, http.StatusSeeOther)
	mina.get("/account").want(t, http.StatusOK)
	w.anon().login("mina@example.com", testPassword).want(t, http.StatusUnauthorized)

	page = ada.get("/admin/audit?act=apikey.").want(t, http.StatusOK).body
	if !strings.Contains(page, ">apikey.create</td>") || !strings.Contains(page, ">apikey.revoke</td>") || strings.Contains(page, ">user.create</td>") {
		t.Error("audit search")
	}
	if _, err := w.pool.Exec(t.Context(), `SELECT audit_seal()`); err != nil {
		t.Fatal(err)
	}
	if page := ada.get("/admin/audit/verify").body; !strings.Contains(page, "fit the hash chain") || strings.Contains(page, "broken") {
		t.Error("verification")
	}
}

// TestRoundEvents: a reader that reconnects gets what it missed and nothing twice.
func TestRoundEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	r, err := w.loop.Start(t.Context(), w.project.ID, "system", loop.DefaultConfig())
	w.must(err)
	var id string
	w.must(w.pool.QueryRow(t.Context(), `INSERT INTO runs (id, kind, state, config, round_id, total) VALUES (gen_random_uuid(), 'ppo.train', 'running', '{}', $1, 100) RETURNING id::text`, r.ID).Scan(&id))
	_, err = w.pool.Exec(t.Context(), `UPDATE rounds SET stage = 'ppo', ppo_run_id = $2 WHERE id = $1`, r.ID, id)
	w.must(err)
	step := func(n int) {
		_, err := w.pool.Exec(t.Context(), `INSERT INTO run_metrics (run_id, step, metrics) VALUES ($1, $2, '{"score": 1.5, "kl": null}')`, id, n)
		w.must(err)
	}
	step(1)
	step(2)
	type got struct{ id, name, data string }
	read := func(last string, want int) []got {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, get, w.http.URL+"/admin/api/rounds/"+r.ID+"/events", nil)
		w.must(err)
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		res, err := ada.client.Do(req)
		w.must(err)
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
			t.Fatalf("%v", res)
		}
		var out []got
		var e got
		lines := bufio.NewScanner(res.Body)
		for len(out) < want && lines.Scan() {
			k, v, _ := strings.Cut(lines.Text(), ": ")
			switch k {
			case "id":
				e.id = v
			case "event":
				e.name = v
			case "data":
				e.data = v
			case "":
				if e.name != "" {
					out = append(out, e)
					e = got{}
					if len(out) == 2 && last == "" {
						step(3)
					}
				}
			}
		}
		return out
	}
	first := read("", 3)
	if len(first) != 3 || first[0].name != "round" || first[1].id != "0.0.2.0" || first[2].id != "0.0.3.0" {
		t.Fatalf("%+v", first)
	}
	var p runPoints
	w.must(json.Unmarshal([]byte(first[1].data), &p))
	if p.Kind != "ppo.train" || len(p.Points) != 2 || p.Points[0].Metrics["score"] != 1.5 {
		t.Errorf("%+v", p)
	}
	step(4)
	second := read("0.0.3.0", 2)
	w.must(json.Unmarshal([]byte(second[1].data), &p))
	if len(p.Points) != 1 || p.Points[0].Step != 4 || second[1].id != "0.0.4.0" {
		t.Errorf("%+v", second)
	}
	w.must(w.loop.Cancel(t.Context(), r.ID, "system"))
	if last := read("0.0.4.0", 2); len(last) != 2 || last[1].name != "end" {
		t.Errorf("%+v", last)
	}
}
