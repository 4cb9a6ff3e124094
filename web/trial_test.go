package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// trialWorld is a server that counts what a canary answers, and the tokens of the serving version's template.
func trialWorld(t *testing.T) *world {
	var w *world
	w = newWorld(t, func(_ *Config, d *Deps) {
		d.Observe = func(o Observation) { // the program writes from a queue
			if err := w.registry.Observe(context.WithoutCancel(t.Context()), []registry.Observation{o.Observation}); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

// policy registers a policy.
func (w *world) policy(name, digit string) registry.Version {
	return w.register(registry.Version{Kind: registry.Policy, Name: name, Digest: "sha256:" + repeat(digit), Parents: []string{w.version.ID}})
}

// canary starts one of a new policy, with the usual shares and guards.
func (w *world) canary(name, digit string) registry.Canary {
	w.Helper()
	c, err := w.loop.StartCanary(w.Context(), w.policy(name, digit).ID, "user:ada", "try it", registry.CanaryConfig{})
	w.must(err)
	return c
}

// follow lets the slot follow the pointer and the canary, as the program's keeper does.
func (w *world) follow() {
	w.Helper()
	v, c, err := w.registry.Routing(w.Context(), loop.Channel)
	w.must(err)
	live, err := w.slot.Acquire()
	w.must(err)
	template, at := live.Template, live.VersionID
	live.Release()
	if at != v.ID && !w.slot.Recall(v.ID) {
		w.slot.Set(tinyServed(w.T, v, template, 2))
	}
	if c == nil {
		w.slot.SetTrial("", 0, nil)
		return
	}
	s := tinyServed(w.T, c.Version, template, 3)
	if now := w.slot.trial.Load(); now != nil && now.id == c.ID {
		s.Engine.Close()
		s = now.served
	}
	w.slot.SetTrial(c.ID, c.Share, s)
}

const shortChat = `{"model":%q,"user":%q,"messages":[{"role":"user","content":"Hi"}],"max_tokens":4}`

// by is the version that answers a user of the key.
func (b *browser) by(model, user string) string {
	return b.json(post, "/v1/chat/completions", fmt.Sprintf(shortChat, model, user)).want(b.w.T, http.StatusOK).head.Get(versionHeader)
}

// tightMemory has room for nothing.
type tightMemory struct{}

func (tightMemory) Free() (int64, bool) { return 300e6, true }

func (tightMemory) Room(_ context.Context, v registry.Version) error {
	return &NoRoomError{Name: v.Name, Weights: 2e9, KV: 1e9, Free: 300e6, Limit: 4e9}
}

// TestCanaryRefused: a version that this server has no memory for cannot become a canary, and the page says what it would take, what there is
// and which option mends it, in the reader's language.
func TestCanaryRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *Config, d *Deps) { d.Memory = tightMemory{} })
	next, b := w.policy("next", "e"), w.as("ada", account.RoleOwner)
	path := "/admin/models/" + next.ID
	if body := b.get(path).want(t, http.StatusOK).body; !strings.Contains(body, "0.3 GB of memory are left for it here") {
		t.Error("the form does not say how much memory there is")
	}
	got := b.form(path+"/canary", "reason", "try it").want(t, http.StatusConflict).body
	for _, says := range []string{"next takes up to 3 GB of memory beside what serves (weights 2 GB, keys and values 1 GB)", "0.3 GB are left of the 4 GB", "--kv-cache"} {
		if !strings.Contains(got, says) {
			t.Errorf("the refusal lacks %q", says)
		}
	}
	b.head.Set("Accept-Language", "zh-TW")
	if got := b.form(path+"/canary", "reason", "try it").want(t, http.StatusConflict).body; !strings.Contains(got, "目前只剩 0.3 GB") {
		t.Error("not translated")
	}
	if n := w.count(`SELECT count(*) FROM canaries`); n != 0 {
		t.Errorf("%d canaries began", n)
	}
}

// TestCanaryAnswers: its share of the users is answered by the canary, each always by the same; who names a version gets it; both sides are
// counted, and after the end the former serves at once, from memory.
func TestCanaryAnswers(t *testing.T) {
	t.Parallel()
	w := trialWorld(t)
	_, secret := w.key("acme")
	c := w.withKey(secret)
	next := w.policy("next", "e")
	cfg := registry.DefaultCanary()
	cfg.Shares = []float64{0.5}
	canary, err := w.loop.StartCanary(t.Context(), next.ID, "user:ada", "try it", cfg)
	w.must(err)
	w.follow()
	byIt := 0
	for i := range 40 {
		user := fmt.Sprintf("user %d", i)
		got := c.by(defaultModel, user)
		want := w.version.ID
		if registry.Takes(canary.ID, "key "+secret[8:16]+" user "+user, 0.5) {
			want = next.ID
			byIt++
		}
		if got != want {
			t.Fatalf("%s is answered by %s, want %s", user, got, want)
		}
		if again := c.by(defaultModel, user); again != got {
			t.Fatalf("%s flips", user)
		}
	}
	if byIt < 8 || byIt > 32 {
		t.Errorf("%d of 40 users are in the half", byIt)
	}
	counted := func(side bool) int {
		return w.count(`SELECT count(*) FROM canary_answers WHERE canary = $1 AND NOT failed AND cut`, side)
	}
	w.eventually(`SELECT count(*) = 80 FROM canary_answers WHERE NOT failed AND cut`) // an answer is counted once it has been sent
	if a, b := counted(true), counted(false); a != 2*byIt || b != 2*(40-byIt) {
		t.Errorf("%d and %d answers are counted, of %d and %d", a, b, 2*byIt, 2*(40-byIt))
	}
	for i := range 10 { // who names a version is not asked whether it wants another, and counts for nothing
		user := fmt.Sprintf("user %d", i)
		if got := c.by(w.version.Name, user); got != w.version.ID {
			t.Errorf("%s asked for %s and got %s", user, w.version.Name, got)
		}
		if got := c.by(next.ID, user); got != next.ID {
			t.Errorf("%s asked for the canary and got %s", user, got)
		}
	}
	if n := w.count(`SELECT count(*) FROM canary_answers`); n != 80 {
		t.Errorf("%d answers are counted, want 80", n)
	}
	served := w.slot.trial.Load().served
	w.must(w.loop.AdvanceCanary(t.Context(), canary.ID, 0, "user:ada", "enough"))
	w.follow()
	if now, err := w.slot.Acquire(); err != nil || now != served {
		t.Error("the canary that was promoted was loaded again")
	} else {
		now.Release()
	}
	for i := range 5 {
		if got := c.by(defaultModel, fmt.Sprintf("user %d", i)); got != next.ID {
			t.Errorf("after the promotion %s answers", got)
		}
	}
}

// TestTrialRace swaps canaries and versions while many ask: no engine is used after it was closed, none is left open.
func TestTrialRace(t *testing.T) {
	w := newWorld(t)
	live, err := w.slot.Acquire()
	w.must(err)
	template := live.Template
	live.Release()
	slot := &Slot{Keep: 1}
	all := make([]*Served, 12)
	for i := range all {
		all[i] = tinyServed(t, registry.Version{ID: fmt.Sprint(i)}, template, uint64(i))
	}
	slot.Set(all[0])
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for n := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				s, _, err := slot.AcquireFor(fmt.Sprint(n, i))
				if err != nil || s.refs.Load() < 1 {
					t.Error(err)
					return
				}
				s.Release()
			}
		})
	}
	for i, s := range all[1:] {
		slot.SetTrial(s.VersionID, 0.3, s)
		slot.SetTrial(s.VersionID, 0.6, s)
		if i%2 == 0 {
			if !slot.Recall(s.VersionID) {
				t.Error("the canary is not there")
			}
			if i%4 == 0 && !slot.Recall(all[i].VersionID) && i > 0 {
				t.Log("the former one was not kept") // it had not served
			}
		}
	}
	close(stop)
	wg.Wait()
	slot.Set(nil)
	for i, s := range all {
		if n := s.refs.Load(); n != 0 {
			t.Errorf("%d is held %d times", i, n)
		}
	}
}

func TestRepeating(t *testing.T) {
	loopy, fresh := make([]int32, 40), make([]int32, 40)
	for i := range loopy {
		loopy[i], fresh[i] = int32(i%5), int32(i)
	}
	for _, x := range []struct {
		ids  []int32
		want bool
	}{{loopy, true}, {fresh, false}, {loopy[:23], false}, {append(append([]int32{}, fresh...), loopy...), false}, {nil, false}} {
		if got := repeating(x.ids); got != x.want {
			t.Errorf("%v: %t", x.ids, got)
		}
	}
}

// TestCanaryByForm: an admin starts, pauses, resumes, moves on and aborts a canary, plans a promotion and takes it back; a reason is
// asked each time, and stands on the page.
func TestCanaryByForm(t *testing.T) {
	t.Parallel()
	w := trialWorld(t)
	ada, nora := w.as("ada", account.RoleAdmin), w.as("nora", account.RoleAnalyst)
	v, other := w.policy("policy-r1", "d"), w.policy("policy-r2", "e")
	page := "/admin/models/" + v.ID
	nora.form(page+"/canary", "reason", "try").want(t, http.StatusForbidden)
	ada.form(page+"/canary", "shares", "5, 20").want(t, http.StatusBadRequest)
	ada.form(page+"/canary", "reason", "it wins", "shares", "5%, 20%", "answers", "60", "minutes", "1.5", "errors", "2").want(t, http.StatusSeeOther)
	c, err := w.loop.OpenCanary(t.Context())
	w.must(err)
	if c.Share != 0.05 || c.Config.Shares[1] != 0.2 || c.Config.Answers != 60 || c.Config.Seconds != 90 || c.Config.Errors != 0.02 || c.Config.Slower != 1.5 {
		t.Errorf("%+v", c.Config)
	}
	ada.form("/admin/models/"+other.ID+"/canary", "reason", "and this").want(t, http.StatusConflict)
	at := "/admin/canaries/" + c.ID
	ada.form(at+"/pause", "reason", "the weekend").want(t, http.StatusSeeOther)
	ada.form(at+"/resume", "reason", "Monday").want(t, http.StatusSeeOther)
	ada.form(at+"/advance", "reason", "no", "step", "1").want(t, http.StatusConflict)
	ada.form(at+"/advance", "reason", "few customers", "step", "0").want(t, http.StatusSeeOther)
	body := nora.get(page).want(t, http.StatusOK).body
	for _, want := range []string{"it wins", "the weekend", "Monday", "few customers", ">20%</text>", "too little data", "tiny-sft"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "/advance") || !strings.Contains(nora.get("/admin/models").body, "#canary\"><span class=\"tag now\">canary</span>") {
		t.Error("an analyst is offered to move the canary on, or does not see it in the list")
	}
	if !strings.Contains(ada.get("/admin/models/"+other.ID).body, "No canary can begin") {
		t.Error("the other version does not say why it cannot be a canary")
	}
	ada.form(at+"/abort", "reason", "customers complain").want(t, http.StatusSeeOther)
	ada.form(at+"/abort", "reason", "again").want(t, http.StatusConflict)
	if body := ada.get(page).want(t, http.StatusOK).body; !strings.Contains(body, "customers complain") || !strings.Contains(body, "Start a canary") {
		t.Error("the page does not say why it was aborted, or offers no new start")
	}
	ada.form(page+"/plan", "reason", "at night", "at", "2100-03-01T04:00", "time_zone", "Asia/Taipei").want(t, http.StatusSeeOther)
	ada.form(page+"/plan", "reason", "at night", "at", "2100-03-02T04:00").want(t, http.StatusConflict)
	list, err := w.registry.Planned(t.Context(), v.ID)
	if err != nil || len(list) != 1 || !strings.Contains(ada.get(page).body, "2100-03-01 04:00 CST") {
		t.Fatalf("%+v %v", list, err)
	}
	ada.form("/admin/planned/"+list[0].ID+"/cancel", "reason", "no").want(t, http.StatusSeeOther)
	ada.form("/admin/planned/"+list[0].ID+"/cancel", "reason", "no").want(t, http.StatusNotFound)
}
