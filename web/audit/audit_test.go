package audit

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rankloop/rankloop/migrations/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestSearchAndVerify(t *testing.T) {
	pool := pgtest.New(t)
	s := NewStore(pool)
	ctx := t.Context()
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		exec(`SELECT audit_append($1, $2, $3, $4)`, fmt.Sprintf("user:%d", i%3), []string{"round.start", "roundabout.x", "user.login"}[i%3], fmt.Sprint(i%5), map[string]any{"i": i})
	}
	for name, c := range map[string]struct {
		q    Query
		want int
	}{
		"all": {Query{}, 30}, "limit": {Query{Limit: 7}, 7}, "actor": {Query{Actor: "user:1"}, 10}, "part of an actor": {Query{Actor: "user:"}, 0},
		"act": {Query{Act: "round.start"}, 10}, "prefix": {Query{Act: "round."}, 10}, "no prefix without a dot": {Query{Act: "round"}, 0}, "subject": {Query{Subject: "4"}, 6},
		"words": {Query{Text: "17"}, 1}, "the beginning of a word": {Query{Text: "1*"}, 11}, "a whole word": {Query{Text: "1"}, 1}, "no word": {Query{Text: "%"}, 0}, "a beginning of nothing": {Query{Text: "*"}, 0}, "words and an act": {Query{Text: "i 2*", Act: "user."}, 5},
		"no such act": {Query{Act: "nothing."}, 0}, "from": {Query{From: time.Now().Add(-time.Hour)}, 30}, "later": {Query{From: time.Now().Add(time.Hour)}, 0}, "until": {Query{To: time.Now().Add(-time.Hour)}, 0},
		"all three": {Query{Actor: "user:0", Act: "round.", Subject: "0"}, 2}, "a pattern is no pattern": {Query{Act: "%."}, 0},
	} {
		got, err := s.Search(ctx, c.q)
		if err != nil || len(got) != c.want {
			t.Errorf("%s: %d entries, want %d (%v)", name, len(got), c.want, err)
		}
		for i := 1; i < len(got); i++ {
			if got[i].ID >= got[i-1].ID {
				t.Errorf("%s: not newest first", name)
			}
		}
	}
	first, err := s.Search(ctx, Query{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	next, err := s.Search(ctx, Query{Before: first[9].ID})
	if err != nil || len(next) != 20 || next[0].ID != first[9].ID-1 || next[0].Sealed {
		t.Errorf("next page: %d entries, %v", len(next), err)
	}
	n := 0
	if err := s.Each(ctx, Query{Act: "roundabout.x"}, func(e Entry) error { n++; return nil }); err != nil || n != 10 {
		t.Errorf("each: %d %v", n, err)
	}
	if e, err := s.Entry(ctx, first[0].ID); err != nil || e.Actor != "user:2" {
		t.Errorf("%+v %v", e, err)
	}
	if _, err := s.Entry(ctx, 1<<40); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	exec(`SELECT audit_seal()`)
	if v, err := s.Verify(ctx, nil); err != nil || v.Checked != 30 || v.Unsealed != 0 || v.Broken != nil {
		t.Errorf("%+v %v", v, err)
	}
	exec(`ALTER TABLE audit DISABLE TRIGGER ALL`)
	exec(`UPDATE audit SET detail = '{"i": 99}' WHERE id = (SELECT min(id) + 7 FROM audit)`)
	if v, err := s.Verify(ctx, nil); err != nil || v.Broken == nil {
		t.Errorf("a changed entry goes unseen: %+v %v", v, err)
	}
}

// TestRange: entries far back are found by their time, also those of a transaction that began long before it wrote them.
func TestRange(t *testing.T) {
	pool := pgtest.New(t)
	s := NewStore(pool)
	ctx := t.Context()
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	if _, err := pool.Exec(ctx, `
		INSERT INTO audit (at, actor, act, subject)
		SELECT $1::timestamptz + n * interval '1 minute' - CASE WHEN n % 10 = 0 THEN interval '9 minutes' ELSE interval '0' END, 'a', 'x.y', n::text FROM generate_series(1, 2000) n`, begin); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]int{{0, 5}, {500, 510}, {1995, 3000}, {-20, 1}, {3000, 4000}, {700, 700}} {
		from, to := begin.Add(time.Duration(c[0])*time.Minute), begin.Add(time.Duration(c[1])*time.Minute)
		var want int
		if err := pool.QueryRow(ctx, `SELECT count(*) FROM audit WHERE at >= $1 AND at < $2`, from, to).Scan(&want); err != nil {
			t.Fatal(err)
		}
		for _, act := range []string{"", "x.y", "x."} {
			if got, err := s.Search(ctx, Query{Act: act, From: from, To: to, Limit: 1000}); err != nil || len(got) != want {
				t.Errorf("%v %q: %d, want %d (%v)", c, act, len(got), want, err)
			}
		}
	}
}

// TestVerifyInParts: what was changed, removed or slipped in is found in whichever part it is, and the walk tells how far it is.
func TestVerifyInParts(t *testing.T) {
	pool := pgtest.New(t)
	s := NewStore(pool)
	ctx := t.Context()
	exec := func(list ...string) {
		t.Helper()
		for _, sql := range list {
			if _, err := pool.Exec(ctx, sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	exec(`SELECT audit_append('a', 'x.y', n::text, '{}') FROM generate_series(1, 12000) n`, `SELECT audit_seal()`,
		`ALTER TABLE audit DISABLE TRIGGER ALL`, `ALTER TABLE audit_seals DISABLE TRIGGER ALL`,
		`CREATE TABLE kept AS SELECT * FROM audit`, `CREATE TABLE kept_seals AS SELECT * FROM audit_seals`)
	for name, c := range map[string]struct {
		harm string
		want int64 // 0: all fits
	}{
		"whole":             {`SELECT 1`, 0},
		"changed":           {`UPDATE audit SET actor = 'other' WHERE id = 10500`, 10500},
		"removed":           {`DELETE FROM audit WHERE id = 11100`, 11100},
		"slipped in":        {`INSERT INTO audit (id, actor, act, subject) OVERRIDING SYSTEM VALUE VALUES (12001, 'a', 'x', '')`, 12001},
		"links removed":     {`DELETE FROM audit_seals WHERE position = 5001`, 6001},
		"the end cut off":   {`DELETE FROM audit_seals WHERE position = 11001`, 11001},
		"link changed":      {`UPDATE audit_seals SET hashes[5] = sha256('x') WHERE position = 10001`, 10005},
		"first one changed": {`UPDATE audit SET detail = '{"x": 1}' WHERE id = 1`, 1},
	} {
		exec(`DELETE FROM audit`, `DELETE FROM audit_seals`, `INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM kept`, `INSERT INTO audit_seals SELECT * FROM kept_seals`, c.harm)
		var steps []int64
		v, err := s.Verify(ctx, func(v Verdict) error { steps = append(steps, v.Checked); return nil })
		if err != nil || (c.want == 0) != (v.Broken == nil) || c.want != 0 && *v.Broken != c.want {
			t.Errorf("%s: %+v %v, want %d", name, v, err, c.want)
		}
		if c.want == 0 && !slices.Equal(steps, []int64{10000, 12000}) {
			t.Error(steps)
		}
		var broken *int64 // the walk in one statement agrees
		if err := pool.QueryRow(ctx, `SELECT broken FROM audit_verify()`).Scan(&broken); err != nil || (broken == nil) != (v.Broken == nil) || broken != nil && *broken != *v.Broken {
			t.Errorf("%s: one statement says %v, %v", name, broken, err)
		}
	}
}
