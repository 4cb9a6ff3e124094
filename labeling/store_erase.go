package labeling

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Subject is the person to erase, or what is traced through the snapshots: a customer with what it brought and said of answers, or
// a labeler with what that one wrote and ranked. Part of what a customer brought is a subject of erasures too (see PartOf), a single
// ranking one of tracing.
type Subject struct {
	Kind string `json:"kind"` // SubjectCustomer, SubjectLabeler or SubjectRanking; for erasures also completion | user | source
	ID   string `json:"id"`
}

func (s Subject) String() string { return s.Kind + ":" + s.ID }

// ErasureReport says what an erasure took, or in a dry run would take.
type ErasureReport struct {
	ID        string         `json:"id"`
	Subject   Subject        `json:"subject"`
	At        time.Time      `json:"at"`
	Rows      map[string]int `json:"rows"`      // deleted, by table
	Snapshots []Touched      `json:"snapshots"` // that held some of them
	Models    []Touched      `json:"models"`    // that learned from these
	DryRun    bool           `json:"dry_run,omitempty"`
	Digest    string         `json:"-"` // sha256 of the report as JSON, hex; stored with it
	SignedBy  string         `json:"-"` // the public key whose signature is stored with it; empty in a dry run
}

// RetrainFrom is the first round that learned from what is gone: what it and later ones made is to be trained again. ok is false where
// no round did.
func (r ErasureReport) RetrainFrom() (first Touched, ok bool) {
	for _, m := range r.Models {
		if m.Round > 0 && (!ok || m.Round < first.Round) {
			first, ok = m, true
		}
	}
	return first, ok
}

// Erasing is what others add to an erasure, in its transaction.
type Erasing struct {
	// Taint marks what learned from the snapshots, and says what that is; nil: nothing does.
	Taint func(ctx context.Context, tx pgx.Tx, snapshots []string, reason string) ([]Touched, error)
	Key   ed25519.PrivateKey // signs the report; nil: nobody does
}

// Touched is a snapshot or model version that consumed what was erased.
type Touched struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Rankings int    `json:"rankings,omitempty"`
	Round    int    `json:"round,omitempty"`    // of a model: the number of the round that made it; 0: none did
	RoundID  string `json:"round_id,omitempty"` // likewise
}

var errDryRun = errors.New("dry run")

// Erase deletes a person's rows in one transaction: prompts with all that hangs on them,
// or rankings, comments, drafts, demonstrations; in every table that names the person or
// refers to such rows. Tasks that lose a ranking are open again; snapshots that lose rows
// are marked, and so is what learned from them. With dry the same is done and taken back,
// so that the report is exact. The audit row and the report hold ids and numbers, no text.
// ErrNotFound: there is nothing of that person.
func (s *Store) Erase(ctx context.Context, subject Subject, actor string, dry bool, with Erasing) (ErasureReport, error) {
	r := ErasureReport{Subject: subject, Rows: map[string]int{}, DryRun: dry, Snapshots: []Touched{}, Models: []Touched{}}
	erase, err := subject.eraser()
	if err == nil {
		err = CheckText("subject", subject.ID)
	}
	if err == nil {
		r.ID, err = newID()
	}
	if err != nil {
		return r, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `INSERT INTO erasures (id, subject, actor) VALUES ($1, $2, $3) RETURNING created_at`, r.ID, subject.String(), actor).Scan(&r.At); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT set_config('rankloop.erasure', $1, true)`, r.ID); err != nil {
			return err
		}
		e := &eraser{ctx: ctx, tx: tx, gone: map[string]map[string]bool{}, rows: r.Rows, snapshots: map[string]int{}}
		if err := erase(e); err != nil {
			return err
		}
		if len(r.Rows) == 0 {
			return ErrNotFound
		}
		if subject.Kind == "labeler" { // figures name people; they are computed anew
			for _, table := range []string{"labeling_stats", "labeling_sums", "labeling_figures"} {
				if _, err := tx.Exec(ctx, `DELETE FROM `+table); err != nil {
					return err
				}
			}
		}
		return s.mark(ctx, tx, &r, e.snapshots, actor, with)
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return r, wrap(err, "erase %s", subject)
}

// mark notes the snapshots and models touched, and the report itself.
func (s *Store) mark(ctx context.Context, tx pgx.Tx, r *ErasureReport, snapshots map[string]int, actor string, with Erasing) error {
	var ids []string
	for id, n := range snapshots {
		t := Touched{ID: id, Rankings: n}
		if err := tx.QueryRow(ctx, `SELECT name FROM snapshots WHERE id = $1`, id).Scan(&t.Name); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO snapshot_taints (snapshot_id, erasure_id, rankings) VALUES ($1, $2, $3)`, id, r.ID, n); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM exports WHERE snapshot_id = $1`, id); err != nil {
			return err
		}
		r.Snapshots, ids = append(r.Snapshots, t), append(ids, id)
	}
	slices.SortFunc(r.Snapshots, func(a, b Touched) int { return strings.Compare(a.ID, b.ID) })
	if with.Taint != nil && len(ids) > 0 {
		models, err := with.Taint(ctx, tx, ids, "erasure "+r.ID)
		if err != nil {
			return err
		}
		r.Models = append(r.Models, models...)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	r.Digest = hex.EncodeToString(sum[:])
	if r.DryRun {
		return errDryRun
	}
	signature := ""
	if with.Key != nil {
		signature, r.SignedBy = SignErasure(with.Key, text)
	}
	if _, err := tx.Exec(ctx, `UPDATE erasures SET report = $2, digest = $3, signature = $4, signed_by = $5 WHERE id = $1`,
		r.ID, string(text), r.Digest, signature, r.SignedBy); err != nil {
		return err
	}
	return audit(ctx, tx, actor, "labeling.erase", r.Subject.String(), map[string]any{"erasure": r.ID, "digest": r.Digest, "signed_by": r.SignedBy, "rows": r.Rows})
}

// eraser deletes rows and, before them, the rows that refer to them.
type eraser struct {
	ctx       context.Context
	tx        pgx.Tx
	gone      map[string]map[string]bool // ids by table, deleted or about to be
	rows      map[string]int
	snapshots map[string]int // rankings lost
}

// person deletes what names somebody in the given column, whichever room's table it is.
func (e *eraser) person(column, id string) error {
	if column == "labeler_id" {
		if err := e.reopen(id); err != nil {
			return err
		}
	}
	tables, err := e.list(`SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.column_name = $1 AND c.data_type IN ('text', 'uuid') AND c.table_name <> 'api_keys' ORDER BY c.table_name`, column) // keys and what was counted stay
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err := e.where(table, pgx.Identifier{column}.Sanitize()+`::text = $1`, id); err != nil {
			return err
		}
	}
	if column == "customer_id" { // what is on its way into the tables
		return e.where("import_rows", `body::jsonb ->> 'customer' = $1`, id)
	}
	return nil
}

func (e *eraser) list(sql string, args ...any) ([]string, error) {
	rows, err := e.tx.Query(e.ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// reopen gives the slots of a labeler's work back. What came from a file or from a customer has no slot: its
// tasks need one ranking less, and those that need none go.
func (e *eraser) reopen(labeler string) error {
	if outside(labeler) {
		alone, err := e.list(`SELECT t.id::text FROM tasks t JOIN assignments a ON a.task_id = t.id WHERE a.labeler_id = $1 AND t.need <= 1 ORDER BY t.id`, labeler)
		if err != nil {
			return err
		}
		if _, err := e.tx.Exec(e.ctx, `UPDATE prompts p SET tasks = p.tasks - u.n FROM (SELECT prompt_id, count(*) n FROM tasks WHERE id = ANY($1::uuid[]) GROUP BY prompt_id) u
			WHERE p.id = u.prompt_id`, alone); err != nil {
			return err
		}
		if err := e.where("tasks", `id = ANY($1::uuid[])`, alone); err != nil {
			return err
		}
		_, err = e.tx.Exec(e.ctx, `UPDATE tasks t SET need = need - 1, done = done - 1 FROM assignments a WHERE a.task_id = t.id AND a.labeler_id = $1`, labeler)
		return err
	}
	_, err := e.tx.Exec(e.ctx, `UPDATE tasks t SET open_slots = open_slots + (purpose = 'work')::int, need = need - (purpose <> 'work')::int, done = done - CASE WHEN a.state = 'leased' THEN 0 ELSE 1 END, position = nextval('task_position')
		FROM assignments a WHERE a.task_id = t.id AND a.labeler_id = $1 AND NOT a.surplus AND a.state IN ('leased', 'submitted', 'reopened')`, labeler)
	return err
}

// where deletes rows of a table after all that refers to them.
func (e *eraser) where(table, condition string, arg any) error {
	name := pgx.Identifier{table}.Sanitize()
	var hasID bool
	if err := e.tx.QueryRow(e.ctx, `SELECT EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1 AND column_name = 'id')`, table).Scan(&hasID); err != nil {
		return err
	}
	if hasID {
		ids, err := e.list(`SELECT id::text FROM `+name+` WHERE `+condition, arg)
		if err != nil {
			return err
		}
		if e.gone[table] == nil {
			e.gone[table] = map[string]bool{}
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return e.gone[table][id] })
		if len(ids) == 0 {
			return nil
		}
		for _, id := range ids {
			e.gone[table][id] = true
		}
		if err := e.children(table, ids); err != nil {
			return err
		}
		condition, arg = `id::text = ANY($1)`, any(ids)
	}
	if table == "snapshot_items" {
		return e.items(condition, arg)
	}
	tag, err := e.tx.Exec(e.ctx, `DELETE FROM `+name+` WHERE `+condition, arg)
	if n := int(tag.RowsAffected()); n > 0 {
		e.rows[table] += n
	}
	return err
}

// children deletes what refers to rows of a table, by foreign key or, in the tables that
// keep an id without one, by name.
func (e *eraser) children(table string, ids []string) error {
	refs, err := e.list(`SELECT c.conrelid::regclass::text || ' ' || a.attname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
		WHERE c.contype = 'f' AND c.confrelid = $1::regclass AND cardinality(c.conkey) = 1 ORDER BY 1`, table)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		child, column, _ := strings.Cut(ref, " ")
		if err := e.where(child, pgx.Identifier{column}.Sanitize()+`::text = ANY($1)`, ids); err != nil {
			return err
		}
	}
	if table == "prompts" {
		if err := e.examples(ids); err != nil {
			return err
		}
	}
	switch table {
	case "prompts", "responses", "demonstrations":
		return e.where("redactions", `subject = '`+strings.TrimSuffix(table, "s")+`' AND subject_id::text = ANY($1)`, ids)
	case "assignments":
		_, err = e.tx.Exec(e.ctx, `UPDATE labelers SET last_assignment = NULL WHERE last_assignment::text = ANY($1)`, ids)
	}
	return err
}

// examples takes prompts, with what policies answered to them, out of the reports of rounds. Older reports know them by their text.
// A report that is being written has the prompts held (HoldPrompts); one that begins after this finds them gone.
func (e *eraser) examples(prompts []string) error {
	if _, err := e.tx.Exec(e.ctx, `SELECT FROM prompts WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`, prompts); err != nil {
		return err
	}
	const gone = `(x ->> 'prompt_id' = ANY($1) OR x ->> 'prompt_id' IS NULL AND x ->> 'prompt' IN (SELECT text FROM prompts WHERE id::text = ANY($1)))`
	const all = `jsonb_array_elements(CASE jsonb_typeof(report -> 'examples') WHEN 'array' THEN report -> 'examples' ELSE '[]' END)`
	lost, err := e.list(`SELECT id::text FROM rounds, `+all+` x WHERE `+gone, prompts)
	if err != nil || len(lost) == 0 {
		return err
	}
	e.rows["round_examples"] += len(lost)
	_, err = e.tx.Exec(e.ctx, `UPDATE rounds SET report = jsonb_set(report, '{examples}',
		(SELECT coalesce(jsonb_agg(x ORDER BY n), '[]') FROM `+all+` WITH ORDINALITY AS e (x, n) WHERE NOT coalesce(`+gone+`, false))) WHERE id::text = ANY($2)`, prompts, lost)
	return err
}

// items takes rows out of snapshots and counts them.
func (e *eraser) items(condition string, arg any) error {
	lost, err := e.list(`DELETE FROM snapshot_items WHERE `+condition+` RETURNING snapshot_id::text`, arg)
	for _, id := range lost {
		e.snapshots[id]++
		e.rows["snapshot_items"]++
	}
	return err
}

// Erasures lists the reports of the last erasures, newest first.
func (s *Store) Erasures(ctx context.Context, limit int) ([]ErasureReport, error) {
	return s.erasures(ctx, `ORDER BY id DESC LIMIT $1`, limit)
}

func (s *Store) erasures(ctx context.Context, which string, args ...any) ([]ErasureReport, error) {
	rows, err := s.pool.Query(ctx, `SELECT report, digest, signed_by FROM erasures `+which, args...)
	if err != nil {
		return nil, fmt.Errorf("erasures: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r ErasureReport, err error) {
		var digest, by string
		err = row.Scan(&r, &digest, &by)
		r.Digest, r.SignedBy = digest, by
		return r, err
	})
}

// Erasure is the report of one erasure.
func (s *Store) Erasure(ctx context.Context, id string) (ErasureReport, error) {
	if !isID(id) {
		return ErasureReport{}, fmt.Errorf("erasure %q: %w", id, ErrNotFound)
	}
	list, err := s.erasures(ctx, `WHERE id = $1`, id)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return ErasureReport{}, wrap(err, "erasure %s", id)
	}
	return list[0], nil
}

// SignedErasure is the report of an erasure with its signature. ErrConflict: it was made when reports were not signed.
func (s *Store) SignedErasure(ctx context.Context, id string) (d SignedErasure, err error) {
	if !isID(id) {
		return d, fmt.Errorf("erasure %q: %w", id, ErrNotFound)
	}
	d = SignedErasure{Format: erasureFormat, Algorithm: "ed25519"}
	err = s.pool.QueryRow(ctx, `SELECT report::text, digest, signed_by, signature FROM erasures WHERE id = $1`, id).Scan(&d.Report, &d.SHA256, &d.Key, &d.Signature)
	if err == nil && d.Signature == "" {
		err = fmt.Errorf("%w: the report is older than signatures; its sha256 stands in the audit log", ErrConflict)
	}
	return d, wrap(err, "report of erasure %s", id)
}
