package labeling

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Figures are kept by parts: about figuresPart tasks whose ids follow each other, a row of labeling_figures with their sums
// under the last id. What changed since is known from the rankings' times, and for all that no ranking tells (tasks that came,
// were hidden, held or freed, rankings set aside or erased) from labeling_changed, which triggers write. The sums of a part
// that changed are read anew, the project's lose the part's former ones and gain the new.

const (
	figuresPart  = 512
	figuresRange = 100 // parts that one statement reads, where many changed
)

// lastID ends the last part.
const lastID = "ffffffff-ffff-ffff-ffff-ffffffffffff"

// refreshFigures brings the sums of a project up to date and returns them.
func (s *Store) refreshFigures(ctx context.Context, tx pgx.Tx, project string) (*figures, error) {
	// One at a time. The lock is of this transaction, which may be all that two jobs have in common.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('labeling_figures ' || $1, 0))`, project); err != nil {
		return nil, err
	}
	// Whatever commits after this moment began before it or later: its rankings carry the time at which it began.
	var until time.Time
	if err := tx.QueryRow(ctx, `SELECT least(clock_timestamp(), (SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'))`).Scan(&until); err != nil {
		return nil, err
	}
	total := new(figures)
	var raw []byte
	var since time.Time
	err := tx.QueryRow(ctx, `SELECT sums, until FROM labeling_sums WHERE project_id = $1`, project).Scan(&raw, &since)
	known := err == nil
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	if known {
		err = total.decode(raw)
	}
	if err != nil {
		return nil, err
	}
	parts := []string{lastID}
	if known && (total.All.N == 0 || total.Kinds != nil) { // else they are of a release that did not sum by category
		if parts, err = changedParts(ctx, tx, project, since); err != nil {
			return nil, err
		}
	} else {
		total = new(figures)
		for _, table := range []string{"labeling_figures", "labeling_changed"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE project_id = $1`, project); err != nil {
				return nil, err
			}
		}
	}
	if err := s.refreshParts(ctx, tx, project, parts, total); err != nil {
		return nil, err
	}
	if raw, err = total.encode(); err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO labeling_sums (project_id, sums, until) VALUES ($1, $2, $3)
			ON CONFLICT (project_id) DO UPDATE SET sums = excluded.sums, until = excluded.until`, project, raw, until)
	}
	return total, err
}

// changedParts lists the parts, by their last ids in order, in which something changed since.
func changedParts(ctx context.Context, tx pgx.Tx, project string, since time.Time) ([]string, error) {
	rows, err := tx.Query(ctx, `
		WITH gone AS (DELETE FROM labeling_changed WHERE project_id = $1 RETURNING task_id), task AS (
			SELECT task_id FROM gone UNION SELECT task_id FROM rankings WHERE project_id = $1 AND created_at >= $2)
		SELECT DISTINCT (SELECT f.until FROM labeling_figures f WHERE f.project_id = $1 AND f.until >= task_id ORDER BY f.until LIMIT 1)::text AS part
		FROM task ORDER BY part`, pgx.QueryExecModeExec, project, since)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// stretch is a range of ids, after < id <= until, that is read at once, with the ids at which parts of it end.
type stretch struct {
	after, until string
	ends         []string
	was          []string // last ids of the former parts
	sums         []*figures
}

// refreshParts reads parts anew and moves the total.
func (s *Store) refreshParts(ctx context.Context, tx pgx.Tx, project string, parts []string, total *figures) error {
	var list []*stretch
	for _, part := range parts {
		more, err := s.cut(ctx, tx, project, part)
		if err != nil {
			return err
		}
		for _, m := range more {
			if n := len(list); n > 0 && list[n-1].until == m.after && len(list[n-1].ends)+len(m.ends) <= figuresRange {
				last := list[n-1]
				last.until, last.ends, last.was = m.until, append(last.ends, m.ends...), append(last.was, m.was...)
				continue
			}
			list = append(list, m)
		}
	}
	// Two readers, each with a connection of its own: the sums are whole numbers, so it does not matter who is first.
	err := eachAtOnce(list, 2, func(t *stretch) (err error) {
		t.sums, err = s.readStretch(ctx, project, t)
		return err
	})
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	for _, t := range list {
		for _, part := range t.was {
			b.Queue(`DELETE FROM labeling_figures WHERE project_id = $1 AND until = $2 RETURNING sums`, project, part).Query(func(rows pgx.Rows) error {
				list, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
				if err != nil || len(list) == 0 {
					return err
				}
				var old figures
				if err := old.decode(list[0]); err != nil {
					return err
				}
				total.merge(&old, -1)
				return nil
			})
		}
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	type row struct {
		end  string
		sums []byte
	}
	var out []row
	for _, t := range list {
		for i, sums := range t.sums {
			raw, err := sums.encode()
			if err != nil {
				return err
			}
			total.merge(sums, 1)
			out = append(out, row{t.ends[i], raw})
		}
	}
	in := newCopyReader(len(out), 3, func(b copyRow, i int) copyRow { return b.uuid(project).uuid(out[i].end).bytes(out[i].sums) })
	_, err = tx.Conn().PgConn().CopyFrom(ctx, in, `COPY labeling_figures (project_id, until, sums) FROM STDIN BINARY`)
	return err
}

// cut cuts a part that has outgrown its size.
func (s *Store) cut(ctx context.Context, tx pgx.Tx, project, part string) ([]*stretch, error) {
	t := &stretch{until: part}
	if err := tx.QueryRow(ctx, `SELECT coalesce((SELECT until::text FROM labeling_figures WHERE project_id = $1 AND until < $2 ORDER BY until DESC LIMIT 1),
		'00000000-0000-0000-0000-000000000000')`, project, part).Scan(&t.after); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT id::text FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM tasks WHERE project_id = $1 AND id > $2 AND id <= $3) t
		WHERE n % $4 = 0 ORDER BY id`, pgx.QueryExecModeExec, project, t.after, part, cmp.Or(s.part, figuresPart))
	if err != nil {
		return nil, err
	}
	ends, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	if len(ends) == 0 || ends[len(ends)-1] != part {
		if part != lastID && len(ends) > 0 {
			ends[len(ends)-1] = part // what is left over stays with its neighbour
		} else {
			ends = append(ends, part)
		}
	}
	t.was = []string{part}
	var list []*stretch
	for after := t.after; len(ends) > 0; {
		n := min(len(ends), figuresRange)
		list = append(list, &stretch{after: after, until: ends[n-1], ends: slices.Clone(ends[:n])})
		after, ends = ends[n-1], ends[n:]
	}
	list[0].was = t.was
	return list, nil
}

// readStretch sums up the parts of a stretch.
func (s *Store) readStretch(ctx context.Context, project string, t *stretch) ([]*figures, error) {
	sums := make([]*figures, len(t.ends))
	for i := range sums {
		sums[i] = new(figures)
	}
	ends := make([][16]byte, len(t.ends))
	for i, e := range t.ends {
		ends[i] = uuid.MustParse(e)
	}
	at := func(id []byte) *figures {
		i, _ := slices.BinarySearchFunc(ends, id, func(e [16]byte, id []byte) int { return bytes.Compare(e[:], id) })
		return sums[i]
	}
	// CacheDescribe: planned for this very range, with results in the binary format.
	rows, err := s.pool.Query(ctx, `
		SELECT (SELECT e FROM unnest($4::uuid[]) e WHERE e >= t.id ORDER BY e LIMIT 1) AS part,
			count(*) FILTER (WHERE NOT hidden AND held = ''), count(*) FILTER (WHERE NOT hidden AND held = '' AND open_slots = 0 AND done >= need),
			count(*) FILTER (WHERE NOT hidden AND held <> ''), count(*) FILTER (WHERE hidden),
			coalesce(sum(need) FILTER (WHERE NOT hidden AND held = ''), 0)::bigint, coalesce(sum(done) FILTER (WHERE NOT hidden AND held = ''), 0)::bigint
		FROM tasks t WHERE project_id = $1 AND id > $2 AND id <= $3 AND purpose = 'work' GROUP BY part`,
		pgx.QueryExecModeCacheDescribe, project, t.after, t.until, t.ends)
	if err != nil {
		return nil, err
	}
	var part [16]byte
	var n [6]int64
	if _, err = pgx.ForEachRow(rows, []any{&part, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]}, func() error {
		f := at(part[:])
		f.Tasks, f.Complete, f.Held, f.Hidden, f.Need, f.Done = n[0], n[1], n[2], n[3], n[4], n[5]
		return nil
	}); err != nil {
		return nil, err
	}
	return sums, s.eachCounted(ctx, project, t.after, t.until, func(id []byte, task countedTask) { at(id).add(task) })
}

// eachCounted calls f for each task of a range of ids that has a ranking that counts, in their order.
func (s *Store) eachCounted(ctx context.Context, project, after, until string, f func(id []byte, task countedTask)) error {
	rows, err := s.pool.Query(ctx, `
		WITH t AS MATERIALIZED ( -- lengths once a task, not once a ranking
			SELECT tasks.id, k, ARRAY(SELECT length(q.text) FROM responses q WHERE q.task_id = tasks.id ORDER BY q.position) AS lengths,
				coalesce(nullif(p.kind, ''), nullif(p.language, ''), p.origin) AS category -- as Prompt.Category
			FROM tasks JOIN prompts p ON p.id = tasks.prompt_id
			WHERE tasks.project_id = $1 AND tasks.id > $2 AND tasks.id <= $3 AND purpose = 'work' AND done > 0 AND NOT hidden AND held = ''
		)
		SELECT t.id, t.lengths, t.category, a.labeler_id, r.ranks, a.display_order, r.active_ms, r.created_at
		FROM t
		JOIN assignments a ON a.task_id = t.id AND a.ranking_id IS NOT NULL AND NOT a.surplus
		JOIN rankings r ON r.id = a.ranking_id AND cardinality(r.ranks) = t.k AND t.k >= 2 -- one that ranks a text of its own compares with nobody's
		ORDER BY t.id, a.labeler_id`, pgx.QueryExecModeCacheDescribe, project, after, until)
	if err != nil {
		return err
	}
	defer rows.Close()
	var id []byte
	var task countedTask
	names := map[string]string{} // one string a labeler or category, not one a ranking
	one := func(b []byte) string {
		name, ok := names[string(b)]
		if !ok {
			name = string(b)
			names[name] = name
		}
		return name
	}
	for rows.Next() {
		v := rows.RawValues() // read by hand: there are millions
		if !bytes.Equal(id, v[0]) {
			if id != nil {
				f(id, task)
			}
			id, task = bytes.Clone(v[0]), countedTask{lengths: numbers(v[1]), category: one(v[2])}
		}
		task.rankings = append(task.rankings, countedRanking{labelerID: one(v[3]), ranks: numbers(v[4]), order: numbers(v[5]),
			activeMS: int64(binary.BigEndian.Uint64(v[6])), at: time.UnixMicro(int64(binary.BigEndian.Uint64(v[7])) + postgresEpoch)})
	}
	if id != nil {
		f(id, task)
	}
	return rows.Err()
}

// numbers are an array of int2 or int4 in the binary format: dimensions, flags, type, length, lower bound, elements.
func numbers(b []byte) []int {
	if len(b) < 20 {
		return nil
	}
	list := make([]int, binary.BigEndian.Uint32(b[12:]))
	b = b[20:]
	for i := range list {
		switch size := binary.BigEndian.Uint32(b); size {
		case 2:
			list[i] = int(int16(binary.BigEndian.Uint16(b[4:])))
			b = b[6:]
		default:
			list[i] = int(int32(binary.BigEndian.Uint32(b[4:])))
			b = b[8:]
		}
	}
	return list
}

func (f *figures) encode() ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(f)
	return b.Bytes(), err
}

func (f *figures) decode(raw []byte) error {
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(f); err != nil {
		return fmt.Errorf("sums of figures: %w", err)
	}
	return nil
}
