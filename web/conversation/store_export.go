package conversation

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// exportPage is how many rows are read at once: a reader that is slow holds no statement open.
const exportPage = 200

// Export calls each with every conversation of a person, every turn of these and every preset, the oldest first. The secret of a link
// that shares one is not kept, and its digest stays here.
func (s *Store) Export(ctx context.Context, owner string, each func(table string, row json.RawMessage) error) error {
	for _, q := range []struct{ table, sql string }{
		{"conversations", `SELECT to_jsonb(t) - '{share_hash}'::text[], t.id::text FROM conversations t WHERE t.customer_id = $1`},
		{"conversation_turns", `SELECT to_jsonb(t), t.id::text FROM conversation_turns t JOIN conversations c ON c.id = t.conversation_id WHERE c.customer_id = $1`},
		{"chat_presets", `SELECT to_jsonb(t), t.id::text FROM chat_presets t WHERE t.customer_id = $1`},
	} {
		for after, more := "00000000-0000-0000-0000-000000000000", true; more; {
			rows, err := s.pool.Query(ctx, q.sql+` AND t.id > $2::uuid ORDER BY t.id LIMIT $3`, owner, after, exportPage)
			if err != nil {
				return wrap("export", err)
			}
			type line struct {
				Row json.RawMessage
				ID  string
			}
			list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
			if err != nil {
				return wrap("export", err)
			}
			for _, l := range list {
				if err := each(q.table, l.Row); err != nil {
					return err
				}
				after = l.ID
			}
			more = len(list) == exportPage
		}
	}
	return nil
}
