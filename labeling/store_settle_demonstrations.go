package labeling

import (
	"slices"

	"github.com/jackc/pgx/v5"
)

// demonstrations writes those that are new.
func (t *settler) demonstrations() error {
	var list []*settling
	var ids, responses, labelers []string
	var hashes [][]byte
	var messages [][]Message
	for _, it := range t.items {
		if it.rec.Kind != Demonstrated {
			continue
		}
		hash, err := demonstrationHash(it.messages, it.rec.Completions[0])
		if err != nil {
			return err
		}
		id, err := newID()
		if err != nil {
			return err
		}
		list, ids, hashes, messages = append(list, it), append(ids, id), append(hashes, hash), append(messages, it.messages)
		labeler := ""
		if it.rec.Labeler != "" {
			labeler = importedLabeler(it.rec.Labeler)
		}
		responses, labelers = append(responses, it.rec.Completions[0]), append(labelers, labeler)
	}
	if len(list) == 0 {
		return nil
	}
	texts := make([]string, len(messages))
	for i, m := range messages {
		text, err := jsonText(m)
		if err != nil {
			return err
		}
		texts[i] = string(text)
	}
	rows, err := t.tx.Query(t.ctx, `INSERT INTO demonstrations (id, project_id, hash, messages, response, origin, labeler_id)
		SELECT u.id, $1, u.hash, u.messages::jsonb, u.response, 'import', u.labeler
		FROM unnest($2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::text[]) u(id, hash, messages, response, labeler)
		ON CONFLICT (project_id, hash) WHERE assignment_id IS NULL DO NOTHING RETURNING id`, t.project.ID, ids, hashes, texts, responses, labelers)
	if err != nil {
		return err
	}
	added, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	isNew := map[string]bool{}
	for _, id := range added {
		isNew[id] = true
	}
	var found []int
	for i, it := range list {
		if it.fresh = isNew[ids[i]]; it.fresh && (it.finds != nil || it.answers != nil) {
			found = append(found, i)
		}
	}
	return t.redacted("demonstration", len(found), func(i int) (string, []Find, any) {
		it := list[found[i]]
		finds := it.finds
		if it.answers != nil {
			finds = append(slices.Clip(finds), findsAt("response", it.answers[0])...)
		}
		return ids[found[i]], finds, nil
	})
}
