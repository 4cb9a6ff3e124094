package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/remote"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// TestEngineNetworks: what the operator may say, and what not.
func TestEngineNetworks(t *testing.T) {
	got, err := engineFlags{[]string{"127.0.0.1", "10.1.2.3/8", "fd00::/8", "::1"}}.prefixes()
	if err != nil || len(got) != 4 || got[0].String() != "127.0.0.1/32" || got[1].String() != "10.0.0.0/8" || got[3].String() != "::1/128" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"localhost", "10.0.0.0/33", "", "all"} {
		var usage usageError
		if _, err := (engineFlags{[]string{bad}}).prefixes(); !errors.As(err, &usage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestEngineGuard: which addresses an engine may be asked at, by what they resolve to. Nothing is sent where it may not be.
func TestEngineGuard(t *testing.T) {
	hits := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hits++; r.URL.Path == "/away" {
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer secure.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	ask := func(c *http.Client, url string) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // for the resolver of odd names
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	nowhere := engineClient(nil)
	for _, url := range []string{server.URL, secure.URL, "http://localhost" + port, "http://[::ffff:127.0.0.1]" + port, "http://0.0.0.0" + port, "http://127.1" + port, "http://2130706433" + port,
		"http://[::1]" + port, "http://169.254.169.254/latest/meta-data/", "http://100.64.0.1/", "http://[fe80::1]/", "http://[fd00::1]/", "http://10.0.0.1/", "http://192.168.0.1/",
		"http://1.1.1.1/", "http://[2606:4700:4700::1111]/"} { // public, but in the clear
		if _, err := ask(nowhere, url); err == nil {
			t.Errorf("%s was asked", url)
		} else if !errors.Is(err, errGuarded) && !strings.Contains(err.Error(), "lookup") && !strings.Contains(err.Error(), "unreachable") && !strings.Contains(err.Error(), "cannot assign") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if hits != 0 {
		t.Fatalf("%d requests went where they may not", hits)
	}
	here := engineClient([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	for _, url := range []string{server.URL, "http://[::ffff:127.0.0.1]" + port} {
		if code, err := ask(here, url); err != nil || code != http.StatusOK {
			t.Errorf("%s: %d, %v", url, code, err)
		}
	}
	if _, err := ask(here, secure.URL); err == nil || errors.Is(err, errGuarded) { // dialled, and the certificate is not trusted
		t.Errorf("https: %v", err)
	}
	if code, err := ask(here, server.URL+"/away"); err != nil || code != http.StatusTemporaryRedirect {
		t.Errorf("a redirect was followed: %d, %v", code, err)
	}
	if _, err := ask(here, "http://127.0.0.2"+port); !errors.Is(err, errGuarded) {
		t.Errorf("outside the network: %v", err)
	}
	if _, err := ask(here, "ftp://127.0.0.1/"); err == nil {
		t.Error("another scheme was taken")
	}
}

// TestSecrets: what is sealed opens for its owner under the installation's key, and for nothing else.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	s, err := openSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal("engine 1", "sk-secret")
	if err != nil {
		t.Fatal(err)
	}
	again, err := openSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Unseal("engine 1", sealed); err != nil || got != "sk-secret" {
		t.Errorf("%q, %v", got, err)
	}
	if twice, err := s.Seal("engine 1", "sk-secret"); err != nil || string(twice) == string(sealed) || strings.Contains(string(sealed), "secret") {
		t.Errorf("sealed as %q, %v", sealed, err)
	}
	other, err := openSecrets(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Unseal("engine 1", sealed); err == nil || !strings.Contains(err.Error(), "secrets.key") {
		t.Errorf("another installation: %v", err)
	}
	if _, err := s.Unseal("engine 2", sealed); err == nil {
		t.Error("another owner opened it")
	}
	for i := range sealed {
		broken := append([]byte(nil), sealed...)
		broken[i] ^= 1
		if _, err := s.Unseal("engine 1", broken); err == nil {
			t.Errorf("byte %d does not matter", i)
		}
	}
	for i := range sealed {
		if _, err := s.Unseal("engine 1", sealed[:i]); err == nil {
			t.Errorf("%d bytes are enough", i)
		}
	}
}

// TestOwnEngine: rankloop as the other engine of rankloop. Its answers stand beside the policy's with their provenance, for prompts that may
// leave; they count in the budget what they count in the key's usage.
func TestOwnEngine(t *testing.T) {
	a := newTestApp(t, appConfig{Work: true, EngineNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	ctx := t.Context()
	server, err := a.listen(ctx, "127.0.0.1:0", serverOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	customer, _, err := a.accounts.CreateUser(ctx, account.NewUser{Email: "shop@example.com", Role: account.RoleCustomer, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	key, whole, err := a.accounts.CreateKey(ctx, account.NewKey{CustomerID: customer.ID, Name: "engine", RPM: 10_000, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	change := loop.EngineChange{Engine: loop.Engine{Name: "itself", URL: "http://" + server.Addr() + "/v1/", Model: "default", Answers: 2, MaxTokens: 24, DailyTokens: 100_000,
		Timeout: 20 * time.Second, Enabled: true}, Key: whole, Actor: "user:ada"}
	e, err := a.loop.SaveEngine(ctx, change)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.loop.TestEngine(ctx, e.ID, "user:ada"); err != nil {
		t.Fatal(err)
	}
	if err := pgx.BeginFunc(ctx, a.db.Pool, func(tx pgx.Tx) error {
		for _, p := range []labeling.NewPrompt{
			{Messages: []labeling.Message{{Role: "user", Content: "Where do owls sleep?"}}, Origin: labeling.OriginImport},
			{Messages: []labeling.Message{{Role: "user", Content: "Tell a story about a fox."}}, Origin: labeling.OriginImport},
			{Messages: []labeling.Message{{Role: "user", Content: "Is my order late?"}}, Origin: labeling.OriginAPI, CustomerID: customer.ID, APIKeyID: key.ID, Consent: true},
		} {
			p.ProjectID, p.Split = a.project.ID, labeling.Train
			if _, _, err := a.labeling.AddPrompt(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stop, err := a.startWorkers(deadAfter)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := a.loop.OrderTasks(ctx, a.project.ID, 3, "user:ada"); err != nil {
		t.Fatal(err)
	}
	number := func(sql string, args ...any) (n int) {
		t.Helper()
		if err := a.db.Pool.QueryRow(ctx, sql, args...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for number(`SELECT count(*) FROM tasks`) < 3 || number(`SELECT count(*) FROM river.river_job WHERE kind = 'loop.tasks' AND state <> 'completed'`) > 0 {
		if n := number(`SELECT count(*) FROM river.river_job WHERE kind = 'loop.tasks' AND state IN ('retryable', 'discarded')`); n > 0 {
			t.Fatal("the job failed")
		}
		time.Sleep(20 * time.Millisecond)
	}
	const theirs = "itself/starter-sft"
	if n := number(`SELECT count(*) FROM responses WHERE model_version = $1`, theirs); n < 3 || n > 4 { // two may be alike
		t.Errorf("%d answers of the engine to two prompts", n)
	}
	if n := number(`SELECT count(*) FROM responses r JOIN prompts p ON p.id = r.prompt_id WHERE p.origin = 'api' AND r.model_version = $1`, theirs); n != 0 {
		t.Errorf("%d answers of the engine to what a customer asked", n)
	}
	if n := number(`SELECT count(*) FROM tasks t WHERE (SELECT count(*) FROM responses r WHERE r.task_id = t.id) <> 4`); n != 0 {
		t.Errorf("%d tasks have other than four answers", n)
	}
	e, err = a.loop.Engine(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	used := number(`SELECT sum(prompt_tokens + completion_tokens) FROM usage WHERE key_id = $1`, key.ID)
	if e.Today.Tokens != int64(used) || used == 0 || e.Today.Requests != 3 || e.Today.Failures != 0 || e.Error != "" || e.AnsweredAt == nil {
		t.Errorf("%d tokens are counted of %d; %+v", e.Today.Tokens, used, e)
	}
	if n := number(`SELECT count(*) FROM engines e, audit a WHERE position(convert_to($1, 'UTF8') IN e.secret) > 0 OR a.detail::text LIKE '%' || $1 || '%'`, whole[8:]); n != 0 {
		t.Error("the key is in the database")
	}
	// Where the operator allows no private address, nothing is sent.
	guarded := newTestApp(t, appConfig{})
	if e, err = guarded.loop.SaveEngine(ctx, change); err != nil {
		t.Fatal(err)
	}
	before := number(`SELECT count(*) FROM usage`)
	var refused *remote.Error
	if _, err := guarded.loop.TestEngine(ctx, e.ID, "user:ada"); !errors.As(err, &refused) || refused.Kind != remote.Forbidden || number(`SELECT count(*) FROM usage`) != before {
		t.Errorf("%v", err)
	}
}
