package labeling

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// An import has two phases. Reading: the file is parsed by several goroutines, each
// record hashed and written as a row of COPY, and whole chunks of lines are staged with
// the number of the last line in one transaction, so that an import that is cut off goes
// on behind it. Settling: see store_settle.go. Until then nothing of it is served.

// NewImport says what is imported, into which project.
type NewImport struct {
	ProjectID string
	Name      string // of the file, for people
	Actor     string
	Reading
}

// ImportRun is an import as the database knows it.
type ImportRun struct {
	ID         string
	ProjectID  string
	Name       string
	Digest     []byte // sha256 of the file
	Bytes      int64
	Reading    Reading
	State      string // reading | settling | done | failed
	Line       int    // the last one staged
	File       string // of an upload, "" where the command line reads it
	Error      string
	Actor      string
	Redacted   int // records in which personal data was found
	CreatedAt  time.Time
	FinishedAt *time.Time
	ImportReport
}

const importColumns = `id, project_id, name, digest, bytes, reading, state, line, file, error, actor, redacted, created_at, finished_at,
	format, read, imported, duplicates, rejected`

func scanImport(row pgx.CollectableRow) (r ImportRun, err error) {
	err = row.Scan(&r.ID, &r.ProjectID, &r.Name, &r.Digest, &r.Bytes, &r.Reading, &r.State, &r.Line, &r.File, &r.Error, &r.Actor, &r.Redacted,
		&r.CreatedAt, &r.FinishedAt, &r.Format, &r.Read, &r.Imported, &r.Duplicates, &r.Rejected)
	return r, err
}

func (s *Store) oneImport(ctx context.Context, sql string, args ...any) (ImportRun, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+importColumns+` FROM imports `+sql, args...)
	if err != nil {
		return ImportRun{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanImport)
}

// ImportFile reads a preference file into a project: its prompts, its completions as
// responses, its rankings under labelers named "import:NAME", its demonstrations. An
// import of the same file that was cut off goes on where it was. What is there already is
// a duplicate. More than MaxAnswers completions are rejected. The report is of the whole
// file; counts of lines add up: Read = Imported + Duplicates + Rejected.
func (s *Store) ImportFile(ctx context.Context, n NewImport, file io.ReadSeeker) (ImportReport, error) {
	run, err := s.StartImport(ctx, n, file, "")
	if err == nil {
		run, err = s.WorkImport(ctx, run, file)
	}
	if run.ID == "" || err != nil {
		return run.ImportReport, err
	}
	run.Reasons, err = s.ImportReasons(ctx, run.ID)
	return run.ImportReport, err
}

// StartImport notes an import, or finds the one of the same file that is not finished.
// stored is where an upload is kept.
func (s *Store) StartImport(ctx context.Context, n NewImport, file io.ReadSeeker, stored string) (ImportRun, error) {
	if _, err := s.Project(ctx, n.ProjectID); err != nil {
		return ImportRun{}, err
	}
	if n.Format != "" || n.Preset != "" || n.Columns != "" {
		if _, err := n.format(); err != nil {
			return ImportRun{}, err
		}
	}
	if err := CheckText("name", n.Name); err != nil {
		return ImportRun{}, err
	}
	h := sha256.New()
	size, err := io.Copy(h, file)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return ImportRun{}, err
	}
	id, err := newID()
	if err != nil {
		return ImportRun{}, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO imports (id, project_id, name, digest, bytes, reading, actor, file)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (project_id, digest, reading) WHERE state IN ('reading', 'settling') DO NOTHING`,
			id, n.ProjectID, n.Name, h.Sum(nil), size, n.Reading, n.Actor, stored)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return audit(ctx, tx, n.Actor, "labeling.import", id, map[string]any{"name": n.Name, "sha256": fmt.Sprintf("%x", h.Sum(nil)), "bytes": size})
	})
	if err != nil {
		return ImportRun{}, wrap(err, "import into project %s", n.ProjectID)
	}
	run, err := s.oneImport(ctx, `WHERE project_id = $1 AND digest = $2 AND reading = $3 AND state IN ('reading', 'settling') ORDER BY id DESC LIMIT 1`,
		n.ProjectID, h.Sum(nil), n.Reading)
	return run, wrap(err, "import into project %s", n.ProjectID)
}

// WorkImport takes an import to its end, or as far as ctx lets it. A file that cannot be
// read any further ends it; the rows that were staged before are settled all the same.
func (s *Store) WorkImport(ctx context.Context, run ImportRun, file io.Reader) (ImportRun, error) {
	var unreadable error
	if run.State == "reading" {
		var err error
		if run, unreadable, err = s.Stage(ctx, run, file); err != nil {
			return run, wrap(err, "import %s", run.ID)
		}
	}
	if err := s.settleAll(ctx, run.ID); err != nil {
		return run, wrap(err, "import %s", run.ID)
	}
	id := run.ID
	run, err := s.oneImport(ctx, `WHERE id = $1`, id)
	if err == nil {
		err = unreadable
	}
	return run, err
}

// stageBytes is how much of COPY is staged at a time, with its line number, in one
// transaction.
const stageBytes = 8 << 20

// stagedLine is a parsed line as rows of COPY.
type stagedLine struct {
	n      int
	rows   []byte
	failed error
}

// Stage is the first phase: it reads the file behind run.Line into import_rows. unreadable is a failure of the
// file, err one of the database.
func (s *Store) Stage(ctx context.Context, run ImportRun, file io.Reader) (_ ImportRun, unreadable, err error) {
	id := uuid.MustParse(run.ID)
	var chunk []byte
	var failed []*LineError
	lines, last := 0, run.Line
	// While one chunk travels to the database the next is gathered.
	sent := make(chan error, 1)
	sent <- nil
	flush := func() error {
		if err := <-sent; err != nil {
			sent <- nil
			return err
		}
		rows, errs, n, line := chunk, failed, lines, last
		chunk, failed, lines = make([]byte, 0, stageBytes+stageBytes/4), nil, 0
		go func() { sent <- s.stageChunk(ctx, run.ID, run.Format, rows, errs, n, line) }()
		return nil
	}
	err = read(file, run.Reading, &run.Format, func(f format, n int, text []byte) stagedLine { return stageLine(id, f, n, text) }, func(l stagedLine) error {
		if l.n <= run.Line {
			return nil
		}
		if lines, last = lines+1, l.n; l.failed != nil {
			failed = append(failed, &LineError{l.n, l.failed})
		}
		if chunk = append(chunk, l.rows...); len(chunk) >= stageBytes || len(failed) >= 10_000 {
			if err := flush(); err != nil {
				return stagingError{err}
			}
		}
		return nil
	})
	var database stagingError
	if errors.As(err, &database) {
		return run, nil, database.error
	}
	unreadable = err
	if err = flush(); err == nil {
		err = <-sent
	}
	if err != nil {
		return run, nil, err
	}
	state, reason := "settling", ""
	if unreadable != nil {
		reason = unreadable.Error()
	}
	_, err = s.pool.Exec(ctx, `UPDATE imports SET state = $2, error = $3, worked_at = now() WHERE id = $1`, run.ID, state, strings.ToValidUTF8(reason, "?"))
	run.State = state
	return run, unreadable, err
}

type stagingError struct{ error }

// stageLine parses and hashes a line and writes its rows in COPY's binary format.
func stageLine(importID uuid.UUID, f format, n int, text []byte) stagedLine {
	records, err := f.records(text)
	if err != nil {
		return stagedLine{n: n, failed: err}
	}
	if len(records) > 1<<15-1 {
		return stagedLine{n: n, failed: invalid("records", "%d in one line", len(records))}
	}
	var b copyRow
	for part, r := range records {
		hash := promptHash(r.conversation())
		b = append(b.row(6).size(16), importID[:]...).int8(n).int2(part).int2(int(r.Kind)).bytes(hash[:])
		at := len(b)
		b = r.appendTo(b.size(0))
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	}
	return stagedLine{n: n, rows: b}
}

func (s *Store) stageChunk(ctx context.Context, id, format string, rows []byte, failed []*LineError, read, line int) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if len(rows) > 0 {
			in := io.MultiReader(bytes.NewReader(copyHead), bytes.NewReader(rows), bytes.NewReader([]byte{0xff, 0xff}))
			if _, err := tx.Conn().PgConn().CopyFrom(ctx, in, `COPY import_rows (import_id, line, part, kind, hash, body) FROM STDIN BINARY`); err != nil {
				return err
			}
		}
		if err := noteErrors(ctx, tx, id, failed); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE imports SET line = $2, read = read + $3, rejected = rejected + $4, format = $5, worked_at = now()
			WHERE id = $1 AND state = 'reading'`, id, line, read, len(failed), format)
		if err == nil && tag.RowsAffected() == 0 {
			err = fmt.Errorf("%w: it is no longer being read", ErrConflict)
		}
		return err
	})
}

// noteErrors keeps the reasons of rejected lines, at most maxReasons an import.
func noteErrors(ctx context.Context, tx pgx.Tx, id string, failed []*LineError) error {
	var kept int
	if len(failed) == 0 {
		return nil
	}
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM import_errors WHERE import_id = $1`, id).Scan(&kept); err != nil {
		return err
	}
	failed = failed[:min(len(failed), max(0, maxReasons-kept))]
	lines, texts := make([]int, len(failed)), [4][]string{} // reason, field, form, arguments
	for i, e := range failed {
		field, form, args := reasonParts(e.Err)
		raw, err := jsonText(args)
		if err != nil {
			return err
		}
		lines[i] = e.Line
		for j, text := range []string{storable(e.Err.Error()), field, form, string(raw)} {
			texts[j] = append(texts[j], text)
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO import_errors (import_id, line, reason, field, form, args)
		SELECT $1, line, reason, field, form, args::jsonb FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[]) u(line, reason, field, form, args)
		ON CONFLICT DO NOTHING`, id, lines, texts[0], texts[1], texts[2], texts[3])
	return err
}

// ImportReasons lists why lines of an import were rejected, in their order.
func (s *Store) ImportReasons(ctx context.Context, id string) ([]*LineError, error) {
	if !isID(id) {
		return nil, fmt.Errorf("import %q: %w", id, ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `SELECT line, reason, field, form, args FROM import_errors WHERE import_id = $1 ORDER BY line`, id)
	if err != nil {
		return nil, wrap(err, "import %s", id)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*LineError, error) {
		var e LineError
		var reason, field, form string
		var args []any
		err := row.Scan(&e.Line, &reason, &field, &form, &args)
		e.Err = storedReason(reason, field, form, args)
		return &e, err
	})
	return list, wrap(err, "import %s", id)
}

// ImportByID returns an import.
func (s *Store) ImportByID(ctx context.Context, id string) (ImportRun, error) {
	if !isID(id) {
		return ImportRun{}, fmt.Errorf("import %q: %w", id, ErrNotFound)
	}
	run, err := s.oneImport(ctx, `WHERE id = $1`, id)
	return run, wrap(err, "import %s", id)
}

// Imports lists a project's imports, newest first.
func (s *Store) Imports(ctx context.Context, projectID string, limit int) ([]ImportRun, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+importColumns+` FROM imports WHERE project_id = $1 ORDER BY id DESC LIMIT $2`, projectID, limit)
	if err != nil {
		return nil, wrap(err, "imports of project %s", projectID)
	}
	list, err := pgx.CollectRows(rows, scanImport)
	return list, wrap(err, "imports of project %s", projectID)
}
