package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/migrations"
	"github.com/rankloop/rankloop/migrations/localpg"
)

// lab is a Postgres, a server as a process of its own, and people with sessions.
type lab struct {
	benchLabelingCmd
	show     *progress
	dir      string
	postgres *localpg.Server
	pool     *pgxpool.Pool
	project  labeling.Project
	sessions []string // cookies
	base     string   // http://host:port
	addr     string
	server   *exec.Cmd
	log      bytes.Buffer
	rankings int // of the past that addHistory made
}

// labOverlap is how many labelers a task of the lab wants.
const labOverlap = 3

func newLab(ctx context.Context, c benchLabelingCmd, show *progress) (_ *lab, err error) {
	l := &lab{benchLabelingCmd: c, show: show}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	store := labeling.NewStore(l.pool)
	l.project, err = store.EnsureProject(ctx, labeling.Project{Name: projectName, Instructions: instructions, K: 4, Overlap: labOverlap, Lease: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	if err := l.addTasks(ctx, c.Tasks); err != nil {
		return nil, fmt.Errorf("tasks: %w", err)
	}
	if err := l.addPeople(ctx, max(c.Connections, c.Labelers)); err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	if _, err := l.pool.Exec(ctx, `VACUUM ANALYZE prompts, tasks, responses`); err != nil {
		return nil, err
	}
	return l, l.start(ctx)
}

// open starts the Postgres of a new folder and finds an address for the server.
func (l *lab) open(ctx context.Context) (err error) {
	if l.dir, err = os.MkdirTemp("", "rankloop-bench-*"); err != nil {
		return err
	}
	if err := os.Chmod(l.dir, 0o755); err != nil { // the database's user must reach its folder
		return err
	}
	if l.postgres, err = localpg.Start(ctx, localpg.Config{Dir: filepath.Join(l.dir, "postgres")}); err != nil {
		return err
	}
	if err := migrations.Up(ctx, l.postgres.URL()); err != nil {
		return err
	}
	if l.pool, err = pgxpool.New(ctx, l.postgres.URL()); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l.addr = listener.Addr().String()
	l.base = "http://" + l.addr
	return listener.Close()
}

func (l *lab) close() {
	l.kill()
	if l.pool != nil {
		l.pool.Close()
	}
	if l.postgres != nil {
		l.postgres.Stop()
	}
	if l.dir != "" {
		os.RemoveAll(l.dir)
	}
}

// start starts the server and waits until it answers.
func (l *lab) start(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	l.server = exec.Command(program, "serve", "--database-url", l.postgres.URL(), "--dir", filepath.Join(l.dir, "server"), "--addr", l.addr, "--label-rpm", "1000000")
	l.log.Reset()
	l.server.Stderr = &l.log
	if err := l.server.Start(); err != nil {
		l.server = nil
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(l.base + "/healthz")
		if err == nil {
			res.Body.Close()
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("the server does not answer: %w", err)
		}
	}
}

// kill ends the server as a power cut would.
func (l *lab) kill() {
	if l.server != nil {
		l.server.Process.Kill()
		l.server.Wait()
		l.server = nil
	}
}

// serverLog is what the server complained of, for errors.
func (l *lab) serverLog() string {
	if l.log.Len() == 0 {
		return ""
	}
	return "\nThe server says:\n" + l.log.String()
}

// addTasks adds n tasks by statements over many rows: what is measured comes later.
func (l *lab) addTasks(ctx context.Context, n int) error {
	const chunk = 20_000
	for first := 0; first < n; first += chunk {
		last := min(n, first+chunk) - 1
		err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`); err != nil { // foreign keys hold by construction
				return err
			}
			_, err := tx.Exec(ctx, fmt.Sprintf(`CREATE TEMP TABLE fresh ON COMMIT DROP AS SELECT g, %s AS prompt, %[1]s AS task,
				'Tell story number ' || g || ' about a fox and a drum.' AS text FROM generate_series(%d, %d) g`, idSQL, first, last))
			if err != nil {
				return err
			}
			b := &pgx.Batch{}
			b.Queue(`INSERT INTO prompts (id, project_id, hash, messages, text, origin, consent, split, tasks)
				SELECT prompt, $1, sha256(text::bytea), jsonb_build_array(jsonb_build_object('role', 'user', 'content', text)), text, 'import', true, 'train', 1 FROM fresh`, l.project.ID)
			b.Queue(`INSERT INTO tasks (id, project_id, prompt_id, k, need, open_slots) SELECT task, $1, prompt, 4, $2::int, $2 FROM fresh ORDER BY g`, l.project.ID, labOverlap)
			b.Queue(`INSERT INTO responses (id, prompt_id, task_id, position, text)
				SELECT ` + idSQL + `, prompt, task, position, 'Answer ' || position || ' to ' || text || repeat(' The fox went over the hill and beat the drum.', 3)
				FROM fresh, generate_series(0, 3) position`)
			return tx.SendBatch(ctx, b).Close()
		})
		if err != nil {
			return err
		}
		l.show.show("tasks", last+1, n, "made")
	}
	return nil
}

// idSQL makes a UUIDv7 in SQL: milliseconds, then chance.
const idSQL = `(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) ||
	'8' || substr(md5(random()::text), 1, 15))::uuid`

// addPeople makes labelers who are signed in already: checking passwords is slow on purpose and not what is measured.
func (l *lab) addPeople(ctx context.Context, n int) error {
	b := &pgx.Batch{}
	for i := range n {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		secret := make([]byte, 32)
		rand.Read(secret)
		token := base64.RawURLEncoding.EncodeToString(secret)
		hash := sha256.Sum256([]byte(token))
		b.Queue(`INSERT INTO users (id, email, name, role, password_hash) VALUES ($1, $2, $2, 'labeler', 'none')`, id.String(), fmt.Sprintf("load%d@example.com", i))
		b.Queue(`INSERT INTO sessions (token_hash, user_id) VALUES ($1, $2)`, hash[:], id.String())
		l.sessions = append(l.sessions, token)
	}
	return l.pool.SendBatch(ctx, b).Close()
}

// promote gives the i-th person a role.
func (l *lab) promote(ctx context.Context, i int, role string) error {
	_, err := l.pool.Exec(ctx, `UPDATE users SET role = $1 WHERE email = $2`, role, fmt.Sprintf("load%d@example.com", i))
	return err
}
