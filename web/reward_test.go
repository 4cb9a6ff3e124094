package web

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/reward"
	"github.com/rankloop/rankloop/web/account"
)

// rewardSlot serves the reward model that a test sets.
type rewardSlot struct{ p atomic.Pointer[ServedReward] }

func (r *rewardSlot) Reward(context.Context) (*ServedReward, error) {
	if m := r.p.Load(); m != nil {
		return m, nil
	}
	return nil, ErrNoReward
}

// tinyReward is a reward model of random weights over GPT-2's vocabulary, normalised by mean 0.1 and std 2.
func (w *world) tinyReward(context int) *ServedReward {
	w.Helper()
	v := w.register(registry.Version{Kind: registry.Reward, Name: "tiny-reward", Digest: "sha256:" + repeat("e"), Parents: []string{w.version.ID}})
	tok := token.GPT2()
	m, err := model.New(model.Config{Family: "gpt2", Vocab: tok.Vocab(), Context: context, Layers: 1, Width: 16, Heads: 2, KVHeads: 2, Hidden: 32,
		NormEps: 1e-5, Tied: true, BOS: -1, EOS: int(tok.EOS())}, 7)
	w.must(err)
	m.AddHead(model.HeadScore, 3)
	template, err := token.Chat("plain")
	w.must(err)
	served := &ServedReward{VersionID: v.ID, Name: v.Name, Scorer: reward.NewScorer(m, .1, 2), Tokenizer: tok, Template: template}
	w.rewards.p.Store(served)
	return served
}

// scores are what the model says of the ids.
func (w *world) scores(m *ServedReward, ids ...[]int32) []float64 {
	w.Helper()
	var seqs []model.Sequence
	for _, x := range ids {
		seqs = append(seqs, model.Sequence{IDs: x, Start: 1})
	}
	out, err := m.Scorer.Score(w.Context(), seqs)
	w.must(err)
	return out
}

func near(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) < 1e-6 })
}

// TestReward: a trainer gets what the model says of the very tokens, in each of the shapes that it may ask in.
func TestReward(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.tinyReward(256)
	key, secret := w.key("acme")
	b := w.withKey(secret)
	tok, eos := m.Tokenizer, m.Tokenizer.EOS()
	prompts := []string{"User: Where do owls sleep?\nAssistant:", "User: 狐狸在哪裡？\nAssistant:"}
	answers := []string{" In a tree.", " 在森林裡。"}
	var whole, cut [][]int32
	for i := range prompts {
		ids := append(append([]int32{tok.BOS()}, tok.Encode(prompts[i])...), tok.Encode(answers[i])...)
		cut, whole = append(cut, ids), append(whole, append(slices.Clone(ids), eos))
	}
	want, unfinished := w.scores(m, whole...), w.scores(m, cut...)
	if near(want, unfinished) || math.Abs(want[0]-want[1]) < 1e-4 {
		t.Fatal("the model tells nothing apart")
	}
	conversation := [][]map[string]string{{{"role": "user", "content": "Where do owls sleep?"}}, {{"role": "user", "content": "狐狸在哪裡？"}}}
	said := [][]map[string]string{{{"role": "assistant", "content": "In a tree."}}, {{"role": "assistant", "content": "在森林裡。"}}}
	var got rewardAnswer
	tokens := 0
	for name, c := range map[string]struct {
		body map[string]any
		want []float64
	}{
		"OpenRLHF":             {map[string]any{"query": []string{prompts[0] + answers[0] + "<|endoftext|>", prompts[1] + answers[1] + "</s>"}, "prompts": prompts, "labels": []any{"a", nil}}, want},
		"OpenRLHF, no prompts": {map[string]any{"query": []string{prompts[0] + answers[0], "<s>" + prompts[1] + answers[1]}}, want},
		"TRL":                  {map[string]any{"prompts": prompts, "completions": answers}, want},
		"TRL, conversations":   {map[string]any{"prompts": conversation, "completions": said, "metadata": map[string]any{"x": 1}}, want},
		"cut off":              {map[string]any{"prompts": prompts, "completions": answers, "finished": []bool{false, false}}, unfinished},
		"one of two":           {map[string]any{"prompts": prompts, "completions": answers, "finished": []bool{true, false}, "model": "tiny-reward"}, []float64{want[0], unfinished[1]}},
	} {
		a := b.json(post, rewardPath, c.body).want(t, http.StatusOK)
		got = rewardAnswer{}
		a.into(t, &got)
		if !near(got.Rewards, c.want) || got.Model != "tiny-reward" || a.head.Get(versionHeader) != m.VersionID || got.Version != m.VersionID {
			t.Errorf("%s: %v, want %v; %+v", name, got.Rewards, c.want, got)
		}
		for i, r := range got.Rewards {
			if p := 1 / (1 + math.Exp(-2*r)); math.Abs(got.Scores[i]-p) > 1e-9 {
				t.Errorf("%s: a reward of %g is preferred with %g, not %g", name, r, got.Scores[i], p)
			}
		}
		if n := got.ExtraLogs["tokens"]; len(n) != 2 || int(n[0]+n[1]) != got.Usage.PromptTokens || got.Usage.TotalTokens != got.Usage.PromptTokens {
			t.Errorf("%s: %v, %+v", name, n, got.Usage)
		}
		tokens += got.Usage.PromptTokens
	}
	// A server among several may get no part of a batch.
	b.json(post, rewardPath, `{"query":[],"prompts":[],"labels":[]}`).want(t, http.StatusOK).into(t, &got)
	if got.Rewards == nil || len(got.Rewards) != 0 {
		t.Errorf("%+v", got)
	}
	if n := w.count(`SELECT coalesce(sum(prompt_tokens), 0) FROM usage WHERE key_id = $1 AND endpoint = $2 AND model_version = $3`, key.ID, rewardPath, m.VersionID); n != tokens {
		t.Errorf("%d tokens are counted, %d were read", n, tokens)
	}
}

// TestRewardSpecial: what a policy wrote cannot become a special token; what the trainer composed can.
func TestRewardSpecial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.tinyReward(256)
	_, secret := w.key("acme")
	tok, eos := m.Tokenizer, m.Tokenizer.EOS()
	const prompt, answer = "User: a<|endoftext|>User: b\nAssistant:", " c<|endoftext|> d"
	special := append(append(append([]int32{tok.BOS()}, tok.Encode("User: a")...), eos), tok.Encode("User: b\nAssistant:")...)
	want := w.scores(m, append(append(special, tok.Encode(answer)...), eos))
	for _, body := range []map[string]any{
		{"query": []string{prompt + answer}, "prompts": []string{prompt}},
		{"prompts": []string{prompt}, "completions": []string{answer}},
	} {
		var got rewardAnswer
		w.withKey(secret).json(post, rewardPath, body).want(t, http.StatusOK).into(t, &got)
		if !near(got.Rewards, want) {
			t.Errorf("%v: %v, want %v", body, got.Rewards, want)
		}
	}
}

// TestRewardRefuses: errors name the entry, cost nothing, and a key needs the scope.
func TestRewardRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme")
	b := w.withKey(secret)
	if got := b.json(post, rewardPath, `{"query":["a"]}`).want(t, http.StatusNotFound); !strings.Contains(got.body, "promote a policy") {
		t.Error(got.body)
	}
	w.tinyReward(32)
	long := strings.Repeat("word ", 40)
	many, err := json.Marshal(map[string]any{"query": slices.Repeat([]string{"a"}, maxPairs+1)})
	w.must(err)
	for body, want := range map[string]string{
		``: "not valid JSON", `[]`: "must be a JSON object", `{}`: `either \"query\"`, `{"query":"a"}`: "/query", `{"query":[1]}`: "has the wrong type",
		`{"query":["a",""]}`: "/query/1", `{"query":["a"],"completions":["b"]}`: "cannot stand beside", `{"prompts":["a","b"],"completions":["c"]}`: "2 entries for 1 completions",
		`{"query":["a"],"prompts":["a","b"]}`: "2 entries for 1 queries", `{"query":["a","` + long + `"]}`: "query/1 has 43 tokens, and the reward model reads at most 32",
		`{"prompts":["a",3],"completions":["b","c"]}`: "/prompts/1", `{"prompts":["a"],"completions":[[{"role":"user","content":"b"}]]}`: "/completions/0",
		`{"prompts":[[{"role":"robot","content":"a"}]],"completions":["b"]}`: "/prompts/0", `{"prompts":[[]],"completions":["b"]}`: "/prompts/0", `{"prompts":[""],"completions":[""]}`: "/completions/0",
		`{"query":["a"],"finished":[true,false]}`: "/finished", `{"query":["a"],"prompts":[[{"role":"user","content":"a"}]]}`: "/prompts/0", string(many): "4097 pairs are too many",
	} {
		got := b.json(post, rewardPath, body)
		if got.code != http.StatusBadRequest || !strings.Contains(got.body, want) {
			t.Errorf("%.60s: %d %s, want %s", body, got.code, got.body, want)
		}
	}
	if got := b.json(post, rewardPath, `{"query":["a"],"model":"another"}`); got.code != http.StatusNotFound || !strings.Contains(got.body, "tiny-reward") {
		t.Errorf("%d %s", got.code, got.body)
	}
	b.do(post, rewardPath, "application/json", `{"query":["`+strings.Repeat("a", maxBodyReward)+`"]}`).want(t, http.StatusRequestEntityTooLarge)
	if n := w.count(`SELECT count(*) FROM usage`); n != 0 {
		t.Errorf("%d usage rows of requests that were refused", n)
	}
	// As OpenRLHF can send it: the key is the password of the address.
	anon := w.anon()
	basic := func(secret string) answer {
		req, err := http.NewRequestWithContext(t.Context(), post, w.http.URL+rewardPath, strings.NewReader(`{"query":["a"]}`))
		w.must(err)
		req.SetBasicAuth("reward", secret)
		return anon.do(post, rewardPath, "application/json", `{"query":["a"]}`, "Authorization", req.Header.Get("Authorization"))
	}
	basic(secret).want(t, http.StatusOK)
	basic(secret[:len(secret)-1]+"!").want(t, http.StatusUnauthorized)
	_, narrow := w.key("other", func(n *account.NewKey) { n.Scopes = []string{account.ScopeCompletions} })
	w.withKey(narrow).json(post, rewardPath, `{"query":["a"]}`).want(t, http.StatusForbidden)
	w.withKey(narrow).get("/api/v1/usage").want(t, http.StatusOK)
	_, trainer := w.key("trainer", func(n *account.NewKey) { n.Scopes = []string{account.ScopeReward} })
	w.withKey(trainer).json(post, rewardPath, `{"query":["a"]}`).want(t, http.StatusOK)
	w.withKey(trainer).get("/v1/models").want(t, http.StatusForbidden)
}

// TestRewardLimits: what is read counts against the key's tokens of a minute and its quota of a day, and above them nothing is scored.
func TestRewardLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tinyReward(64)
	for name, change := range map[string]func(*account.NewKey){"minute": func(n *account.NewKey) { n.TPM = 30 }, "day": func(n *account.NewKey) { n.DailyTokens = 30 }} {
		key, secret := w.key(name, change)
		b := w.withKey(secret)
		pairs := func(n int) string {
			return `{"query":["` + strings.Repeat(`a b c d e f g h","`, n-1) + `a b c d e f g h"]}` // 10 tokens each
		}
		b.json(post, rewardPath, pairs(4)).want(t, http.StatusTooManyRequests)
		b.json(post, rewardPath, pairs(2)).want(t, http.StatusOK)
		if got := b.json(post, rewardPath, pairs(2)).want(t, http.StatusTooManyRequests); got.head.Get("Retry-After") == "" {
			t.Errorf("%s: nothing says when to come again", name)
		}
		if n := w.count(`SELECT coalesce(sum(prompt_tokens), 0) FROM usage WHERE key_id = $1`, key.ID); n != 20 {
			t.Errorf("%s: %d tokens are counted", name, n)
		}
	}
}

// TestRewardTurns: one is scored at a time; when the queue is full the next is refused at once, and a caller that gives up leaves it.
func TestRewardTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tinyReward(32)
	_, secret := w.key("acme")
	b := w.withKey(secret)
	w.server.scoring = newTurns(1)
	leave, err := w.server.scoring.enter(t.Context())
	w.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error)
	go func() {
		_, err := w.server.scoring.enter(ctx)
		waits <- err
	}()
	for len(w.server.scoring.waiting) == 0 {
		b.get("/healthz") // time passes
	}
	if got := b.json(post, rewardPath, `{"query":["a"]}`); got.code != http.StatusServiceUnavailable || got.head.Get("Retry-After") == "" {
		t.Errorf("%d %s", got.code, got.body)
	}
	cancel()
	if err := <-waits; err == nil {
		t.Error("who gave up got a turn")
	}
	leave()
	b.json(post, rewardPath, `{"query":["a"]}`).want(t, http.StatusOK)
}

// TestPromoteReward: a reward model is promoted by itself, and the next policy brings its own.
func TestPromoteReward(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("ada", account.RoleOwner)
	m := w.tinyReward(32)
	if _, err := w.loop.RewardModel(t.Context()); err == nil {
		t.Error("a reward model serves that nobody promoted")
	}
	path := "/admin/models/" + m.VersionID
	if got := b.get(path); !strings.Contains(got.body, "will score for trainers elsewhere") {
		t.Error("the page does not offer it")
	}
	b.form(path+"/promote", "reason", "scores for trainers").want(t, http.StatusSeeOther)
	serves := func(id string) {
		t.Helper()
		v, err := w.loop.RewardModel(t.Context())
		w.must(err)
		if v.ID != id {
			t.Errorf("%s serves", v.Name)
		}
	}
	serves(m.VersionID)
	if got := b.get(path); strings.Contains(got.body, "/promote") || !strings.Contains(got.body, ">serving<") {
		t.Error("the page offers it again")
	}
	if live, err := w.registry.Serving(t.Context(), "default"); err != nil || live.ID != w.version.ID {
		t.Errorf("customers are answered by %s, %v", live.Name, err)
	}
	version := func(kind string, n int, parents ...string) registry.Version {
		return w.register(registry.Version{Kind: kind, Name: fmt.Sprintf("%s-%d", kind, n), Digest: "sha256:" + repeat(fmt.Sprint(n)), Parents: parents})
	}
	first := version(registry.Reward, 1, w.version.ID)
	second := version(registry.Reward, 2, w.version.ID)
	one := version(registry.Policy, 3, w.version.ID, first.ID)
	two := version(registry.Policy, 4, one.ID, second.ID)
	w.must(w.loop.Promote(t.Context(), one.ID, "system", ""))
	serves(first.ID)
	w.must(w.loop.Promote(t.Context(), two.ID, "system", ""))
	serves(second.ID)
	_, err := w.loop.Rollback(t.Context(), "system", "")
	w.must(err)
	serves(first.ID)
	w.must(w.loop.Promote(t.Context(), m.VersionID, "system", ""))
	serves(m.VersionID)
}
