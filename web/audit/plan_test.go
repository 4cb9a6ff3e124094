package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/migrations/pgtest"
)

// TestSearchByIndex: in a log of many entries every filter of the search, and all of them together, read by an index: none reads the whole log.
func TestSearchByIndex(t *testing.T) {
	pool := pgtest.New(t)
	s, ctx := NewStore(pool), t.Context()
	for _, sql := range []string{
		`INSERT INTO audit (at, actor, act, subject, detail)
			SELECT now() - (60000 - i) * interval '1 second', 'user:' || i % 50, CASE WHEN i % 4 > 0 THEN 'labeling.submit' ELSE 'room' || i % 7 || '.act' || i % 3 END, 'thing ' || i % 5000,
				jsonb_build_object('n', i, 'word', 'w' || i % 900) FROM generate_series(1, 60000) i`,
		`INSERT INTO audit (actor, act, subject, detail) VALUES ('user:rare', 'rare.act', 'rare', '{"word": "rare"}')`,
		`ANALYZE audit`,
	} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	ago := func(n int) time.Time { return time.Now().Add(-time.Duration(n) * time.Second) }
	for name, q := range map[string]Query{
		"all": {}, "a page further back": {Before: 30000}, "an actor": {Actor: "user:7"}, "a rare actor": {Actor: "user:rare"}, "nobody": {Actor: "user:nobody"},
		"an act": {Act: "labeling.submit"}, "a rare act": {Act: "rare.act"}, "acts of a room": {Act: "room3."}, "a subject": {Subject: "thing 77"}, "nothing": {Subject: "no thing"},
		"a word": {Text: "w77"}, "a rare word": {Text: "rare"}, "no word": {Text: "nowhere"}, "the beginning of a word": {Text: "w8*"},
		"from": {From: ago(1000)}, "until": {To: ago(50000)}, "between": {From: ago(30000), To: ago(29000)}, "before all": {To: ago(70000)},
		"an actor then": {Actor: "user:7", From: ago(30000), To: ago(29000)}, "a word then": {Text: "w77", From: ago(30000)}, "a word of an actor": {Text: "w77", Actor: "user:7"},
		"all together": {Actor: "user:8", Act: "room3.", Subject: "thing 8", Text: "word", From: ago(50000), To: ago(10), Before: 59000},
	} {
		sql, args, err := s.statement(ctx, q)
		if err != nil || sql == "" {
			t.Errorf("%s: %q %v", name, sql, err)
			continue
		}
		rows, err := pool.Query(ctx, "EXPLAIN "+sql, args...)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(plan, "\n"); strings.Contains(all, "Seq Scan on audit a") || !strings.Contains(all, "Scan using audit_") && !strings.Contains(all, "Scan Backward using audit_") && !strings.Contains(all, "Bitmap Index Scan on audit_") {
			t.Errorf("%s reads the whole log:\n%s", name, all)
		}
	}
}
