package web

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

var (
	secretShown = regexp.MustCompile(`rk_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}`)
	scopesOf    = func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, "scopes", n)
		}
		return out
	}
)

// adds is form with fields that occur several times.
func (b *browser) adds(path string, fields ...string) answer {
	var body []string
	for i := 0; i+1 < len(fields); i += 2 {
		body = append(body, fields[i]+"="+strings.ReplaceAll(fields[i+1], " ", "+"))
	}
	return b.do(post, path, "application/x-www-form-urlencoded", strings.Join(body, "&"))
}

// TestKeyLife goes through the life of a key on the pages: made and shown once, used within its scopes, changed, rotated with overlap,
// revoked; each change is met by the next request, and is in the log.
func TestKeyLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleOwner)
	acme := w.user("acme", account.RoleCustomer)
	status := func(secret string) int { return w.withKey(secret).get("/v1/models").code }

	got := ada.adds("/admin/keys", append(scopesOf("feedback"), "customer", acme.ID, "name", "the shop", "rpm", "7", "tpm", "900", "daily_tokens", "5000", "days", "30")...).want(t, http.StatusOK)
	secret := secretShown.FindString(got.body)
	id := secret[len("rk_live_"):][:8]
	page := "/admin/keys/" + id
	for _, p := range []string{"/admin/keys", page} {
		if body := ada.get(p).want(t, http.StatusOK).body; secretShown.MatchString(body) || !strings.Contains(body, id) || !strings.Contains(body, "the shop") {
			t.Errorf("%s shows the secret again, or not the key", p)
		}
	}
	if n := w.count(`SELECT count(*) FROM audit WHERE detail::text LIKE '%' || $1 || '%'`, secret[17:]); n != 0 {
		t.Error("the log holds the secret")
	}
	k, err := w.accounts.Key(t.Context(), id)
	w.must(err)
	if k.RPM != 7 || k.TPM != 900 || k.DailyTokens != 5000 || k.TrainingOptIn || k.ExpiresAt == nil || strings.Join(k.Scopes, " ") != "feedback" {
		t.Errorf("%+v", k)
	}
	if got := w.withKey(secret).get("/v1/models").want(t, http.StatusForbidden); !strings.Contains(got.body, "lacks the scope completions") {
		t.Error(got.body)
	}
	w.withKey(secret).get("/api/v1/usage").want(t, http.StatusOK) // of any scope: its own

	ada.adds(page, append(scopesOf("completions", "feedback"), "name", "the shop", "rpm", "9", "tpm", "800", "daily_tokens", "", "training", "yes")...).want(t, http.StatusSeeOther)
	if got := w.withKey(secret).get("/v1/models").want(t, http.StatusOK); got.head.Get("X-Ratelimit-Limit-Requests") != "9" || got.head.Get("X-Ratelimit-Limit-Tokens") != "800" {
		t.Errorf("after the change: %v", got.head)
	}
	for what, fields := range map[string][]string{"no scope": {"name", "x", "rpm", "1", "tpm", "1"}, "a scope that is none": append(scopesOf("everything"), "name", "x", "rpm", "1", "tpm", "1"),
		"no name": append(scopesOf("feedback"), "rpm", "1", "tpm", "1"), "no limit": append(scopesOf("feedback"), "name", "x", "rpm", "0", "tpm", "1"), "letters": append(scopesOf("feedback"), "name", "x", "rpm", "one", "tpm", "1")} {
		if got := ada.adds(page, fields...).want(t, http.StatusBadRequest); secretShown.MatchString(got.body) {
			t.Errorf("%s shows a key", what)
		}
	}
	if after, err := w.accounts.Key(t.Context(), id); err != nil || after.RPM != 9 || !after.TrainingOptIn || after.DailyTokens != 0 {
		t.Errorf("a refused change changed %+v, %v", after, err)
	}

	// An admin who withdraws the consent of a key hides what came with it, as its customer does.
	prompt := func() (hidden bool) {
		w.must(w.pool.QueryRow(t.Context(), `SELECT hidden_at IS NOT NULL FROM prompts WHERE api_key_id = $1`, id).Scan(&hidden))
		return hidden
	}
	w.withKey(secret).json(post, "/v1/completions", map[string]any{"model": "default", "prompt": "Tell a story about a bear.", "max_tokens": 2}).want(t, http.StatusOK)
	if prompt() {
		t.Error("a prompt is hidden from the start")
	}
	ada.adds(page, append(scopesOf("completions", "feedback"), "name", "the shop", "rpm", "9", "tpm", "800", "daily_tokens", "")...).want(t, http.StatusSeeOther)
	if !prompt() {
		t.Error("the consent is withdrawn, and the prompt is still there")
	}
	ada.adds(page, append(scopesOf("completions", "feedback"), "name", "the shop", "rpm", "9", "tpm", "800", "daily_tokens", "", "training", "yes")...).want(t, http.StatusSeeOther)

	// Rotation: both work during the overlap.
	got = ada.form(page+"/rotate", "overlap", "24").want(t, http.StatusOK)
	second := secretShown.FindString(got.body)
	if second == "" || second == secret || status(secret) != http.StatusOK || status(second) != http.StatusOK {
		t.Fatalf("after the rotation the old key answers %d, the new one %d", status(secret), status(second))
	}
	fresh, err := w.accounts.Key(t.Context(), second[len("rk_live_"):][:8])
	w.must(err)
	old, err := w.accounts.Key(t.Context(), id)
	w.must(err)
	if fresh.Name != "the shop" || fresh.RPM != 9 || !fresh.TrainingOptIn || old.ReplacedBy != fresh.ID || old.ExpiresAt.After(fresh.ExpiresAt.AddDate(0, 0, -20)) {
		t.Errorf("old %+v, new %+v", old, fresh)
	}
	ada.form(page+"/rotate", "overlap", "24").want(t, http.StatusConflict)
	ada.form(page+"/rotate", "overlap", "721").want(t, http.StatusBadRequest)
	ada.form(page+"/rotate").want(t, http.StatusBadRequest)
	third := secretShown.FindString(ada.form("/admin/keys/"+fresh.ID+"/rotate", "overlap", "0").want(t, http.StatusOK).body)
	if status(second) != http.StatusUnauthorized || status(third) != http.StatusOK {
		t.Errorf("rotated without overlap, the old key answers %d, the new one %d", status(second), status(third))
	}

	// Revoked: the next request is refused, and the key is dead.
	ada.form("/admin/keys/"+third[len("rk_live_"):][:8]+"/revoke").want(t, http.StatusSeeOther)
	if got := w.withKey(third).get("/v1/models").want(t, http.StatusUnauthorized); !strings.Contains(got.body, "invalid_api_key") {
		t.Error(got.body)
	}
	last := "/admin/keys/" + third[len("rk_live_"):][:8]
	ada.form(last+"/rotate", "overlap", "1").want(t, http.StatusConflict)
	ada.adds(last, append(scopesOf("feedback"), "name", "x", "rpm", "1", "tpm", "1")...).want(t, http.StatusConflict)
	ada.get("/admin/keys/nosuchid").want(t, http.StatusNotFound)
	for act, want := range map[string]int{"apikey.create": 1, "apikey.change": 3, "apikey.rotate": 2, "apikey.revoke": 1} {
		if n := w.count(`SELECT count(*) FROM audit WHERE act = $1 AND actor <> 'system'`, act); n != want {
			t.Errorf("%d rows of %s in the log", n, act)
		}
	}
}

// TestKeysInChinese: the pages of keys and of the engine speak the reader's language.
func TestKeysInChinese(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleOwner)
	k := w.usedKey()
	ada.form("/look", "lang", "zh-Hant").want(t, http.StatusSeeOther)
	for path, want := range map[string]string{"/admin/keys": "建立金鑰", "/admin/keys/" + k.ID: "權限範圍與上限", "/admin/engine": "引擎"} {
		if body := ada.get(path).want(t, http.StatusOK).body; !strings.Contains(body, want) {
			t.Errorf("%s lacks %s", path, want)
		}
	}
}
