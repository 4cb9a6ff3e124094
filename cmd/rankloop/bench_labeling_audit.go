package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// auditMoment is how a page of the log writes times.
const auditMoment = "2006-01-02T15:04:05"

// audits is how long the pages of a long audit log take: the newest, one far back, each filter alone and together. As many entries are
// made as there are tasks: nine in ten are rankings, the others of some dozen kinds, over two months.
func (l *lab) audits(ctx context.Context) ([]bar, error) {
	if err := l.promote(ctx, 1, "admin"); err != nil {
		return nil, err
	}
	l.show.say("Making %d entries of the audit log", l.Tasks)
	if err := l.addAudit(ctx, l.Tasks); err != nil {
		return nil, fmt.Errorf("entries: %w", err)
	}
	var middle int64
	var at time.Time
	if err := l.pool.QueryRow(ctx, `SELECT id, at FROM audit WHERE id >= (SELECT max(id) FROM audit) - $1 ORDER BY id LIMIT 1`, l.Tasks/2).Scan(&middle, &at); err != nil {
		return nil, err
	}
	at = at.UTC()
	day := url.Values{"from": {at.Format(auditMoment)}, "to": {at.Add(time.Hour).Format(auditMoment)}}.Encode()
	pages := []struct{ name, query string }{
		{"newest entries", ""},
		{"entries far back", "before=" + strconv.FormatInt(middle, 10)},
		{"entries of a person", "actor=user%3Aworker+7"},
		{"entries of nobody", "actor=user%3Anobody"},
		{"entries of the act that is most of the log", "act=labeling.submit"},
		{"entries of a rare act", "act=round.start"},
		{"entries of a room's acts", "act=model."},
		{"entries of a subject", "subject=thing+77"},
		{"entries of an hour", day},
		{"entries by a word that is rare", "q=rare7"},
		{"entries by a word that is in most", "q=common"},
		{"entries by the beginning of words", "q=rare*"},
		{"entries by a word that is nowhere", "q=nowhere"},
		{"entries by a word, of a person", "q=common&actor=user%3Aworker+7"},
		{"entries by a word, of an hour", "q=common&" + day},
		{"entries by all filters together", "q=common&actor=user%3Aworker+7&act=model.&subject=thing+77&" + day},
	}
	var out []bar
	for i, p := range pages {
		l.show.show("audit", i, len(pages), "pages")
		slow, err := l.slowest(ctx, l.sessions[1], l.base+"/admin/audit?"+p.query)
		if err != nil {
			return nil, err
		}
		out = append(out, atMost(p.name+", p99", float64(slow.Microseconds())/1000, "ms", 100, fmt.Sprintf("%d entries", l.Tasks)))
	}
	return out, nil
}

// addAudit writes n entries, oldest first, and seals them.
func (l *lab) addAudit(ctx context.Context, n int) error {
	acts := strings.Fields("round.start round.cancel model.promote model.rollback model.gc user.login user.role setting.set labeling.skip labeling.report labeling.snapshot key.create")
	const chunk = 50_000
	for first := 0; first < n; first += chunk {
		last := min(n, first+chunk) - 1
		err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `
				WITH made AS (
					INSERT INTO audit (at, actor, act, subject, detail)
					SELECT now() - ($3 - i) * interval '60 days' / $3, 'user:worker ' || i % $4,
						CASE WHEN i % 10 > 0 THEN 'labeling.submit' ELSE ($5::text[])[1 + i / 10 % cardinality($5::text[])] END, 'thing ' || i % 5000,
						CASE WHEN i % 10 > 0 THEN jsonb_build_object('task', md5(i::text), 'ranks', '[1, 2, 3, 4]'::jsonb, 'surplus', false, 'hold', '', 'strength', 0)
							ELSE jsonb_build_object('n', i, 'reason', 'common rare' || i / 10 % 2000) END
					FROM generate_series($1::bigint, $2::bigint) i RETURNING id
				) INSERT INTO audit_pending SELECT id FROM made ORDER BY id`, first, last, n, listPeople, acts)
			if err == nil {
				_, err = tx.Exec(ctx, `SELECT audit_seal()`)
			}
			return err
		})
		if err != nil {
			return err
		}
		l.show.show("audit", last+1, n, "entries")
	}
	if _, err := l.pool.Exec(ctx, `VACUUM ANALYZE audit`); err != nil {
		return err
	}
	_, err := l.pool.Exec(ctx, `CHECKPOINT`) // or the first page waits behind what was written here
	return err
}
