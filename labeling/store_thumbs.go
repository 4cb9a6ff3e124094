package labeling

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ThumbsOf counts what customers of the API said since then of answers that versions of the model gave since then: thumbs up
// and down, by version. Of several ratings of one choice the last one counts; what is said at the chat page is kept there.
func (s *Store) ThumbsOf(ctx context.Context, versions []string, since time.Time) (map[string][2]int, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT model_version, count(*) FILTER (WHERE rating > 0), count(*) FILTER (WHERE rating < 0) FROM (
			SELECT DISTINCT ON (f.completion, f.choice) k.model_version, f.rating
			FROM kept_completions k JOIN feedback f ON f.completion = k.id
			WHERE k.model_version = ANY($1) AND k.created_at >= $2 AND f.rating IS NOT NULL AND NOT starts_with(f.api_key_id, 'chat:')
			ORDER BY f.completion, f.choice, f.created_at DESC, f.id DESC
		) x GROUP BY 1`, versions, since)
	if err != nil {
		return nil, fmt.Errorf("thumbs: %w", err)
	}
	out := map[string][2]int{}
	var version string
	var up, down int
	if _, err := pgx.ForEachRow(rows, []any{&version, &up, &down}, func() error {
		out[version] = [2]int{up, down}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("thumbs: %w", err)
	}
	return out, nil
}
