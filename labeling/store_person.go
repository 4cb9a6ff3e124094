package labeling

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// exportPage is how many rows are read at once: a reader that is slow holds no statement open.
const exportPage = 500

// exportedBy are tables that name a customer and that other rooms export.
var exportedBy = []string{"api_keys", "stored_completions", "conversations", "chat_presets"}

// ExportPerson calls each with every row that names somebody as customer or as labeler, table by table, oldest first, with the answers
// to that one's prompts and the pairs and ratings of its rankings: what Erase would take. A table is found by its column customer_id or
// labeler_id. Columns of bytes, which are digests, stay out; so do the tables of other rooms.
func (s *Store) ExportPerson(ctx context.Context, id string, each func(table string, row json.RawMessage) error) error {
	as := []string{id, CustomerLabeler(id)}
	rows, err := s.pool.Query(ctx, `
		SELECT c.table_name::text, string_agg('t.' || quote_ident(c.column_name) || '::text = ANY($1)', ' OR ') FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.column_name IN ('customer_id', 'labeler_id') AND c.data_type IN ('text', 'uuid')
			AND c.table_name <> ALL($1) GROUP BY c.table_name ORDER BY c.table_name`, exportedBy)
	if err != nil {
		return wrap(err, "export of %s", id)
	}
	type source struct{ Table, Where string }
	sources, err := pgx.CollectRows(rows, pgx.RowToStructByPos[source])
	const ranked = `t.ranking_id IN (SELECT id FROM rankings WHERE labeler_id = ANY($1))`
	for _, t := range append(sources, source{"responses", `t.prompt_id IN (SELECT id FROM prompts WHERE customer_id = ANY($1))`},
		source{"comparisons", ranked}, source{"ratings", ranked},
		source{"import_rows", `t.body::jsonb ->> 'customer' = ANY($1)`}) {
		if err == nil {
			err = s.exportRows(ctx, t.Table, t.Where, as, each)
		}
	}
	return wrap(err, "export of %s", id)
}

func (s *Store) exportRows(ctx context.Context, table, where string, id []string, each func(string, json.RawMessage) error) error {
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

// ErasuresOf lists a person's erasures, those of part of what a customer brought too, newest first.
func (s *Store) ErasuresOf(ctx context.Context, subject Subject) ([]ErasureReport, error) {
	of := []string{subject.String()}
	if subject.Kind == SubjectCustomer {
		for kind := range parts {
			of = append(of, PartOf(kind, subject.ID, "").String())
		}
	}
	return s.erasures(ctx, `WHERE subject = ($1::text[])[1] OR EXISTS (SELECT FROM unnest(($1::text[])[2:]) part WHERE starts_with(subject, part)) ORDER BY id DESC LIMIT 50`, of)
}
