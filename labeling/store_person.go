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

// exportRows pages through a table by its primary key, which in most begins with a time, and through what is read from others by all
// its columns.
func (s *Store) exportRows(ctx context.Context, table, where string, id []string, each func(string, json.RawMessage) error) error {
	name := pgx.Identifier{table}.Sanitize()
	var place string
	var digests []string // columns that stay out
	if err := s.pool.QueryRow(ctx, `
		SELECT coalesce((SELECT 'concat_ws(chr(31), ' || string_agg('t.' || quote_ident(a.attname), ', ' ORDER BY k.n) || ')' FROM pg_index i
				CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(at, n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.at
				WHERE i.indrelid = $1::regclass AND i.indisprimary), 't::text'),
			ARRAY(SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $2 AND data_type = 'bytea')`,
		name, table).Scan(&place, &digests); err != nil {
		return err
	}
	for after := ""; ; {
		rows, err := s.pool.Query(ctx, fmt.Sprintf(`SELECT (to_jsonb(x.t) - $3::text[])::text, x.place
			FROM (SELECT t, %[1]s AS place FROM %[2]s t WHERE (%[3]s) AND %[1]s COLLATE "C" > $2 ORDER BY %[1]s COLLATE "C" LIMIT %[4]d) x ORDER BY x.place COLLATE "C"`,
			place, name, where, exportPage), id, after, digests)
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
