package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Verdict is what a walk along the hash chain found.
type Verdict struct {
	Checked  int64  `json:"checked"`  // entries in the chain
	Total    int64  `json:"total"`    // of them, when the walk began
	Unsealed int64  `json:"unsealed"` // entries that are not yet in it
	Broken   *int64 `json:"broken"`   // id of the first entry that does not fit; null: all fit
}

// verifySeals is how many rows of links, of a thousand entries at most, one statement of a walk recomputes.
const verifySeals = 10

// Verify recomputes the hash chain, some thousands of entries at a time, and calls progress (may be nil) after each part.
func (s *Store) Verify(ctx context.Context, progress func(Verdict) error) (Verdict, error) {
	v, err := s.verify(ctx, progress)
	if err != nil {
		return v, fmt.Errorf("audit: verify: %w", err)
	}
	return v, nil
}

func (s *Store) verify(ctx context.Context, progress func(Verdict) error) (v Verdict, err error) {
	err = s.pool.QueryRow(ctx, `SELECT position + cardinality(ids) - 1 FROM audit_seals ORDER BY position DESC LIMIT 1`).Scan(&v.Total)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return v, err
	}
	for v.Broken == nil {
		n, err := s.verifyPart(ctx, &v)
		if err != nil {
			return v, err
		}
		if n == 0 {
			break
		}
		v.Total = max(v.Total, v.Checked)
		if progress != nil {
			if err := progress(v); err != nil {
				return v, err
			}
		}
	}
	return v, s.verifyStray(ctx, &v)
}

// verifyPart recomputes the links after those that were checked. A row of links whose position is not the next breaks the chain, as an
// entry does that was changed or is gone.
func (s *Store) verifyPart(ctx context.Context, v *Verdict) (n int64, err error) {
	var broken *int64
	err = s.pool.QueryRow(ctx, `
		WITH seal AS (
			SELECT * FROM audit_seals WHERE position > $1 ORDER BY position LIMIT $2
		), former AS (
			SELECT hashes[cardinality(hashes)] AS hash FROM audit_seals WHERE position <= $1 ORDER BY position DESC LIMIT 1
		), link AS (
			SELECT s.position + u.n - 1 AS position, u.id, u.hash
			FROM seal s, unnest(s.ids, s.hashes) WITH ORDINALITY u(id, hash, n)
		), chain AS (
			SELECT l.id, l.position, coalesce(
				l.position = $1 + row_number() OVER w
				AND l.hash = audit_hash(coalesce(lag(l.hash) OVER w, (SELECT hash FROM former), '\x'), l.position, a.id, a.at, a.actor, a.act, a.subject, a.detail), false) AS fits
			FROM link l LEFT JOIN audit a ON a.id = l.id
			WINDOW w AS (ORDER BY l.position)
		)
		SELECT count(*), (array_agg(id ORDER BY position) FILTER (WHERE NOT fits))[1] FROM chain`, v.Checked, verifySeals).Scan(&n, &broken)
	v.Checked, v.Broken = v.Checked+n, broken
	return n, err
}

// verifyStray looks for an entry that is neither in the chain nor waits for it. Where there are as many entries as links and waiting ones,
// which one look at them all at the same instant tells, there is none.
func (s *Store) verifyStray(ctx context.Context, v *Verdict) error {
	var more int64
	err := s.pool.QueryRow(ctx, `
		SELECT p.n, (SELECT count(*) FROM audit) - p.n - coalesce((SELECT position + cardinality(ids) - 1 FROM audit_seals ORDER BY position DESC LIMIT 1), 0)
		FROM (SELECT count(*) AS n FROM audit_pending) p`).Scan(&v.Unsealed, &more)
	if err != nil || more <= 0 || v.Broken != nil {
		return err
	}
	return s.pool.QueryRow(ctx, `
		SELECT min(a.id) FROM audit a
		WHERE NOT EXISTS (SELECT FROM (SELECT unnest(ids) AS id FROM audit_seals) l WHERE l.id = a.id)
			AND NOT EXISTS (SELECT FROM audit_pending u WHERE u.id = a.id)`).Scan(&v.Broken)
}
