package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/rankloop/rankloop/migrations/pgtest"
	"github.com/rankloop/rankloop/web/account"
)

// collected is a collector of traces: OTLP's bodies are protobuf, in which texts stand as they are.
type collected struct {
	mu   sync.Mutex
	body bytes.Buffer
}

func (c *collected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.body.Write(b)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// TestTraces: requests, queries, the engine and jobs are traced to the collector that the environment names, and nothing that people
// wrote or that opens a door leaves with them.
func TestTraces(t *testing.T) {
	collector := new(collected)
	receiver := httptest.NewServer(collector)
	defer receiver.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	pool := pgtest.New(t)
	ctx := t.Context()
	db := &database{URL: pool.Config().ConnString()}
	var err error
	if db.traces, err = openTracing(ctx); err != nil || db.traces == nil {
		t.Fatal(db.traces, err)
	}
	if err := db.connect(ctx); err != nil {
		t.Fatal(err)
	}
	closed := sync.OnceFunc(db.Close)
	defer closed()
	a, err := newApp(ctx, db, appConfig{Dir: t.TempDir(), Work: true}, slog.New(slog.DiscardHandler))
	if err == nil {
		err = a.ensureStarter(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	server, err := a.listen(ctx, "127.0.0.1:0", serverOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stop, err := a.startWorkers(deadAfter)
	if err != nil {
		t.Fatal(err)
	}
	const email, password, said, path = "canary-person@example.com", "canary of a password", "canary words of a customer", "canary-path"
	u, _, err := a.accounts.CreateUser(ctx, account.NewUser{Email: email, Name: "canary name", Role: account.RoleCustomer, Password: password, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := a.accounts.CreateKey(ctx, account.NewKey{CustomerID: u.ID, Name: "canary key", Scopes: account.Scopes, RPM: 1000, TPM: 1_000_000, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client, home := &http.Client{Jar: jar}, "http://"+server.Addr()
	do := func(method, path, kind, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, home+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("User-Agent", "canary-agent")
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	do(http.MethodPost, "/login", "application/x-www-form-urlencoded", url.Values{"email": {email}, "password": {password}}.Encode())
	do(http.MethodGet, "/account?q=canary-query", "", "")
	do(http.MethodPost, "/v1/completions", "application/json", `{"model":"default","prompt":"`+said+`","max_tokens":3,"user":"canary-end-user"}`)
	do(http.MethodGet, "/v1/models/"+path, "", "")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var n int
		if err := pool.QueryRow(ctx, `SELECT count(*) FROM river.river_job WHERE kind = 'audit.verify' AND state = 'completed'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			break
		}
	}
	b := &pgx.Batch{}
	b.Queue(`SELECT 1`)
	if err := a.db.Pool.SendBatch(ctx, b).Close(); err != nil {
		t.Fatal(err)
	}
	session := jar.Cookies(&url.URL{Scheme: "http", Host: server.Addr()})
	stop()
	server.Close()
	closed()
	got := collector.body.Bytes()
	for _, name := range []string{"POST /login", "GET /account", "POST /v1/completions", "GET /v1/models/:model", "engine.generate", "sql SELECT users", "sql batch", "job audit.verify", "rankloop", "http.response.status_code"} {
		if !bytes.Contains(got, []byte(name)) {
			t.Errorf("no span tells of %s", name)
		}
	}
	secrets := []string{"canary", password, key, key[len(key)-20:]}
	for _, c := range session {
		secrets = append(secrets, c.Value)
	}
	if len(session) == 0 {
		t.Error("nobody signed in")
	}
	for _, s := range secrets {
		if i := bytes.Index(got, []byte(s)); i >= 0 {
			t.Errorf("%q left with the traces: %q", s, got[max(0, i-60):min(len(got), i+60)])
		}
	}
}

// TestTracesOff: without a collector nobody is given a tracer.
func TestTracesOff(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	off, err := openTracing(t.Context())
	if off != nil || err != nil || off.web() != nil || off.queries() != nil || off.jobs() != nil {
		t.Error(off, err)
	}
	off.Close(t.Context())
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}
	if got := collector(func(name string) string { return env[name] }); got != "" {
		t.Error(got)
	}
}

// TestTraceInLog: lines of a request name its trace.
func TestTraceInLog(t *testing.T) {
	traces := newTracing(sdktrace.WithSyncer(tracetest.NewInMemoryExporter()))
	var out bytes.Buffer
	log := newLog(&out, slog.LevelInfo).With("room", "web")
	ctx, span := traces.tracer.Start(context.Background(), "x")
	log.InfoContext(ctx, "inside")
	log.Info("outside")
	lines := strings.Split(out.String(), "\n")
	if !strings.Contains(lines[0], "trace="+span.SpanContext().TraceID().String()) || strings.Contains(lines[1], "trace=") {
		t.Error(out.String())
	}
}

func TestStatement(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT a, b FROM users WHERE x = $1":                      "SELECT users",
		"\n\tWITH due AS (SELECT 1 FROM tasks) UPDATE x SET y = 1": "WITH tasks",
		"INSERT INTO river.river_job (a) VALUES ($1)":              "INSERT river.river_job",
		"UPDATE runs AS r SET state = 'x'":                         "UPDATE runs",
		"begin":                                                    "BEGIN",
		"SELECT now()":                                             "SELECT",
		`SELECT 1 FROM "Canary"`:                                   "SELECT",
		"":                                                         "?",
	} {
		if got := statement(sql); got != want {
			t.Errorf("%q is %q, want %q", sql, got, want)
		}
	}
}
