package audit

import (
	"slices"
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
		sql, args, err := s.statement(ctx, q, 0)
		if err != nil || sql == "" {
			t.Errorf("%s: %q %v", name, sql, err)
			continue
		}
		rows, err := pool.Query(ctx, "EXPLAIN (VERBOSE) "+sql, args...)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(plan, "\n"); strings.Contains(all, "Seq Scan on public.audit a") || !strings.Contains(all, "Scan using audit_") && !strings.Contains(all, "Scan Backward using audit_") && !strings.Contains(all, "Bitmap Index Scan on audit_") {
			t.Errorf("%s reads the whole log:\n%s", name, all)
		} else if !strings.Contains(all, "hashed SubPlan") {
			t.Errorf("%s reads the list of what is unsealed once for each entry:\n%s", name, all)
		}
	}
}

// TestSearchOfWords: the newest entries that hold a word are the same ones whether the word is in most of them, so that the newest are
// looked through, or in few, so that the index tells.
func TestSearchOfWords(t *testing.T) {
	pool := pgtest.New(t)
	s, ctx := NewStore(pool), t.Context()
	if _, err := pool.Exec(ctx, `
		INSERT INTO audit (actor, act, subject, detail)
		SELECT 'user:' || i % 7, CASE WHEN i % 3 = 0 THEN 'labeling.submit' ELSE 'room' || i % 7 || '.act' END, '', jsonb_build_object('word', 'common w' || i % 300)
		FROM generate_series(1, $1) i`, recentSpan+5000); err != nil {
		t.Fatal(err)
	}
	for _, q := range []Query{{Text: "common"}, {Text: "w77"}, {Text: "w7*"}, {Text: "common", Actor: "user:3"}, {Text: "common", Before: 3000}, {Text: "common w5"}, {Text: "common", Limit: 1000}} {
		got, err := s.Search(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := pool.Query(ctx, `
			SELECT id FROM audit WHERE act <> 'labeling.submit' AND ($1 = '' OR actor = $1) AND ($2 = 0 OR id < $2) AND NOT EXISTS (
				SELECT FROM regexp_split_to_table($3, ' ') w WHERE NOT ' ' || (detail->>'word') || ' ' LIKE '% ' || replace(w || ' ', '* ', '') || '%')
			ORDER BY id DESC LIMIT $4`, q.Actor, q.Before, q.Text, q.limit())
		if err != nil {
			t.Fatal(err)
		}
		want, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			t.Fatal(err)
		}
		ids := []int64{}
		for _, e := range got {
			ids = append(ids, e.ID)
		}
		if !slices.Equal(ids, want) || len(want) == 0 {
			t.Errorf("%+v: %d entries %v..., want %d %v...", q, len(ids), ids[:min(3, len(ids))], len(want), want[:min(3, len(want))])
		}
	}
	if sql, _, err := s.statement(ctx, Query{Text: "common"}, recentSpan); err != nil || !strings.Contains(sql, "LIMIT 20000) a WHERE") {
		t.Errorf("%s %v", sql, err)
	}
}
