package labeling

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"

	"github.com/jackc/pgx/v5"
)

// counted is the condition under which assignment a of task t is learned from. Tasks that measure labelers are not.
const counted = `a.ranking_id IS NOT NULL AND NOT a.surplus AND t.purpose = 'work' AND NOT t.hidden AND t.held = ''`

// Snapshot freezes the rankings that match the filter, in the caller's transaction: an
// immutable list, ordered by task and labeler, under the sha256 of its content. The
// same rankings give the same hash. ErrEmpty if nothing matches; ErrConflict if the
// name is taken in this project.
func (s *Store) Snapshot(ctx context.Context, tx pgx.Tx, projectID string, f SnapshotFilter) (Snapshot, error) {
	snap := Snapshot{ProjectID: projectID, Name: f.Name}
	if err := CheckText("name", f.Name); err != nil {
		return snap, err
	}
	for i, s := range f.Without {
		if err := s.Check(fmt.Sprintf("without/%d", i)); err != nil {
			return snap, err
		}
	}
	if !isID(projectID) {
		return snap, fmt.Errorf("snapshot of project %q: %w", projectID, ErrNotFound)
	}
	snap, err := snapshot(ctx, tx, snap, f)
	return snap, wrap(err, "snapshot of project %s", projectID)
}

// MakeSnapshot is Snapshot as an act of its own.
func (s *Store) MakeSnapshot(ctx context.Context, projectID string, f SnapshotFilter, actor string) (snap Snapshot, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if snap, err = s.Snapshot(ctx, tx, projectID, f); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "labeling.snapshot", snap.ID, map[string]any{"name": snap.Name, "hash": snap.Hash, "rankings": snap.N})
	})
	return snap, err
}

func snapshot(ctx context.Context, tx pgx.Tx, snap Snapshot, f SnapshotFilter) (Snapshot, error) {
	// Names and numbers are given one at a time; labelers' work is not held up by it.
	if _, err := tx.Exec(ctx, `SELECT FROM projects WHERE id = $1 FOR NO KEY UPDATE`, snap.ProjectID); err != nil {
		return snap, err
	}
	items, err := matching(ctx, tx, snap.ProjectID, f)
	if err != nil {
		return snap, err
	}
	if len(items) == 0 {
		return snap, ErrEmpty
	}
	if snap.ID, err = newID(); err != nil {
		return snap, err
	}
	if snap.Name == "" {
		if err := tx.QueryRow(ctx, `SELECT 'snapshot ' || count(*) + 1 FROM snapshots WHERE project_id = $1`, snap.ProjectID).Scan(&snap.Name); err != nil {
			return snap, err
		}
	}
	snap.N = len(items)
	if snap.Prompts, snap.Hash, err = digest(ctx, tx, items); err != nil {
		return snap, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO snapshots (id, project_id, name, hash, filter, n, prompts) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (project_id, name) DO NOTHING RETURNING created_at`,
		snap.ID, snap.ProjectID, snap.Name, snap.Hash, f, snap.N, snap.Prompts).Scan(&snap.CreatedAt)
	if err == pgx.ErrNoRows {
		return snap, fmt.Errorf("%w: there is a snapshot %q", ErrConflict, snap.Name)
	}
	if err != nil {
		return snap, err
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"snapshot_items"}, []string{"snapshot_id", "position", "task_id", "ranking_id", "split", "customer_id"},
		pgx.CopyFromSlice(len(items), func(i int) ([]any, error) {
			return []any{snap.ID, i, items[i].Task, items[i].Ranking, items[i].Split, items[i].Customer}, nil
		}))
	if err != nil {
		return snap, err
	}
	return snap, Emit(ctx, tx, "snapshot.created", map[string]any{"snapshot": snap.ID, "project": snap.ProjectID, "name": snap.Name, "hash": snap.Hash, "rankings": snap.N})
}

// item is a ranking that a snapshot may hold.
type item struct{ Task, Ranking, Split, Customer string }

// matching are the rankings that count and match a filter, by task and labeler.
func matching(ctx context.Context, q querier, projectID string, f SnapshotFilter) ([]item, error) {
	rows, err := q.Query(ctx, `
		SELECT t.id, a.ranking_id, p.split, coalesce(p.customer_id, '')
		FROM assignments a JOIN tasks t ON t.id = a.task_id JOIN prompts p ON p.id = t.prompt_id
		WHERE t.project_id = $1 AND `+counted+` AND p.usable
			AND (cardinality($2::text[]) = 0 OR t.batch = ANY($2)) AND (cardinality($3::text[]) = 0 OR p.split = ANY($3))
			AND a.labeler_id <> ALL($4) AND coalesce(p.customer_id, '') <> ALL($5) AND a.ranking_id::text <> ALL($6)
		ORDER BY t.id, a.labeler_id`, projectID, orEmpty(f.Batches), orEmpty(f.Splits),
		without(f.Without, SubjectLabeler), without(f.Without, SubjectCustomer), without(f.Without, SubjectRanking))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[item])
}

// digest counts the ranked prompts that the items are, and returns their ContentHash. It holds few of them at a time.
func digest(ctx context.Context, q querier, items []item) (prompts int, hash string, err error) {
	h := newContentHasher()
	for len(items) > 0 {
		end := min(len(items), exportStep)
		for end < len(items) && items[end].Task == items[end-1].Task { // what is of one task is hashed as one
			end++
		}
		list, err := gather(ctx, q, items[:end])
		if err != nil {
			return 0, "", err
		}
		for _, p := range list {
			if err := h.add(p); err != nil {
				return 0, "", err
			}
		}
		prompts, items = prompts+len(list), items[end:]
	}
	return prompts, h.sum(), nil
}

// gather reads items with their prompts and answers, by task.
func gather(ctx context.Context, q querier, items []item) ([]RankedPrompt, error) {
	ids, splits, customers := make([]string, len(items)), make([]string, len(items)), make([]string, len(items))
	for i, it := range items {
		ids[i], splits[i], customers[i] = it.Ranking, it.Split, it.Customer
	}
	return rankedPrompts(ctx, q, `unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY i(ranking_id, split, customer_id, position)`,
		ids, splits, customers)
}

// BatchItems are the rankings of a batch that count at this moment, as a snapshot of the batch would hold them. An empty list where
// there are none.
func (s *Store) BatchItems(ctx context.Context, projectID, batch string) ([]RankedPrompt, error) {
	items, err := matching(ctx, s.pool, projectID, SnapshotFilter{Batches: []string{batch}})
	if err != nil {
		return nil, wrap(err, "items of batch %q", batch)
	}
	list, err := gather(ctx, s.pool, items)
	return list, wrap(err, "items of batch %q", batch)
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// ContentHash is the sha256 (hex) of ranked prompts in their canonical form: one JSON
// object a line, fields in the order of the types here, no HTML escapes.
func ContentHash(list []RankedPrompt) (string, error) {
	h := newContentHasher()
	for _, p := range list {
		if err := h.add(p); err != nil {
			return "", err
		}
	}
	return h.sum(), nil
}

// contentHasher is ContentHash of prompts that come one after the other.
type contentHasher struct {
	h   hash.Hash
	enc *json.Encoder
}

func newContentHasher() contentHasher {
	h := sha256.New()
	enc := json.NewEncoder(h)
	enc.SetEscapeHTML(false)
	return contentHasher{h, enc}
}

func (c contentHasher) add(p RankedPrompt) error { return c.enc.Encode(p) }

func (c contentHasher) sum() string { return hex.EncodeToString(c.h.Sum(nil)) }

const snapshotColumns = `s.id, s.project_id, s.name, s.hash, s.n, s.prompts, s.created_at,
	(SELECT coalesce(sum(t.rankings), 0)::int FROM snapshot_taints t WHERE t.snapshot_id = s.id)`

// SnapshotByID returns what is known of a snapshot.
func (s *Store) SnapshotByID(ctx context.Context, id string) (Snapshot, error) {
	var v Snapshot
	if !isID(id) {
		return v, fmt.Errorf("snapshot %q: %w", id, ErrNotFound)
	}
	err := s.pool.QueryRow(ctx, `SELECT `+snapshotColumns+` FROM snapshots s WHERE id = $1`, id).
		Scan(&v.ID, &v.ProjectID, &v.Name, &v.Hash, &v.N, &v.Prompts, &v.CreatedAt, &v.Erased)
	return v, wrap(err, "snapshot %s", id)
}

// SnapshotItems returns a snapshot's content in its fixed order. Content that no longer
// has the snapshot's hash is refused, and so is what has lost rows to an erasure.
func (s *Store) SnapshotItems(ctx context.Context, id string) ([]RankedPrompt, error) {
	snap, err := s.SnapshotByID(ctx, id)
	if err != nil {
		return nil, err
	}
	if snap.Erased > 0 {
		return nil, fmt.Errorf("items of snapshot %s: %w: %d rankings; make a new snapshot", id, ErrErased, snap.Erased)
	}
	list, err := rankedPrompts(ctx, s.pool, `snapshot_items i WHERE i.snapshot_id = $1`, id)
	if err != nil {
		return nil, wrap(err, "items of snapshot %s", id)
	}
	hash, err := ContentHash(list)
	if err == nil && hash != snap.Hash {
		err = fmt.Errorf("content has hash %s, the snapshot %s", hash, snap.Hash)
	}
	return list, wrap(err, "items of snapshot %s", id)
}

// rankedPrompts reads rankings, given as a table i(ranking_id, split, customer_id,
// position) in the order of tasks, and gathers them by task.
func rankedPrompts(ctx context.Context, q querier, from string, args ...any) ([]RankedPrompt, error) {
	rows, err := q.Query(ctx, `
		SELECT k.task_id, t.prompt_id, p.text, p.messages, p.token_ids, p.tokenizer_digest, i.customer_id, i.split, k.id, k.labeler_id, k.ranks,
			k.strength, k.text, CASE WHEN k.ranks = '{1}' AND k.text = '' THEN ARRAY(SELECT g.rating FROM ratings g WHERE g.ranking_id = k.id AND g.rating > 0) END
		FROM (SELECT i.ranking_id, i.split, i.customer_id, i.position FROM `+from+`) i
		JOIN rankings k ON k.id = i.ranking_id JOIN tasks t ON t.id = k.task_id JOIN prompts p ON p.id = t.prompt_id
		ORDER BY i.position`, args...)
	if err != nil {
		return nil, err
	}
	var list []RankedPrompt
	var tasks []string
	var p RankedPrompt
	var k LabelerRanking
	var text string
	var written []string // the text of each item, "" = only what was sampled
	_, err = pgx.ForEachRow(rows, []any{&p.TaskID, &p.PromptID, &p.Prompt, &p.Messages, &p.PromptIDs, &p.TokenizerDigest, &p.CustomerID, &p.Split,
		&k.RankingID, &k.LabelerID, &k.Ranks, &k.Strength, &text, &k.Ratings}, func() error {
		if n := len(list); n == 0 || list[n-1].TaskID != p.TaskID || text != "" || written[n-1] != "" {
			list, tasks, written = append(list, p), append(tasks, p.TaskID), append(written, text)
		}
		last := &list[len(list)-1]
		last.Rankings = append(last.Rankings, k)
		p, k = RankedPrompt{}, LabelerRanking{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if rows, err = q.Query(ctx, `
		SELECT u.n, r.id, r.text, r.token_ids, r.tokenizer_digest, r.model_version, r.finish
		FROM unnest($1::uuid[]) WITH ORDINALITY u(task_id, n) JOIN responses r ON r.task_id = u.task_id ORDER BY u.n, r.position`, tasks); err != nil {
		return nil, err
	}
	var at int
	var c RankedCompletion
	_, err = pgx.ForEachRow(rows, []any{&at, &c.ResponseID, &c.Text, &c.TokenIDs, &c.TokenizerDigest, &c.ModelVersion, &c.Finish}, func() error {
		list[at-1].Completions = append(list[at-1].Completions, c)
		c = RankedCompletion{}
		return nil
	})
	for i, text := range written {
		if text != "" {
			list[i].Completions = append(list[i].Completions, RankedCompletion{ResponseID: list[i].Rankings[0].RankingID, Text: text, Finish: "stop"})
		}
	}
	return list, err
}

// Snapshots lists a project's snapshots, newest first: at most limit, those made before one ("" = from the newest on).
func (s *Store) Snapshots(ctx context.Context, projectID, before string, limit int) ([]Snapshot, error) {
	if before != "" && !isID(before) {
		return nil, invalid("before", "is not an id")
	}
	rows, err := s.pool.Query(ctx, `SELECT `+snapshotColumns+` FROM snapshots s WHERE project_id = $1 AND ($2 = '' OR id < nullif($2, '')::uuid) ORDER BY id DESC LIMIT $3`, projectID, before, limit)
	if err != nil {
		return nil, wrap(err, "snapshots of project %s", projectID)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Snapshot])
	return list, wrap(err, "snapshots of project %s", projectID)
}

// Agreement says how far the labelers of a batch agree ("" = the tasks of no batch).
// Texts that labelers wrote are left out: each ranks another set.
func (s *Store) Agreement(ctx context.Context, projectID, batch string) (Agreement, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT t.id, k.ranks FROM assignments a JOIN tasks t ON t.id = a.task_id JOIN rankings k ON k.id = a.ranking_id
		WHERE t.project_id = $1 AND t.batch = $2 AND `+counted+` AND cardinality(k.ranks) = t.k ORDER BY t.id, a.labeler_id`, projectID, batch)
	if err != nil {
		return Agreement{}, wrap(err, "agreement in batch %q", batch)
	}
	var tasks [][][]int
	var task, last string
	var ranks []int
	_, err = pgx.ForEachRow(rows, []any{&task, &ranks}, func() error {
		if task != last {
			tasks, last = append(tasks, nil), task
		}
		tasks[len(tasks)-1] = append(tasks[len(tasks)-1], ranks)
		ranks = nil
		return nil
	})
	if err != nil {
		return Agreement{}, wrap(err, "agreement in batch %q", batch)
	}
	return Agree(tasks), nil
}
