package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/migrations"
	"github.com/rankloop/rankloop/migrations/pgtest"
)

// installation is a database with a data folder that have something to lose.
func installation(t *testing.T) *app {
	t.Helper()
	ctx, pool := t.Context(), pgtest.New(t)
	a, err := newApp(ctx, &database{URL: pool.Config().ConnString(), Pool: pool, Jobs: pool}, appConfig{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.ensureStarter(ctx); err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for i := range 5 {
			p, _, err := a.labeling.AddPrompt(ctx, tx, labeling.NewPrompt{ProjectID: a.project.ID, Origin: labeling.OriginImport, Split: labeling.Train,
				Messages: []labeling.Message{{Role: "user", Content: fmt.Sprintf("tab\there, line\nthere, \\N and 中文 %d", i)}}})
			if err != nil {
				return err
			}
			if _, err := a.labeling.AddTask(ctx, tx, p.ID, []labeling.NewResponse{{Text: "a", Finish: "stop"}, {Text: strings.Repeat("b\n", 300_000), Finish: "stop"}}, 1, "x"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		as, err := a.labeling.Claim(ctx, a.project.ID, "ann")
		if err == nil {
			_, err = a.labeling.Submit(ctx, labeling.SubmitInput{AssignmentID: as.ID, LabelerID: "ann", Ranks: []int{2, 1}, IdempotencyKey: as.ID}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(a.dir, "uploads", "waiting.jsonl"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(a.dir, "runs", "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`INSERT INTO runs (id, kind, state, config, step, live_step, state_file) VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 'reward.train', 'queued', '{}', 5, 7, 'run/gone')`,
		`SELECT audit_seal()`,
	} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// rowsOf is the whole of a database as text.
func rowsOf(t *testing.T, url string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := migrations.ReadDump(t.Context(), url, func(d *migrations.Dump) error {
		out["sequences"] = fmt.Sprint(d.Sequences)
		for _, table := range d.Tables {
			var b strings.Builder
			if _, err := d.Copy(t.Context(), table, &b); err != nil {
				return err
			}
			out[table.Name] = b.String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(file)
		rel, _ := filepath.Rel(dir, file)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBackup: what a backup was made of is there again on an empty machine, row by row and file by file.
func TestBackup(t *testing.T) {
	a := installation(t)
	var file bytes.Buffer
	rows, files, err := a.backup(t.Context(), &file, newProgress(io.Discard))
	if err != nil || rows < 20 || files < 5 {
		t.Fatalf("%d rows, %d files, %v", rows, files, err)
	}
	pool, dir := pgtest.New(t), t.TempDir()
	url := pool.Config().ConnString()
	r, err := restore(t.Context(), url, dir, bytes.NewReader(file.Bytes()), newProgress(io.Discard))
	if err != nil || r.rows != rows || r.files != files {
		t.Fatalf("%+v, %v", r, err)
	}
	want, got := rowsOf(t, a.db.URL), rowsOf(t, url)
	for name, text := range want {
		switch {
		case name == "public.runs": // the state of that run is lost: it begins anew
			if !strings.Contains(text, "run/gone") || strings.Contains(got[name], "run/gone") || !strings.Contains(got[name], "\t0\t0\t") {
				t.Errorf("runs: %s", got[name])
			}
		case got[name] != text:
			t.Errorf("%s: %.300q, want %.300q", name, got[name], text)
		}
	}
	if len(got) != len(want) || len(want["public.rankings"]) == 0 || len(want["river.river_job"])+len(want["public.audit_seals"]) == 0 {
		t.Errorf("%d tables, want %d", len(got), len(want))
	}
	if was := filesOf(t, a.dir); !maps.Equal(was, filesOf(t, dir)) || was["webhooks.key"] == "" {
		t.Errorf("files differ")
	}
	// What was restored works: the next claim gives a task that nobody has ranked.
	as, err := labeling.NewStore(pool).Claim(t.Context(), a.project.ID, "ann")
	if err != nil || as.Done != 3 {
		t.Errorf("%+v, %v", as, err)
	}
	if _, err := restore(t.Context(), url, t.TempDir(), bytes.NewReader(file.Bytes()), newProgress(io.Discard)); !errors.Is(err, migrations.ErrNotEmpty) {
		t.Errorf("restored over something: %v", err)
	}
}

// repack rewrites a backup entry by entry; change returns false for one that is to be left out.
func repack(t *testing.T, file []byte, change func(h *tar.Header, data []byte) ([]byte, bool)) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	from, to := tar.NewReader(z), tar.NewWriter(w)
	for {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		data, keep := change(h, data)
		if !keep {
			continue
		}
		h.Size = int64(len(data))
		if err := errors.Join(to.WriteHeader(h), second(to.Write(data))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(to.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func second[T any](_ T, err error) error { return err }

// TestRestoreRefuses: of a backup that is cut off, changed or made by somebody else nothing is left in the database, and nothing is
// written outside of the data folder.
func TestRestoreRefuses(t *testing.T) {
	a := installation(t)
	var buf bytes.Buffer
	if _, _, err := a.backup(t.Context(), &buf, newProgress(io.Discard)); err != nil {
		t.Fatal(err)
	}
	file := buf.Bytes()
	same := func(h *tar.Header, data []byte) ([]byte, bool) { return data, true }
	url := pgtest.New(t).Config().ConnString()
	empty := rowsOf(t, url)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"not a backup": {[]byte("hello"), "no backup"},
		"cut off":      {file[:len(file)/2], "damaged"},
		"without end":  {repack(t, file, func(h *tar.Header, d []byte) ([]byte, bool) { return d, h.Name != "end.json" }), "end.json is missing"},
		"without head": {repack(t, file, func(h *tar.Header, d []byte) ([]byte, bool) { return d, h.Name != "head.json" }), "head.json is missing"},
		"a row less": {repack(t, file, func(h *tar.Header, d []byte) ([]byte, bool) {
			if h.Name == "tables/public.rankings/000000" {
				d = d[bytes.IndexByte(d, '\n')+1:]
			}
			return d, true
		}), "public.rankings is not what was written"},
		"weights changed": {repack(t, file, func(h *tar.Header, d []byte) ([]byte, bool) {
			if strings.HasSuffix(h.Name, ".safetensors") {
				d[len(d)-1]++
			}
			return d, true
		}), "is not what was written"},
		"a file elsewhere": {repack(t, file, func(h *tar.Header, d []byte) ([]byte, bool) {
			if h.Name == "files/webhooks.key" {
				h.Name = "files/../../webhooks.key"
			}
			return d, true
		}), "a file is called"},
		"newer": {repack(t, file, func(h *tar.Header, d []byte) ([]byte, bool) {
			return bytes.Replace(d, []byte(`"schema":`), []byte(`"schema":9`), 1), true
		}), "use a newer program"},
		"unknown format": {repack(t, file, func(h *tar.Header, d []byte) ([]byte, bool) {
			return bytes.Replace(d, []byte(`"format":1`), []byte(`"format":2`), 1), true
		}), "format 2"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := restore(ctx, url, dir, bytes.NewReader(c.file), newProgress(io.Discard))
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 1 {
			t.Errorf("%s: something was written outside: %v", name, left)
		}
		if got := rowsOf(t, url); !maps.Equal(got, empty) {
			t.Errorf("%s: the database is not empty any more", name)
		}
	}
	if _, err := restore(t.Context(), url, t.TempDir(), bytes.NewReader(repack(t, file, same)), newProgress(io.Discard)); err != nil {
		t.Errorf("packed again: %v", err)
	}
}
