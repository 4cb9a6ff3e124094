package labeling

import (
	"context"
	"encoding/hex"

	"github.com/jackc/pgx/v5"
)

// dealer admits customers' prompts: see Store.admit, whose rules it applies to many.
type dealer struct {
	project Project
	by      map[string]*dealt
	next    int      // ordinal
	fresh   []string // customers who are new
}

type dealt struct {
	split        string
	ordinal      int
	count, added int
	isNew        bool
}

// load reads what is known of customers. With lock their rows stay locked.
func (d *dealer) load(ctx context.Context, q querier, customers []string, lock string) error {
	first := d.by == nil
	if first {
		d.by = map[string]*dealt{}
	}
	rows, err := q.Query(ctx, `SELECT customer_id, split, prompts FROM contributors WHERE project_id = $1 AND customer_id = ANY($2) `+lock, d.project.ID, customers)
	if err != nil {
		return err
	}
	var id string
	var c dealt
	if _, err = pgx.ForEachRow(rows, []any{&id, &c.split, &c.count}, func() error {
		if d.by[id] == nil {
			known := c
			d.by[id] = &known
		}
		return nil
	}); err != nil || !first {
		return err
	}
	return q.QueryRow(ctx, `SELECT coalesce(max(ordinal) + 1, 0) FROM contributors WHERE project_id = $1`, d.project.ID).Scan(&d.next)
}

// split says on which side of the data a new prompt goes.
func (d *dealer) split(it *settling) (string, error) {
	p := d.project
	if it.rec.Customer == "" {
		if it.rec.Split != "" {
			return it.rec.Split, nil
		}
		return SplitByHash(p.ID+" "+hex.EncodeToString(it.hash[:]), p.ValidShare, p.TestShare), nil
	}
	c := d.by[it.rec.Customer]
	if c == nil {
		c = &dealt{split: it.rec.Split, ordinal: d.next, isNew: true}
		if c.split == "" {
			c.split = SplitByArrival(p.ID, d.next, p.ValidShare, p.TestShare)
		}
		d.by[it.rec.Customer] = c
		d.fresh = append(d.fresh, it.rec.Customer)
		d.next++
	}
	if it.rec.Split != "" && it.rec.Split != c.split {
		return "", invalid("split", "%s: the other prompts of this customer are in %s", it.rec.Split, c.split)
	}
	if c.count+c.added >= p.PromptCap {
		return "", invalid("customer", "it has brought %d prompts, which is all that one may", p.PromptCap)
	}
	c.added++
	return c.split, nil
}

// save writes what a settler's dealer has dealt.
func (d *dealer) save(t *settler) error {
	err := t.copy("contributors", []string{"project_id", "customer_id", "ordinal", "split", "prompts"}, len(d.fresh), func(b copyRow, i int) copyRow {
		c := d.by[d.fresh[i]]
		return b.uuid(t.project.ID).text(d.fresh[i]).int4(c.ordinal).text(c.split).int4(c.added)
	})
	var ids []string
	var counts []int
	for id, c := range d.by {
		if c.added > 0 && !c.isNew {
			ids, counts = append(ids, id), append(counts, c.added)
		}
	}
	if err != nil || len(ids) == 0 {
		return err
	}
	_, err = t.tx.Exec(t.ctx, `UPDATE contributors c SET prompts = c.prompts + u.n FROM unnest($2::text[], $3::int[]) u(id, n)
		WHERE c.project_id = $1 AND c.customer_id = u.id`, t.project.ID, ids, counts)
	return err
}
