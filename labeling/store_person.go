package labeling

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// exportPage is how many rows are read at once: a reader that is slow holds no statement open.
const exportPage = 500

// ExportCustomer calls each with every row that names a customer, table by table, oldest first, and with the answers to its prompts: what
// Erase would take. Whichever room a table belongs to, it is found by its column customer_id. Columns of bytes stay out, and so do keys,
// which web/account exports.
func (s *Store) ExportCustomer(ctx context.Context, customerID string, each func(table string, row json.RawMessage) error) error {
	rows, err := s.pool.Query(ctx, `
		SELECT c.table_name::text, c.data_type = 'uuid' FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.column_name = 'customer_id' AND c.data_type IN ('text', 'uuid')
			AND c.table_name <> 'api_keys' ORDER BY c.table_name`)
	if err != nil {
		return wrap(err, "export of customer %s", customerID)
	}
	type source struct {
		Table string
		UUID  bool
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[source])
	for _, t := range tables {
		where := `t.customer_id = $1`
		if t.UUID {
			if !isID(customerID) {
				continue
			}
			where += `::uuid`
		}
		if err == nil {
			err = s.exportRows(ctx, t.Table, where, customerID, each)
		}
	}
	if err == nil {
		err = s.exportRows(ctx, "responses", `t.prompt_id IN (SELECT id FROM prompts WHERE customer_id = $1)`, customerID, each)
	}
	return wrap(err, "export of customer %s", customerID)
}

func (s *Store) exportRows(ctx context.Context, table, where, id string, each func(string, json.RawMessage) error) error {
	name := pgx.Identifier{table}.Sanitize()
	for after := ""; ; {
		rows, err := s.pool.Query(ctx, fmt.Sprintf(`
			SELECT (x.row - ARRAY(SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $3 AND data_type = 'bytea'))::text, x.place
			FROM (SELECT to_jsonb(t) AS row, concat_ws(' ', to_jsonb(t) ->> 'created_at', to_jsonb(t) ->> 'id', md5(to_jsonb(t)::text)) AS place FROM %s t WHERE %s) x
			WHERE x.place > $2 COLLATE "C" ORDER BY x.place COLLATE "C" LIMIT %d`, name, where, exportPage), id, after, table)
		if err != nil {
			return err
		}
		type line struct{ Row, Place string }
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
		if err != nil {
			return err
		}
		for _, l := range list {
			if err := each(table, json.RawMessage(l.Row)); err != nil {
				return err
			}
		}
		if len(list) < exportPage {
			return nil
		}
		after = list[len(list)-1].Place
	}
}

// ErasuresOf lists a person's erasures, newest first.
func (s *Store) ErasuresOf(ctx context.Context, subject Subject) ([]ErasureReport, error) {
	return s.erasures(ctx, `WHERE subject = $1 ORDER BY id DESC LIMIT 50`, subject.String())
}
