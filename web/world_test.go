package web

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	goflag "flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/migrations/pgtest"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/remote"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/audit"
	"github.com/rankloop/rankloop/web/conversation"
	"github.com/rankloop/rankloop/web/health"
	"github.com/rankloop/rankloop/web/setting"
	"github.com/rankloop/rankloop/web/stored"
)

// TestMain lets more tests run at once than there are cores, unless told otherwise: most of their time they wait for a page or
// for Postgres.
func TestMain(m *testing.M) {
	goflag.Parse()
	own := false
	goflag.Visit(func(f *goflag.Flag) { own = own || f.Name == "test.parallel" })
	if !own {
		_ = goflag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))) // a flag of the testing package: it is there
	}
	code := pgtest.Wrap(m).Run()
	closeBrowser()
	os.Exit(code)
}

// world is a server with all its rooms on a database of the test's own, and a tiny random policy that serves.
type world struct {
	*testing.T
	pool     *pgxpool.Pool
	accounts *account.Store
	labeling *labeling.Store
	registry *registry.Store
	runs     *run.Store
	loop     *loop.Loop
	project  labeling.Project
	version  registry.Version // serves
	slot     *Slot
	rewards  *rewardSlot
	handler  http.Handler
	server   *server
	http     *httptest.Server
	logs     *logBuffer
}

// plainSecrets keeps keys of engines as they are; the program seals them.
type plainSecrets struct{}

func (plainSecrets) Seal(_, secret string) ([]byte, error)          { return []byte(secret), nil }
func (plainSecrets) Unseal(_ string, sealed []byte) (string, error) { return string(sealed), nil }

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T, change ...func(*Config, *Deps)) *world {
	t.Helper()
	ctx := t.Context()
	pool := pgtest.New(t)
	w := &world{T: t, pool: pool, accounts: account.NewStore(pool), labeling: labeling.NewStore(pool), registry: registry.NewStore(pool),
		runs: run.NewStore(pool), slot: new(Slot), rewards: new(rewardSlot), logs: new(logBuffer)}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(w.logs, t.Output()), nil))
	template, err := token.Chat("plain")
	w.must(err)
	w.loop = loop.New(loop.Deps{Pool: pool, Labeling: w.labeling, Registry: w.registry, Runs: w.runs, Template: template, Log: log, Scratch: t.TempDir(), Blobs: checkpoint.Dir(t.TempDir()),
		Cost:   func(c model.Config, w model.Work) float64 { return float64(w.Sequences*w.Tokens) * 1e-4 },
		Remote: &remote.Client{HTTP: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, Secrets: plainSecrets{}})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: "river"})
	w.must(err)
	w.loop.SetClient(client)
	w.project, err = w.labeling.EnsureProject(ctx, labeling.Project{Name: "main", Question: labeling.QuestionRanking,
		Instructions: "Rank the answers from best to worst.\n\n1. **Follows the instruction.**\n2. **Ends properly.**", K: 4, Overlap: 1, PromptCap: 200, Lease: 30 * time.Minute})
	w.must(err)
	base := w.register(registry.Version{Kind: registry.Base, Name: "tiny-base", Digest: "sha256:" + strings.Repeat("a", 64)})
	w.version = w.register(registry.Version{Kind: registry.SFT, Name: "tiny-sft", Digest: "sha256:" + strings.Repeat("b", 64), Parents: []string{base.ID}})
	w.must(w.loop.Promote(ctx, w.version.ID, "system", ""))
	w.slot.Set(tinyServed(t, w.version, template, 1))
	t.Cleanup(func() { w.slot.Set(nil) })

	c := Config{LabelsPerMinute: 6000, Version: "test", Components: true}
	d := Deps{Accounts: w.accounts, Conversations: conversation.NewStore(pool), Audit: audit.NewStore(pool), Labeling: w.labeling, Registry: w.registry, Settings: setting.NewStore(pool), Stored: stored.NewStore(pool), Runs: w.runs, Loop: w.loop, Serving: w.slot, Rewards: w.rewards,
		ProjectID: w.project.ID, AfterSubmit: w.loop.RankingSubmitted, OnPrompt: w.joinPool, Ping: pool.Ping, Log: log,
		Uploads: t.TempDir(), WebhookSecret: func(id string) string { return "whsec_" + id }, Erase: w.erase, Consent: w.consent, JobsUI: http.NotFoundHandler(), Health: w.sources()}
	for _, f := range change {
		f(&c, &d)
	}
	w.handler, w.server, err = build(c, d)
	w.must(err)
	w.http = httptest.NewUnstartedServer(w.handler)
	w.http.Config = NewServer(w.handler)
	w.http.Start()
	t.Cleanup(w.http.Close)
	return w
}

// sources are what the health page looks at in the program, but for migrations.
func (w *world) sources() health.Sources {
	return health.Sources{Store: health.NewStore(w.pool), Audit: audit.NewStore(w.pool), Dir: w.TempDir(), Pools: 8,
		Leases: func(ctx context.Context) (l health.Leases, err error) {
			var late time.Duration
			l.Open, l.Expired, late, err = w.labeling.LeaseState(ctx)
			l.OldestSeconds = late.Seconds()
			return l, err
		},
		Webhooks: func(ctx context.Context) (h health.Webhooks, err error) {
			h.Waiting, h.Failed, err = w.labeling.DeliveryState(ctx)
			return h, err
		}}
}

// tinyModel is a policy of 0.8 M random weights over GPT-2's vocabulary: it babbles, broken characters too.
func tinyServed(t *testing.T, v registry.Version, template token.ChatTemplate, seed uint64) *Served {
	t.Helper()
	tok := token.GPT2()
	m, err := model.New(model.Config{Family: "gpt2", Vocab: tok.Vocab(), Context: 256, Layers: 1, Width: 16, Heads: 2, KVHeads: 2, Hidden: 32,
		NormEps: 1e-5, Tied: true, BOS: -1, EOS: int(tok.EOS())}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return &Served{VersionID: v.ID, Name: v.Name, Created: v.CreatedAt, Engine: decode.NewEngine(m, tok, decode.EngineOptions{}), Tokenizer: tok,
		Template: template, Context: 256, Digest: strings.TrimPrefix(v.Digest, "sha256:")}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) register(v registry.Version) registry.Version {
	w.Helper()
	w.must(pgx.BeginFunc(w.Context(), w.pool, func(tx pgx.Tx) (err error) {
		v, err = w.registry.Register(w.Context(), tx, v)
		return err
	}))
	return v
}

// joinPool is what the program does with prompts of customers who consent.
func (w *world) joinPool(ctx context.Context, tx pgx.Tx, key account.Key, p Prompt) error {
	return w.labeling.JoinPool(ctx, tx, p.Answered(w.project.ID, key))
}

// reportKey signs reports of erasures.
var reportKey = ed25519.NewKeyFromSeed([]byte("a key of thirty-two bytes to sign"[:ed25519.SeedSize]))

// erase is what the program does when a person is to be erased.
func (w *world) erase(ctx context.Context, subject labeling.Subject, actor string, dry bool) (labeling.ErasureReport, error) {
	return w.labeling.Erase(ctx, subject, actor, dry, labeling.Erasing{Taint: w.loop.Taint, Key: reportKey})
}

// consent is what the program does when a customer changes its mind.
func (w *world) consent(ctx context.Context, k account.Key, on bool, actor string) error {
	return w.accounts.SetTraining(ctx, k.CustomerID, k.ID, on, actor, func(ctx context.Context, tx pgx.Tx) error {
		_, err := w.labeling.SetConsent(ctx, tx, k.CustomerID, k.ID, on)
		return err
	})
}

// addTask gives labelers something to rank.
func (w *world) addTask(messages []labeling.Message, answers ...string) labeling.Task {
	w.Helper()
	var task labeling.Task
	w.must(pgx.BeginFunc(w.Context(), w.pool, func(tx pgx.Tx) error {
		p, _, err := w.labeling.AddPrompt(w.Context(), tx, labeling.NewPrompt{ProjectID: w.project.ID, Messages: messages, Origin: labeling.OriginImport})
		if err != nil {
			return err
		}
		var list []labeling.NewResponse
		for _, a := range answers {
			list = append(list, labeling.NewResponse{Text: a, ModelVersion: w.version.ID, Finish: "stop"})
		}
		task, err = w.labeling.AddTask(w.Context(), tx, p.ID, list, 1, "")
		return err
	}))
	return task
}

func says(text string) []labeling.Message { return []labeling.Message{{Role: "user", Content: text}} }

const testPassword = "a long enough secret"

// user makes an account; its address is <name>@example.com.
func (w *world) user(name string, role account.Role) account.User {
	w.Helper()
	u, _, err := w.accounts.CreateUser(w.Context(), account.NewUser{Email: name + "@example.com", Name: name, Role: role, Password: testPassword, Actor: "system"})
	w.must(err)
	return u
}

// key makes a customer with a key.
func (w *world) key(name string, change ...func(*account.NewKey)) (account.Key, string) {
	w.Helper()
	n := account.NewKey{CustomerID: w.user(name, account.RoleCustomer).ID, Name: name, Scopes: account.Scopes, RPM: 60_000, TPM: 100_000_000, Actor: "system"}
	for _, f := range change {
		f(&n)
	}
	k, secret, err := w.accounts.CreateKey(w.Context(), n)
	w.must(err)
	return k, secret
}

// browser is a client that keeps cookies and follows no redirects.
type browser struct {
	w      *world
	client *http.Client
	head   http.Header // sent with each request
}

func (w *world) anon() *browser {
	jar, err := cookiejar.New(nil)
	w.must(err)
	return &browser{w, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, http.Header{}}
}

// as makes a user of the role and signs it in.
func (w *world) as(name string, role account.Role) *browser {
	w.Helper()
	w.user(name, role)
	b := w.anon()
	if got := b.login(name+"@example.com", testPassword); got.code != http.StatusSeeOther {
		w.Fatalf("sign in as %s: %d %s", name, got.code, got.body)
	}
	return b
}

func (w *world) withKey(secret string) *browser {
	b := w.anon()
	b.head.Set("Authorization", "Bearer "+secret)
	return b
}

type answer struct {
	code int
	head http.Header
	body string
}

func (b *browser) do(method, path, kind, body string, head ...string) answer {
	b.w.Helper()
	req, err := http.NewRequestWithContext(b.w.Context(), method, b.w.http.URL+path, strings.NewReader(body))
	b.w.must(err)
	for k, v := range b.head {
		req.Header[k] = v
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	res, err := b.client.Do(req)
	b.w.must(err)
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	b.w.must(err)
	return answer{res.StatusCode, res.Header, string(got)}
}

func (b *browser) get(path string, head ...string) answer { return b.do(get, path, "", "", head...) }

func (b *browser) form(path string, fields ...string) answer {
	v := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	return b.do(post, path, "application/x-www-form-urlencoded", v.Encode())
}

func (b *browser) json(method, path string, v any, head ...string) answer {
	b.w.Helper()
	body, ok := v.(string)
	if !ok && v != nil {
		raw, err := json.Marshal(v)
		b.w.must(err)
		body = string(raw)
	}
	return b.do(method, path, "application/json", body, head...)
}

func (b *browser) login(email, password string) answer {
	return b.form("/login", "email", email, "password", password)
}

// want fails unless the answer has the code.
func (a answer) want(t testing.TB, code int) answer {
	t.Helper()
	if a.code != code {
		t.Fatalf("status %d, want %d: %.500s", a.code, code, a.body)
	}
	return a
}

// into decodes the answer.
func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v: %.500s", err, a.body)
	}
}

func (w *world) count(sql string, args ...any) int {
	w.Helper()
	var n int
	w.must(w.pool.QueryRow(w.Context(), sql, args...).Scan(&n))
	return n
}

func (w *world) text(sql string, args ...any) (s string) {
	w.Helper()
	w.must(w.pool.QueryRow(w.Context(), sql, args...).Scan(&s))
	return s
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
