package labeling

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// crowd ranks every open task by the given labelers, with a comment each.
func (b *bench) crowd(names ...string) {
	b.Helper()
	for _, name := range names {
		for {
			a, err := b.store.Claim(b.ctx, b.project.ID, name)
			if err != nil {
				b.is(err, ErrEmpty)
				break
			}
			in := best(a, newKey())
			in.Comment = "comment of " + name
			_, err = b.store.Submit(b.ctx, in, nil)
			b.ok(err)
		}
	}
}

// dump is all text in the database.
func (b *bench) dump() string {
	b.Helper()
	var out strings.Builder
	for _, table := range []string{"prompts", "prompt_sources", "responses", "rankings", "assignments", "demonstrations", "redactions", "import_rows", "contributors",
		"labelers", "snapshot_items", "ratings", "comparisons", "kept_completions", "feedback"} {
		rows, err := b.pool.Query(b.ctx, `SELECT t::text FROM `+table+` t`)
		b.ok(err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		b.ok(err)
		fmt.Fprintln(&out, table, strings.Join(lines, "\n"))
	}
	return out.String()
}

func TestEraseCustomer(t *testing.T) {
	b := setup(t)
	for _, who := range []string{"zuzu", "bo"} {
		for i := range 3 {
			p, _, err := b.add(NewPrompt{Text: fmt.Sprintf("Question %d of %s, mail x%d@example.com", i, who, i), Origin: OriginAPI, CustomerID: who, APIKeyID: "key-" + who, Consent: true})
			b.ok(err)
			b.task(p, 3, 2, "round")
		}
	}
	b.crowd("ann", "carl")
	before := b.snapshot()
	taint := func(_ context.Context, _ pgx.Tx, snapshots []string, reason string) ([]Touched, error) {
		if len(snapshots) != 1 || snapshots[0] != before.ID || !strings.HasPrefix(reason, "erasure ") {
			t.Errorf("taint %v, %s", snapshots, reason)
		}
		return []Touched{{ID: "m", Name: "model"}}, nil
	}
	ada := Subject{"customer", "zuzu"}
	was := b.dump()
	preview, err := b.store.Erase(b.ctx, ada, "user:x", true, Erasing{Taint: taint})
	b.ok(err)
	if b.dump() != was || b.count(`SELECT count(*) FROM erasures`) != 0 {
		t.Fatal("the dry run changed something")
	}
	r, err := b.store.Erase(b.ctx, ada, "user:x", false, Erasing{Taint: taint})
	b.ok(err)
	if fmt.Sprint(r.Rows) != fmt.Sprint(preview.Rows) || r.Rows["prompts"] != 3 || r.Rows["tasks"] != 3 || r.Rows["responses"] != 9 || r.Rows["rankings"] != 6 ||
		r.Rows["snapshot_items"] != 6 || r.Rows["redactions"] != 3 || len(r.Snapshots) != 1 || r.Snapshots[0].Rankings != 6 || len(r.Models) != 1 {
		t.Errorf("preview %+v\nreport %+v", preview, r)
	}
	if left := b.dump(); strings.Contains(left, "zuzu") {
		t.Errorf("left of zuzu:\n%s", left)
	}
	if n := b.count(`SELECT count(*) FROM prompts`); n != 3 {
		t.Errorf("%d prompts are left of bo", n)
	}
	if n := b.count(`SELECT count(*) FROM erasures WHERE digest = encode(sha256(report::text::bytea), 'hex') AND report::text NOT LIKE '%Question%'`); n != 1 {
		t.Error("the report has not its digest, or tells too much")
	}
	if n := b.count(`SELECT count(*) FROM audit WHERE act = 'labeling.erase' AND detail::text NOT LIKE '%Question%'`); n != 1 {
		t.Error("no audit row, or one that tells too much")
	}
	b.is(second(b.store.Erase(b.ctx, ada, "user:x", false, Erasing{Taint: taint})), ErrNotFound)
	// The snapshot is what is left, and not to be learned from.
	b.is(second(b.store.SnapshotItems(b.ctx, before.ID)), ErrErased)
	var out bytes.Buffer
	m, err := b.store.ExportSnapshot(b.ctx, &out, before.ID, "rankings")
	b.ok(err)
	if m.Records != 6 || m.Erased != 6 || strings.Contains(out.String(), "zuzu") {
		t.Errorf("%+v\n%s", m, out.String())
	}
	after := b.snapshot()
	if after.N != 6 || after.Erased != 0 {
		t.Errorf("%+v", after)
	}
}

func TestEraseLabeler(t *testing.T) {
	b := setup(t)
	b.tasks(4, 3, 2, "round")
	b.importText(`{"prompt":"p","completions":["a","b"],"ranks":[1,2],"labeler":"ann"}
{"prompt":"p","completions":["a","b"],"ranks":[1,2],"labeler":"bo"}
{"prompt":"q","completions":["a","b"],"ranks":[1,2],"labeler":"ann"}
`, Reading{})
	b.crowd("ann", "carl")
	a, err := b.store.Claim(b.ctx, b.project.ID, "ann")
	if a != nil || err == nil {
		t.Fatal(a, err)
	}
	r, err := b.store.Erase(b.ctx, Subject{"labeler", "ann"}, "user:x", false, Erasing{})
	b.ok(err)
	if r.Rows["rankings"] != 4 || r.Rows["assignments"] != 4 || r.Rows["labelers"] != 1 || r.Rows["prompts"] != 0 {
		t.Errorf("%+v", r)
	}
	if n := b.count(`SELECT count(*) FROM tasks WHERE batch = 'round' AND open_slots = 1 AND done = 1`); n != 4 {
		t.Errorf("%d of 4 tasks are open again", n)
	}
	r, err = b.store.Erase(b.ctx, Subject{"labeler", "import:ann"}, "user:x", false, Erasing{})
	b.ok(err)
	if r.Rows["rankings"] != 2 || r.Rows["tasks"] != 1 {
		t.Errorf("%+v", r)
	}
	if left := b.dump(); strings.Contains(left, "ann") {
		t.Errorf("left of ann:\n%s", left)
	}
	b.crowd("dora")
	if n := b.count(`SELECT count(*) FROM tasks WHERE done <> need`); n != 0 {
		t.Errorf("%d tasks are not done", n)
	}
	if n := b.count(`SELECT count(*) FROM tasks t WHERE done <> (SELECT count(*) FROM assignments a WHERE a.task_id = t.id AND a.ranking_id IS NOT NULL)`); n != 0 {
		t.Errorf("%d tasks are counted wrong", n)
	}
}

// dumpAll is every row of every table, as a dump of the database has them.
func (b *bench) dumpAll(but ...string) string {
	b.Helper()
	rows, err := b.pool.Query(b.ctx, `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables
		WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') AND table_name <> ALL($1) ORDER BY 1`, append([]string{}, but...))
	b.ok(err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	b.ok(err)
	if len(tables) < 40 {
		b.Fatalf("only %d tables", len(tables))
	}
	var out strings.Builder
	for _, table := range tables {
		rows, err := b.pool.Query(b.ctx, `SELECT encode(convert_to(t::text, 'UTF8'), 'escape') FROM `+table+` t`) // bytea prints in hex: look into it too
		b.ok(err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		b.ok(err)
		fmt.Fprintln(&out, table, strings.Join(lines, "\n"))
	}
	return out.String()
}

// What a person wrote is nowhere in the database once the person is erased, in no table, whoever owns it; and no table but the
// log of who did what, and the erasures themselves, has the person's name.
func TestErasureLeavesNoCanary(t *testing.T) {
	const words, name = "canary7f3a", "who7f3a"
	b := setup(t)
	hexes := func(s string) []string { return []string{s, fmt.Sprintf("%x", s)} }
	for i := range 3 {
		p, _, err := b.add(NewPrompt{Text: fmt.Sprintf("%s asks %d, mail x%d@example.com", words, i, i), Origin: OriginAPI, CustomerID: name + "customer", APIKeyID: "key", Consent: true})
		b.ok(err)
		b.task(p, 3, 2, "")
	}
	file := fmt.Sprintf(`{"prompt":"%[1]s in a file","completions":["a","%[1]s"],"ranks":[1,2],"customer":"%[2]scustomer"}`, words, name)
	run, err := b.store.StartImport(b.ctx, NewImport{ProjectID: b.project.ID, Name: "file", Actor: "test"}, strings.NewReader(file), "")
	b.ok(err)
	_, _, err = b.store.Stage(b.ctx, run, strings.NewReader(file)) // on its way when the erasure comes
	b.ok(err)
	labeler := name + "labeler"
	a := b.claim(labeler)
	in := best(a, newKey())
	in.Comment = words + " comment"
	_, err = b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	b.ok(b.store.Report(b.ctx, a.ID, labeler, "other", words+" report"))
	b.submit(b.claim(labeler)) // one that figures count
	other := b.claim(labeler)
	b.ok(b.store.SaveDraft(b.ctx, other.ID, labeler, Draft{Comment: words + " draft"}))
	b.ok(b.store.Skip(b.ctx, other.ID, labeler, words+" skip"))
	b.ok(b.store.RefreshDashboard(b.ctx, b.project.ID))
	before := b.dumpAll()
	for _, s := range append(hexes(name), words) {
		if !strings.Contains(before, s) {
			t.Fatalf("%q is not there to begin with", s)
		}
	}
	for _, who := range []Subject{{"customer", name + "customer"}, {"labeler", labeler}} {
		_, err := b.store.Erase(b.ctx, who, "user:x", false, Erasing{})
		b.ok(err)
	}
	left := b.dumpAll()
	for _, s := range hexes(words) {
		if at := strings.Index(left, s); at >= 0 {
			t.Errorf("words are left: %s", left[max(0, at-200):at+100])
		}
	}
	left = b.dumpAll("audit", "erasures")
	for _, s := range hexes(name) {
		if at := strings.Index(left, s); at >= 0 {
			t.Errorf("a name is left: %s", left[max(0, at-200):at+100])
		}
	}
	b.ok(b.store.settleAll(b.ctx, run.ID)) // what was on its way does not arrive
	if n := b.count(`SELECT count(*) FROM prompts WHERE text LIKE '%canary%'`); n > 0 {
		t.Errorf("%d prompts came back", n)
	}
	b.ok(b.store.RefreshDashboard(b.ctx, b.project.ID))
}

// Nothing but an erasure, in its own transaction, takes rows from the append-only tables.
func TestOnlyErasureDeletes(t *testing.T) {
	b := setup(t)
	b.tasks(1, 2, 1, "")
	b.crowd("ann")
	for _, prepare := range []string{`SELECT 1`, `SELECT set_config('rankloop.erasure', (SELECT id::text FROM erasures), true)`} {
		b.sql(`INSERT INTO erasures (id, subject, actor) SELECT gen_random_uuid(), 'x:y', 'x' WHERE NOT EXISTS (SELECT 1 FROM erasures)`)
		for _, table := range []string{"ratings", "rankings", "responses"} {
			err := pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(b.ctx, prepare); err != nil {
					return err
				}
				_, err := tx.Exec(b.ctx, `DELETE FROM `+table)
				return err
			})
			if table != "ratings" && (err == nil || !strings.Contains(err.Error(), "append-only")) {
				t.Errorf("%s after %s: %v", table, prepare, err)
			}
		}
	}
	b.invalid(second(b.store.Erase(b.ctx, Subject{"row", "x"}, "x", true, Erasing{})), "subject")
	b.invalid(second(b.store.Erase(b.ctx, Subject{"labeler", ""}, "x", true, Erasing{})), "subject")
}

func TestDeliveries(t *testing.T) {
	b := setup(t)
	w, err := b.store.AddWebhook(b.ctx, "https://example.com/hook", []string{"ranking.submitted", "task.completed"}, "user:x")
	b.ok(err)
	for _, bad := range []string{"", "example.com", "ftp://example.com", "https://a:b@example.com", "https://" + strings.Repeat("x", 2000)} {
		b.invalid(second(b.store.AddWebhook(b.ctx, bad, nil, "x")), "url")
	}
	b.invalid(second(b.store.AddWebhook(b.ctx, "https://example.com", []string{"nothing"}, "x")), "events")
	b.tasks(1, 2, 2, "")
	b.crowd("ann", "bo") // two rankings, one task completed
	fail := 2
	var sent []Delivery
	send := func(_ context.Context, d Delivery) (int, error) {
		if fail--; fail >= 0 {
			return 503, nil
		}
		sent = append(sent, d)
		return 204, nil
	}
	deliver := func() (n int) {
		for b.store.DeliverNext(b.ctx, send) == nil {
			n++
		}
		return n
	}
	if n := deliver(); n != 3 || len(sent) != 1 {
		t.Errorf("%d attempts, %d delivered", n, len(sent))
	}
	if n := b.count(`SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting' AND status = 503 AND attempts = 1 AND next_at > now() + interval '1 second'`); n != 2 {
		t.Errorf("%d are to be tried again", n)
	}
	b.sql(`UPDATE webhook_deliveries SET next_at = now()`)
	deliver()
	events := map[string]int{}
	for _, d := range sent {
		events[d.Event]++
		if !strings.Contains(d.Payload, `"type": "`+d.Event+`"`) || strings.Contains(d.Payload, "answer") {
			t.Errorf("%s", d.Payload)
		}
	}
	if fmt.Sprint(events) != "map[ranking.submitted:2 task.completed:1]" {
		t.Errorf("%v", events)
	}
	b.is(b.store.DeliverNext(b.ctx, send), ErrEmpty)
	// Given up after all attempts, and replayed.
	b.ok(b.store.TestWebhook(b.ctx, w.ID, "user:x"))
	for fail = len(backoff) + 1; fail > 0; {
		b.sql(`UPDATE webhook_deliveries SET next_at = now()`)
		b.ok(b.store.DeliverNext(b.ctx, send))
	}
	list, err := b.store.Deliveries(b.ctx, 10)
	b.ok(err)
	if len(list) != 4 || list[0].State != "failed" || list[0].Attempts != len(backoff)+1 || list[0].Error != "answered 503" {
		t.Errorf("%+v", list[0])
	}
	b.is(b.store.DeliverNext(b.ctx, send), ErrEmpty)
	b.ok(b.store.ReplayDelivery(b.ctx, list[0].ID, "user:x"))
	if n := deliver(); n != 1 || sent[len(sent)-1].EventID != list[0].EventID {
		t.Errorf("%d replayed", n)
	}
	b.ok(b.store.RemoveWebhook(b.ctx, w.ID, "user:x"))
	b.is(b.store.RemoveWebhook(b.ctx, w.ID, "user:x"), ErrNotFound)
}
