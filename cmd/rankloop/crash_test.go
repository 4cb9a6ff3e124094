package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/migrations"
	"github.com/rankloop/rankloop/migrations/localpg"
	"github.com/rankloop/rankloop/migrations/pgtest"
	"github.com/rankloop/rankloop/web/account"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// binary builds the program once for the tests that run it as a process of its own.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rankloop-test-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "rankloop")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// process is the real binary, started and killed by a test.
type process struct {
	args []string
	env  []string // beyond that of the test
	cmd  *exec.Cmd
	log  bytes.Buffer
}

func (p *process) start(t *testing.T) {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(bin, p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.log.Reset()
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill9 ends the process as a power cut would.
func (p *process) kill9() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// durable is a migrated database of its own on a server that loses nothing it has acknowledged, unlike pgtest's.
func durable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rankloop-durable-*") // t.TempDir's parent is closed to the server's user
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	server, err := localpg.Start(t.Context(), localpg.Config{Dir: filepath.Join(dir, "postgres"), Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Stop()
		os.RemoveAll(dir)
	})
	if err := migrations.Up(t.Context(), server.URL()); err != nil {
		t.Fatal(err)
	}
	return server.URL()
}

// freeAddr is a loopback address that nobody listens on now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// labeler is a client that journals what it meant to submit and what was acknowledged.
type labeler struct {
	base            string
	email, password string
	http            *http.Client
	rng             *rand.Rand
	intents         map[string]bool // assignment ids of submits that were sent
	acks            map[string]bool // ranking ids that were acknowledged
}

func (l *labeler) signIn(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	l.http = &http.Client{Jar: jar, Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := l.http.PostForm(l.base+"/login", url.Values{"email": {l.email}, "password": {l.password}})
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		return fmt.Errorf("login: %s", res.Status)
	}
	return nil
}

func (l *labeler) post(ctx context.Context, path, key string, body any) (int, []byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := l.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	return res.StatusCode, out, err
}

// work ranks until ctx ends or nothing is left. A submit whose outcome is unknown is sent again with the same key, until
// the server answers.
func (l *labeler) work(ctx context.Context) error {
	for l.signIn(ctx) != nil {
		if !pause(ctx) {
			return nil
		}
	}
	for ctx.Err() == nil {
		code, body, err := l.post(ctx, "/label/api/claim", "", struct{}{})
		if err != nil || code >= 500 {
			if !pause(ctx) {
				return nil
			}
			continue
		}
		if code == http.StatusNoContent {
			return nil
		}
		var a struct {
			Assignment string `json:"assignment"`
			Answers    []any  `json:"answers"`
		}
		if code != http.StatusOK || json.Unmarshal(body, &a) != nil {
			return fmt.Errorf("claim: %d %s", code, body)
		}
		ranks := make([]int, len(a.Answers))
		for i, p := range l.rng.Perm(len(ranks)) {
			ranks[i] = p + 1
		}
		key := uuid.NewString()
		l.intents[a.Assignment] = true
		for ctx.Err() == nil {
			code, body, err := l.post(ctx, "/label/api/assignments/"+a.Assignment+"/submit", key, map[string]any{"ranks": ranks, "comment": "", "active_ms": 1, "wall_ms": 1})
			if err != nil || code >= 500 {
				if !pause(ctx) {
					return nil
				}
				continue
			}
			var r struct{ Ranking string }
			if code != http.StatusOK || json.Unmarshal(body, &r) != nil || r.Ranking == "" {
				return fmt.Errorf("submit: %d %s", code, body)
			}
			l.acks[r.Ranking] = true
			break
		}
	}
	return nil
}

func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(20 * time.Millisecond):
		return true
	}
}

// TestKillServerDuringSubmits kills the server 20 times while labelers submit: no acknowledged ranking is lost, none is
// there twice, and each has its audit row.
func TestKillServerDuringSubmits(t *testing.T) {
	const kills, people = 20, 6
	dbURL := durable(t)
	pool := pgtest.Open(t, dbURL)
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
	defer cancel()
	accounts, store := account.NewStore(pool), labeling.NewStore(pool)
	project, err := store.EnsureProject(ctx, labeling.Project{Name: projectName, Question: "ranking", Instructions: instructions, K: 4, Overlap: 2, PromptCap: 200, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	addTasks(t, pool, store, project.ID, 6000)
	addr := freeAddr(t)
	server := &process{args: []string{"serve", "--no-work", "--database-url", dbURL, "--dir", t.TempDir(), "--addr", addr, "--label-rpm", "1000000"}}
	server.start(t)
	defer func() { server.kill9() }()
	var crew []*labeler
	for i := range people {
		u, password, err := accounts.CreateUser(ctx, account.NewUser{Email: fmt.Sprintf("l%d@example.com", i), Role: account.RoleLabeler})
		if err != nil {
			t.Fatal(err)
		}
		crew = append(crew, &labeler{base: "http://" + addr, email: u.Email, password: password, rng: rand.New(rand.NewPCG(1, uint64(i))),
			intents: map[string]bool{}, acks: map[string]bool{}})
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	errs := make(chan error, people)
	for _, l := range crew {
		go func() { errs <- l.work(working) }()
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range kills {
		before := count(t, pool, `SELECT count(*) FROM rankings`)
		for ctx.Err() == nil && count(t, pool, `SELECT count(*) FROM rankings`) < before+20 {
			time.Sleep(5 * time.Millisecond)
		}
		if ctx.Err() != nil {
			t.Fatalf("no rankings arrive after kill %d:\n%s", i, server.log.String())
		}
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		server.kill9()
		server.start(t)
	}
	time.Sleep(500 * time.Millisecond)
	stop()
	for range crew {
		if err := <-errs; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	acked := 0
	for _, l := range crew {
		for id := range l.acks {
			acked++
			if n := count(t, pool, `SELECT count(*) FROM rankings WHERE id = $1`, id); n != 1 {
				t.Errorf("acknowledged ranking %s is there %d times", id, n)
			}
		}
		for id := range l.intents {
			if n := count(t, pool, `SELECT count(*) FROM rankings WHERE assignment_id = $1`, id); n > 1 {
				t.Errorf("assignment %s has %d rankings", id, n)
			}
		}
	}
	if acked < kills*20/2 {
		t.Errorf("only %d rankings were acknowledged", acked)
	}
	for what, sql := range map[string]string{
		"rankings without their pairs": `SELECT count(*) FROM rankings r WHERE (SELECT count(*) FROM comparisons c WHERE c.ranking_id = r.id) <> 6`,
		"assignments without their task or ranking": `SELECT count(*) FROM assignments a LEFT JOIN tasks t ON t.id = a.task_id LEFT JOIN rankings k ON k.id = a.ranking_id
			WHERE t.project_id IS DISTINCT FROM a.project_id OR a.ranking_id IS NOT NULL AND k.assignment_id IS DISTINCT FROM a.id`,
		"tasks over their need":   `SELECT count(*) FROM tasks WHERE done > need OR open_slots < 0`,
		"counters that are wrong": `SELECT count(*) FROM tasks t WHERE done <> (SELECT count(*) FROM assignments a WHERE a.task_id = t.id AND a.state = 'submitted' AND NOT a.surplus)`,
		"rankings without audit":  `SELECT count(*) FROM rankings r WHERE NOT EXISTS (SELECT 1 FROM audit a WHERE a.subject = r.id::text OR a.detail::text LIKE '%' || r.id || '%')`,
	} {
		if n := count(t, pool, sql); n != 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
	t.Logf("%d kills, %d acknowledged rankings, %d stored", kills, acked, count(t, pool, `SELECT count(*) FROM rankings`))
}

func count(t *testing.T, q interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}, sql string, args ...any) (n int) {
	t.Helper()
	if err := q.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", strings.Fields(sql)[:3], err)
	}
	return n
}

// addTasks adds n tasks of four answers.
func addTasks(t *testing.T, pool *pgxpool.Pool, store *labeling.Store, projectID string, n int) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for i := range n {
			p, _, err := store.AddPrompt(t.Context(), tx, labeling.NewPrompt{ProjectID: projectID, Origin: labeling.OriginImport,
				Messages: userSays(fmt.Sprintf("question %d", i))})
			if err != nil {
				return err
			}
			var answers []labeling.NewResponse
			for k := range 4 {
				answers = append(answers, labeling.NewResponse{Text: fmt.Sprintf("answer %d to question %d", k, i)})
			}
			if _, err := store.AddTask(t.Context(), tx, p.ID, answers, 2, "crash"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
