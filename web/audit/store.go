package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrNotFound says that there is no such entry.
var ErrNotFound = errors.New("audit: not found")

// Entry is one act.
type Entry struct {
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"` // user:<id>, key:<id>, system:<what>
	Act     string          `json:"act"`   // <room>.<verb>
	Subject string          `json:"subject"`
	Detail  json.RawMessage `json:"detail"`
	Sealed  bool            `json:"sealed"` // part of the hash chain already
}

// Query says which entries to return; an empty field means any.
type Query struct {
	Actor   string    // whole
	Act     string    // whole, or a prefix that ends in a dot: "user."
	Subject string    // whole
	Text    string    // words of the detail, with a * at the end the last is a beginning; rankings have none
	From    time.Time // not before
	To      time.Time // before
	Before  int64     // only ids below; 0 = from the newest
	Limit   int       // 0 = 100; at most 1000
}

// Store reads the audit log, and writes what no other room does.
type Store struct{ pool *pgxpool.Pool }

// NewStore uses the pool; the caller closes it.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

// wordless is the act whose details the index of words leaves out.
const wordless = "labeling.submit"

// The list of what waits for its seal has no index and much that is dead: it is read once for all entries, not once for each.
const entryColumns = `a.id, a.at, a.actor, a.act, a.subject, a.detail, a.id NOT IN (SELECT u.id FROM audit_pending u)`

// Append writes an entry of its own, for acts that other programs carry out and that have no transaction here.
func (s *Store) Append(ctx context.Context, actor, act, subject string, detail map[string]any) error {
	if _, err := s.pool.Exec(ctx, `SELECT audit_append($1, $2, $3, $4)`, actor, act, subject, detail); err != nil {
		return fmt.Errorf("audit: append %s: %w", act, err)
	}
	return nil
}

// Search returns entries, newest first.
func (s *Store) Search(ctx context.Context, q Query) ([]Entry, error) {
	list, err := s.search(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("audit: search: %w", err)
	}
	return list, nil
}

func (s *Store) search(ctx context.Context, q Query) ([]Entry, error) {
	sql, args, err := s.statement(ctx, q, 0)
	if err != nil || sql == "" {
		return nil, err
	}
	if strings.TrimSpace(q.Text) != "" && q.Act == "" {
		recent, args, err := s.statement(ctx, q, recentSpan)
		if err != nil {
			return nil, err
		}
		if list, err := s.entries(ctx, recent, args); err != nil || len(list) == q.limit() {
			return list, err
		}
	}
	return s.entries(ctx, sql, args)
}

// recentSpan is how many of the newest entries are looked through for words before their index is asked: it gives all entries that hold a
// word, which may be most of the log, and those are what the newest entries are full of.
const recentSpan = 20_000

func (s *Store) entries(ctx context.Context, sql string, args []any) ([]Entry, error) {
	// Planned for these very values: one plan for all would be wrong for a word that is rare, or for one that is everywhere.
	rows, err := s.pool.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
}

// limit is how many entries are returned at most.
func (q Query) limit() int {
	if q.Limit <= 0 {
		return 100
	}
	return min(q.Limit, 1000)
}

// statement is what finds the entries; empty where there can be none. span, where it is not 0, is how many of the newest are looked
// through for words.
func (s *Store) statement(ctx context.Context, q Query, span int) (sql string, args []any, err error) {
	b := &builder{limit: q.limit(), from: "audit a"}
	if q.Actor != "" {
		b.where("a.actor = %s", q.Actor)
	}
	if q.Subject != "" {
		b.where("a.subject = %s", q.Subject)
	}
	if q.Before > 0 {
		b.where("a.id < %s", q.Before)
	}
	if err := s.bound(ctx, b, q); err != nil {
		return "", nil, err
	}
	if span > 0 {
		b.from = fmt.Sprintf("(SELECT * FROM audit a WHERE %s ORDER BY a.id DESC LIMIT %d) a", b.all(), span)
		b.conditions = nil
	}
	if strings.TrimSpace(q.Text) != "" {
		query := "plainto_tsquery('simple', %s)"
		if strings.HasSuffix(q.Text, "*") {
			query = "nullif(" + query + "::text || ':*', ':*')::tsquery"
		}
		b.where(words+" @@ "+query, q.Text)
		b.where("a.act <> %s", wordless)
	}
	var acts []string
	if strings.HasSuffix(q.Act, ".") {
		if acts, err = s.acts(ctx, q.Act); err != nil || len(acts) == 0 {
			return "", nil, err
		}
	} else if q.Act != "" {
		acts = []string{q.Act}
	}
	sql, args = b.query(acts)
	return sql, args, nil
}

// words is what the index of words is of.
const words = `jsonb_to_tsvector('simple', a.detail, '["key", "string", "numeric"]')`

// builder gathers conditions; nothing but its own text goes into the statement, all values are parameters.
type builder struct {
	from       string
	conditions []string
	args       []any
	limit      int
}

func (b *builder) where(condition string, value any) {
	b.args = append(b.args, value)
	b.conditions = append(b.conditions, fmt.Sprintf(condition, fmt.Sprintf("$%d", len(b.args))))
}

func (b *builder) all() string { return strings.Join(append(b.conditions, "true"), " AND ") }

// query reads the newest of each act by its index and merges them, which is as quick for an act that is rare as for one that is most of the
// log. The act is asked for as a range and stands in the order, so that no other index is taken for it: the planner does not know which act
// comes, and would walk back through the whole log for one that is rare.
func (b *builder) query(acts []string) (string, []any) {
	conditions := b.all()
	last := fmt.Sprintf("ORDER BY id DESC LIMIT %d", b.limit)
	if len(acts) == 0 {
		return fmt.Sprintf("SELECT %s FROM %s WHERE %s %s", entryColumns, b.from, conditions, last), b.args
	}
	args := append(b.args, acts)
	return fmt.Sprintf(`SELECT f.* FROM unnest($%d::text[]) AS w(act) CROSS JOIN LATERAL (SELECT %s FROM audit a WHERE a.act BETWEEN w.act AND w.act AND %s %s) f(id, at, actor, act, subject, detail, sealed) %s`,
		len(args), entryColumns, conditions, strings.Replace(last, "id", "a.act DESC, a.id", 1), strings.Replace(last, "id", "f.id", 1)), args
}

// slowest is longer than any transaction that writes an entry: an entry's time is when its transaction began, its id is drawn later.
const slowest = 10 * time.Minute

// bound adds the time range, and the range of ids that it implies: ids are drawn in the order of time, so that a search far back does not
// read what came after.
func (s *Store) bound(ctx context.Context, b *builder, q Query) error {
	for _, edge := range []struct {
		at       time.Time
		when, id string
		find     string
		slack    time.Duration
	}{
		{q.From, "a.at >= %s", "a.id >= %s", `SELECT id FROM audit WHERE at <= $1 ORDER BY at DESC LIMIT 1`, -slowest},
		{q.To, "a.at < %s", "a.id <= %s", `SELECT id FROM audit WHERE at >= $1 ORDER BY at LIMIT 1`, slowest},
	} {
		if edge.at.IsZero() {
			continue
		}
		b.where(edge.when, edge.at)
		var id int64
		err := s.pool.QueryRow(ctx, edge.find, edge.at.Add(edge.slack)).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		b.where(edge.id, id)
	}
	return nil
}

// acts lists the acts with the prefix that the log knows; it jumps from one to the next in their index.
func (s *Store) acts(ctx context.Context, prefix string) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		WITH RECURSIVE t AS (
			(SELECT act FROM audit ORDER BY act LIMIT 1)
			UNION ALL
			SELECT (SELECT a.act FROM audit a WHERE a.act > t.act ORDER BY a.act LIMIT 1) FROM t WHERE t.act IS NOT NULL
		) SELECT act FROM t WHERE act IS NOT NULL AND starts_with(act, $1)`, prefix)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Acts lists all acts that the log knows, in order.
func (s *Store) Acts(ctx context.Context) ([]string, error) {
	list, err := s.acts(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("audit: acts: %w", err)
	}
	return list, nil
}

// Entry returns one entry.
func (s *Store) Entry(ctx context.Context, id int64) (Entry, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+entryColumns+` FROM audit a WHERE a.id = $1`, id)
	if err != nil {
		return Entry{}, fmt.Errorf("audit: entry: %w", err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Entry])
	if errors.Is(err, pgx.ErrNoRows) {
		return e, ErrNotFound
	}
	if err != nil {
		return e, fmt.Errorf("audit: entry %d: %w", id, err)
	}
	return e, nil
}

// exportPage is how many entries are read at once: a reader that is slow holds no statement open.
const exportPage = 1000

// Each calls f with all entries of the query, newest first; Limit is not looked at.
func (s *Store) Each(ctx context.Context, q Query, f func(Entry) error) error {
	for q.Limit = exportPage; ; {
		list, err := s.Search(ctx, q)
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := f(e); err != nil {
				return err
			}
		}
		if len(list) < exportPage {
			return nil
		}
		q.Before = list[len(list)-1].ID
	}
}

// Unsealed counts the entries that are not part of the hash chain yet, and says how old the first of them is.
func (s *Store) Unsealed(ctx context.Context) (n int64, oldest time.Duration, err error) {
	var seconds float64
	err = s.pool.QueryRow(ctx, `SELECT count(*), coalesce(extract(epoch FROM now() - min(a.at)), 0)::float8 FROM audit_pending u JOIN audit a USING (id)`).Scan(&n, &seconds)
	if err != nil {
		return 0, 0, fmt.Errorf("audit: unsealed: %w", err)
	}
	return n, time.Duration(seconds * float64(time.Second)), nil
}
