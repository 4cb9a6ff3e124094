package labeling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// settleLines is about how many staged records are settled in one transaction.
const settleLines = 4000

// settler is one such transaction: personal data redacted, exact duplicates and prompts
// that begin alike left out, customers capped and dealt to the splits, and what is left
// written to the tables a set at a time.
type settler struct {
	ctx     context.Context
	tx      pgx.Tx
	store   *Store
	run     ImportRun
	project Project
	items   []*settling
	added   []*settling // prompts that are new
	splits  []string    // theirs
	trusted bool
}

// errStale: lines that were read ahead are no longer staged as they were.
var errStale = errors.New("the staged lines changed")

// settleAll takes the lines of an import out of staging, chunk by chunk. The next chunk is read and prepared while one is
// written.
func (s *Store) settleAll(ctx context.Context, id string) error {
	trusted := s.mayTrust(ctx)
	type read struct {
		items []*settling
		err   error
	}
	ahead := make(chan read, 1)
	next := func(after int) {
		items, err := s.staged(ctx, id, after)
		ahead <- read{items, err}
	}
	go next(0)
	for {
		r := <-ahead
		if r.err != nil {
			return r.err
		}
		n := len(r.items)
		if n > 0 {
			go next(r.items[n-1].line)
		}
		more, err := s.settleOnce(ctx, id, r.items, trusted)
		for try := 0; try < 5 && (violates(err, "prompts_project_id_hash_key") || deadlocked(err) || errors.Is(err, errStale)); try++ {
			more, err = s.settle(ctx, id)
		}
		if err != nil || !more {
			if n > 0 {
				<-ahead
			}
			return err
		}
		if n == 0 { // more came meanwhile
			go next(0)
		}
	}
}

// settle takes the next lines of an import out of staging. more is false when it is done.
func (s *Store) settle(ctx context.Context, id string) (more bool, err error) {
	items, err := s.staged(ctx, id, 0)
	if err != nil {
		return false, err
	}
	return s.settleOnce(ctx, id, items, s.mayTrust(ctx))
}

// staged reads the next whole lines behind one, and prepares them.
func (s *Store) staged(ctx context.Context, id string, after int) ([]*settling, error) {
	rows, err := s.pool.Query(ctx, `SELECT line, part, kind, hash, body FROM import_rows WHERE import_id = $1 AND line > $2
		AND line <= (SELECT max(line) FROM (SELECT line FROM import_rows WHERE import_id = $1 AND line > $2 ORDER BY line, part LIMIT $3) q) ORDER BY line, part`,
		id, after, settleLines)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*settling, error) {
		var kind int16
		var hash []byte
		it := &settling{}
		err := row.Scan(&it.line, &it.part, &kind, &hash, &it.body)
		if err == nil {
			it.kind, it.hash = Kind(kind), [32]byte(hash)
		}
		return it, err
	})
	if err != nil {
		return nil, err
	}
	return list, prepareAll(list)
}

// mayTrust tells whether this database user may spare the triggers of a transaction, as superusers may and whom they let
// (GRANT SET ON PARAMETER session_replication_role). What a settler writes refers to rows that it writes too or has locked,
// so foreign keys are checked for nothing, twelve lookups a ranking; other users pay for them.
func (s *Store) mayTrust(ctx context.Context) bool {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`)
		return err
	}) == nil
}

func (s *Store) settleOnce(ctx context.Context, id string, items []*settling, trusted bool) (more bool, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		t := &settler{ctx: ctx, tx: tx, store: s, items: items, trusted: trusted}
		rows, err := tx.Query(ctx, `SELECT `+importColumns+` FROM imports WHERE id = $1 FOR UPDATE`, id)
		if err == nil {
			t.run, err = pgx.CollectExactlyOneRow(rows, scanImport)
		}
		if err != nil || t.run.State == "done" || t.run.State == "failed" {
			return err
		}
		if len(items) == 0 {
			var left bool
			if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM import_rows WHERE import_id = $1)`, id).Scan(&left); err != nil || left {
				more = left
				return err
			}
			return t.finish()
		}
		more = true
		return t.work()
	})
	return more, err
}

// work locks the project, as whoever counts customers and names snapshots does, decides what becomes of each record, and
// writes it.
func (t *settler) work() error {
	rows, err := t.tx.Query(t.ctx, `SELECT `+projectColumns+` WHERE p.id = $1 FOR NO KEY UPDATE OF p`, t.run.ProjectID)
	if err != nil {
		return err
	}
	if t.project, err = pgx.CollectExactlyOneRow(rows, scanProject); err != nil {
		return err
	}
	for _, step := range []func() error{t.prompts, t.rankings, t.demonstrations, t.count} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// knownPrompt is a prompt of the project that the chunk meets or makes.
type knownPrompt struct {
	id     string
	usable bool
}

// prompts finds or makes the prompt of every ranking and every prompt that was only asked.
func (t *settler) prompts() error {
	var hashes, prefixes [][]byte
	var customers []string
	for _, it := range t.items {
		if it.rec.Kind == Demonstrated {
			continue
		}
		if it.wrong = it.tooMany(); it.wrong != nil {
			continue
		}
		hashes, customers = append(hashes, it.hash[:]), append(customers, it.rec.Customer)
		if it.prefix != nil {
			prefixes = append(prefixes, it.prefix)
		}
	}
	known, err := knownPrompts(t.ctx, t.tx, t.project.ID, hashes, lockRows)
	if err != nil {
		return err
	}
	alike, err := alikePrompts(t.ctx, t.tx, t.project.ID, prefixes)
	if err != nil {
		return err
	}
	deal := dealer{project: t.project}
	if err := deal.load(t.ctx, t.tx, customers, lockRows); err != nil {
		return err
	}
	for _, it := range t.items {
		if it.rec.Kind == Demonstrated || it.wrong != nil {
			continue
		}
		if p, ok := known[it.hash]; ok {
			if it.prompt = p.id; !p.usable {
				it.wrong = errWithdrawn()
			}
			continue
		}
		if it.rec.Kind == Asked && it.prefix != nil && alike[string(it.prefix)] {
			continue // a duplicate
		}
		split, err := deal.split(it)
		if err != nil {
			it.wrong = err
			continue
		}
		if it.prompt, err = newID(); err != nil {
			return err
		}
		it.fresh = it.rec.Kind == Asked
		known[it.hash] = knownPrompt{it.prompt, true}
		alike[string(it.prefix)] = it.prefix != nil
		t.added, t.splits = append(t.added, it), append(t.splits, split)
	}
	return deal.save(t)
}

// lockRows keeps rows as they are read until the transaction ends.
const lockRows = ` ORDER BY 1, 2 FOR NO KEY UPDATE`

func knownPrompts(ctx context.Context, q querier, project string, hashes [][]byte, lock string) (map[[32]byte]knownPrompt, error) {
	known := map[[32]byte]knownPrompt{}
	rows, err := q.Query(ctx, `SELECT hash, id, usable FROM prompts WHERE project_id = $1 AND hash = ANY($2)`+lock, project, hashes)
	if err != nil {
		return nil, err
	}
	var hash []byte
	var p knownPrompt
	_, err = pgx.ForEachRow(rows, []any{&hash, &p.id, &p.usable}, func() error {
		known[[32]byte(hash)] = p
		return nil
	})
	return known, err
}

// alikePrompts tells which beginnings are taken.
func alikePrompts(ctx context.Context, q querier, project string, prefixes [][]byte) (map[string]bool, error) {
	alike := map[string]bool{}
	rows, err := q.Query(ctx, `SELECT DISTINCT prefix FROM prompts WHERE project_id = $1 AND prefix = ANY($2)`, project, prefixes)
	if err != nil {
		return nil, err
	}
	var prefix []byte
	_, err = pgx.ForEachRow(rows, []any{&prefix}, func() error {
		alike[string(prefix)] = true
		return nil
	})
	return alike, err
}

// addPrompts writes new prompts, with the number of their tasks.
func (t *settler) addPrompts() error {
	err := t.copy("prompts", []string{"id", "project_id", "hash", "messages", "text", "token_ids", "tokenizer_digest", "origin", "customer_id", "consent", "split", "tasks", "prefix"},
		len(t.added), func(b copyRow, i int) copyRow {
			it := t.added[i]
			digest := ""
			if len(it.rec.PromptIDs) > 0 {
				digest = it.rec.Tokenizer
			}
			b = b.uuid(it.prompt).uuid(t.project.ID).bytes(it.hash[:]).jsonb(func(b []byte) []byte { return appendMessages(b, it.messages) }).text(it.text())
			return b.int4s(it.rec.PromptIDs).text(digest).text(OriginImport).textOrNull(it.rec.Customer).bool(false).text(t.splits[i]).int4(it.tasks).bytes(it.prefix)
		})
	if err != nil {
		return err
	}
	err = t.copy("prompt_sources", []string{"prompt_id", "origin", "customer_id", "consent"}, len(t.added), func(b copyRow, i int) copyRow {
		return b.uuid(t.added[i].prompt).text(OriginImport).text(t.added[i].rec.Customer).bool(false)
	})
	if err != nil {
		return err
	}
	found := slices.DeleteFunc(slices.Clone(t.added), func(it *settling) bool { return it.finds == nil })
	return t.redacted("prompt", len(found), func(i int) (string, []Find, any) { return found[i].prompt, found[i].finds, found[i].was })
}

// redacted notes what was found in things that are new.
func (t *settler) redacted(subject string, n int, of func(i int) (id string, finds []Find, was any)) error {
	type row struct {
		id, subject string
		finds, was  []byte
		state       string
	}
	list := make([]row, n)
	for i := range list {
		subject, finds, was := of(i)
		r := row{subject: subject, state: "open"}
		var err error
		if r.id, err = newID(); err == nil {
			r.finds, err = jsonText(finds)
		}
		switch {
		case err != nil:
		case was == nil:
			r.state = "confirmed" // the original is in the file alone
		default:
			r.was, err = jsonText(was)
		}
		if err != nil {
			return err
		}
		list[i] = r
	}
	raw := func(v []byte) func([]byte) []byte { return func(b []byte) []byte { return append(b, v...) } }
	return t.copy("redactions", []string{"id", "project_id", "subject", "subject_id", "finds", "original", "state"}, n, func(b copyRow, i int) copyRow {
		r := list[i]
		if b = b.uuid(r.id).uuid(t.project.ID).text(subject).uuid(r.subject).jsonb(raw(r.finds)); r.was == nil {
			return b.null().text(r.state)
		}
		return b.jsonb(raw(r.was)).text(r.state)
	})
}

func (t *settler) copy(table string, columns []string, n int, row func(b copyRow, i int) copyRow) error {
	if n == 0 {
		return nil
	}
	_, err := t.tx.Conn().PgConn().CopyFrom(t.ctx, newCopyReader(n, len(columns), row), `COPY `+table+` (`+strings.Join(columns, ", ")+`) FROM STDIN BINARY`)
	if err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	return nil
}

// trust spares the triggers of what write writes, where that is allowed: see mayTrust.
func (t *settler) trust(write func() error) error {
	if !t.trusted {
		return write()
	}
	if _, err := t.tx.Exec(t.ctx, `SET LOCAL session_replication_role = replica`); err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	_, err := t.tx.Exec(t.ctx, `SET LOCAL session_replication_role = origin`)
	return err
}

// count moves the import's counters, keeps the reasons, and takes the lines out of staging.
func (t *settler) count() error {
	var imported, duplicates, redacted int
	var failed []*LineError
	for at := 0; at < len(t.items); {
		end := at
		for end < len(t.items) && t.items[end].line == t.items[at].line {
			if t.items[end].finds != nil || t.items[end].answers != nil {
				redacted++
			}
			end++
		}
		i, d, wrong := outcome(t.items[at:end])
		if imported, duplicates = imported+i, duplicates+d; wrong != nil {
			failed = append(failed, &LineError{t.items[at].line, wrong})
		}
		at = end
	}
	if err := noteErrors(t.ctx, t.tx, t.run.ID, failed); err != nil {
		return err
	}
	first, last := t.items[0].line, t.items[len(t.items)-1].line
	tag, err := t.tx.Exec(t.ctx, `DELETE FROM import_rows WHERE import_id = $1 AND line BETWEEN $2 AND $3`, t.run.ID, first, last)
	if err == nil && tag.RowsAffected() != int64(len(t.items)) { // somebody else settled them, or an erasure took some
		err = errStale
	}
	if err == nil {
		err = audit(t.ctx, t.tx, t.run.Actor, "labeling.import_settled", t.run.ID, map[string]any{"lines": []int{first, last},
			"imported": imported, "duplicates": duplicates, "rejected": len(failed), "redacted": redacted})
	}
	if err != nil {
		return err
	}
	_, err = t.tx.Exec(t.ctx, `UPDATE imports SET imported = imported + $2, duplicates = duplicates + $3, rejected = rejected + $4, redacted = redacted + $5,
		worked_at = now() WHERE id = $1`, t.run.ID, imported, duplicates, len(failed), redacted)
	return err
}

// finish ends an import whose lines are all settled.
func (t *settler) finish() error {
	if t.run.State != "settling" {
		return nil
	}
	state := "done"
	if t.run.Error != "" {
		state = "failed"
	}
	detail := map[string]any{"import": t.run.ID, "project": t.run.ProjectID, "name": t.run.Name, "state": state, "format": t.run.Format, "read": t.run.Read,
		"imported": t.run.Imported, "duplicates": t.run.Duplicates, "rejected": t.run.Rejected}
	if _, err := t.tx.Exec(t.ctx, `UPDATE imports SET state = $2, finished_at = now(), worked_at = now() WHERE id = $1`, t.run.ID, state); err != nil {
		return err
	}
	if err := Emit(t.ctx, t.tx, "import.finished", detail); err != nil {
		return err
	}
	return audit(t.ctx, t.tx, t.run.Actor, "labeling.import_finished", t.run.ID, detail)
}

// importedLabeler is the name under which a labeler of a file is known; one that was
// exported from here keeps it.
func importedLabeler(name string) string { return imported + strings.TrimPrefix(name, imported) }
