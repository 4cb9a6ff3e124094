package audit

import (
	"fmt"
	"testing"

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
