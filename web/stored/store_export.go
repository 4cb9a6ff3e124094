package stored

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// exportPage is how many completions are read at once: a reader that is slow holds no statement open.
const exportPage = 100

// Export calls each with every completion that a customer keeps, what was asked included, the oldest first.
func (s *Store) Export(ctx context.Context, customerID string, each func(table string, row json.RawMessage) error) error {
	after, id := time.Unix(0, 0), ""
	for {
		rows, err := s.pool.Query(ctx, `SELECT id, customer_id, key_id, created_at, model, model_version, body, messages, metadata, end_user
			FROM stored_completions WHERE customer_id = $1 AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4`, customerID, after, id, exportPage)
		if err != nil {
			return wrap("export", err)
		}
		list, err := pgx.CollectRows(rows, scan)
		if err != nil {
			return wrap("export", err)
		}
		for _, c := range list {
			row, err := json.Marshal(struct {
				ID           string            `json:"id"`
				KeyID        string            `json:"key_id"`
				Created      time.Time         `json:"created_at"`
				Model        string            `json:"model"`
				ModelVersion string            `json:"model_version"`
				User         string            `json:"user"`
				Metadata     map[string]string `json:"metadata"`
				Messages     json.RawMessage   `json:"messages"`
				Answer       json.RawMessage   `json:"answer"`
			}{c.ID, c.KeyID, c.Created, c.Model, c.ModelVersion, c.User, c.Metadata, c.Messages, c.Body})
			if err == nil {
				err = each("stored_completions", row)
			}
			if err != nil {
				return err
			}
		}
		if len(list) < exportPage {
			return nil
		}
		after, id = list[len(list)-1].Created, list[len(list)-1].ID
	}
}
