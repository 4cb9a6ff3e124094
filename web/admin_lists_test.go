package web

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// Lists of rounds, models and snapshots that are longer than a page go on behind a link, and show each row once.
func TestLongLists(t *testing.T) {
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	config, err := json.Marshal(loop.DefaultConfig())
	w.must(err)
	const many = 120
	for _, sql := range []string{
		`INSERT INTO rounds (id, project_id, number, stage, config, actor, init_version_id, sft_version_id, ended_at)
			SELECT gen_random_uuid(), $1, n, 'cancelled', $2, 'system', $3, $3, now() FROM generate_series(1, $4::int) n`,
		`INSERT INTO model_versions (id, kind, name, digest, created_at) SELECT gen_random_uuid(), 'policy', 'of old ' || n, 'd' || n, now() - n * interval '1 day'
			FROM generate_series(1, $4::int) n WHERE $1::uuid IS NOT NULL AND $2::jsonb IS NOT NULL AND $3::uuid IS NOT NULL`,
		`INSERT INTO snapshots (id, project_id, name, hash, filter, n, prompts) SELECT gen_random_uuid(), $1, 'of old ' || n, repeat('a', 64), '{}', 1, 1
			FROM generate_series(1, $4::int) n WHERE $2::jsonb IS NOT NULL AND $3::uuid IS NOT NULL`,
	} {
		if _, err := w.pool.Exec(t.Context(), sql, w.project.ID, config, w.version.ID, many); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []struct {
		path string
		row  *regexp.Regexp
		rows int
	}{
		{"/admin", regexp.MustCompile(`<td class="n"><a href="/admin/rounds/([^"]+)"`), many},
		{"/admin/models", regexp.MustCompile(`<td><a href="/admin/models/([^"]+)"><bdi>of old`), many},
		{"/admin/snapshots", regexp.MustCompile(`<span class="quiet small mono">([^<]+)<`), many},
	} {
		seen := map[string]bool{}
		next, pages := l.path, 0
		for ; next != "" && pages < many; pages++ {
			body, _, _ := strings.Cut(ada.get(next).want(t, http.StatusOK).body, "What served when") // names versions again
			for _, m := range l.row.FindAllStringSubmatch(body, -1) {
				if seen[m[1]] {
					t.Fatalf("%s shows %s twice", l.path, m[1])
				}
				seen[m[1]] = true
			}
			next = ""
			if m := regexp.MustCompile(`href="(` + l.path + `\?before=[^"]+)"`).FindStringSubmatch(body); m != nil {
				next = m[1]
			}
		}
		if len(seen) != l.rows || pages < 2 {
			t.Errorf("%s: %d rows on %d pages, %d rows wanted", l.path, len(seen), pages, l.rows)
		}
	}
	for _, path := range []string{"/admin?before=0", "/admin?before=x", "/admin/snapshots?before=x"} {
		ada.get(path).want(t, http.StatusBadRequest)
	}
}
