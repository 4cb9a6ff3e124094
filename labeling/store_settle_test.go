package labeling

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// mixedFile has every kind of record: doubles, joined tasks, customers, personal data, ties, token ids, contradictions.
func mixedFile(n int) string {
	var file strings.Builder
	for i := range n {
		switch i % 8 {
		case 0:
			fmt.Fprintf(&file, `{"prompt":"Question %d?","completions":["Yes %d.","No \"%d\".\n"],"ranks":[1,2],"labeler":"ann","customer":"c%d"}`, i, i, i, i%24)
		case 1:
			fmt.Fprintf(&file, `{"prompt":"Question %d?","completions":["Yes %d.","No \"%d\".\n"],"ranks":[2,1],"labeler":"bo"}`, i-1, i-1, i-1)
		case 2:
			fmt.Fprintf(&file, `{"prompt":[{"role":"system","content":"Mail x%d@example.com."},{"role":"user","content":"Open %d 明"}],"completions":["a","b%d@example.com","c"],"ranks":[1,1,3]}`, i, i, i)
		case 3:
			fmt.Fprintf(&file, `{"prompt":"Ids %d","completions":["a","b"],"ranks":[1,2],"prompt_ids":[1,2],"completion_ids":[[3],[4,5]],"tokenizer":"t"}`, i)
		case 4:
			fmt.Fprintf(&file, `{"prompt":"Question %d?","completions":["Yes %d.","No \"%d\".\n"],"ranks":[2,1],"labeler":"ann"}`, i-4, i-4, i-4) // she said otherwise
		case 5:
			fmt.Fprintf(&file, `{"prompt":"Ids %d","completions":["a","b"],"ranks":[1,2],"prompt_ids":[1,2],"completion_ids":[[3],[4,5]],"tokenizer":"t"}`, i-2)
		default:
			fmt.Fprintf(&file, `{"prompt":"Other answers to question %d","completions":["x","y","z"],"ranks":[3,2,1],"labeler":"carl"}`, i%40)
		}
		file.WriteByte('\n')
	}
	return file.String()
}

// content is what a project holds, without ids and times.
func (b *bench) content() string {
	b.Helper()
	rows, err := b.pool.Query(b.ctx, `
		SELECT concat_ws('|', p.text, p.messages::text, encode(p.hash, 'hex'), p.token_ids::text, p.tokenizer_digest, p.customer_id, p.split, p.tasks, encode(p.prefix, 'hex'), s.origin, s.customer_id,
			(SELECT string_agg(concat_ws('/', t.k, t.need, t.done, t.open_slots,
				(SELECT string_agg(concat_ws(',', q.position, q.text, encode(q.raw, 'hex'), q.token_ids::text, q.tokenizer_digest), ';' ORDER BY q.position) FROM responses q WHERE q.task_id = t.id),
				(SELECT string_agg(concat_ws(',', a.labeler_id, a.state, a.display_order::text, r.ranks::text, encode(r.request_hash, 'hex'), split_part(r.idempotency_key, ' ', 3),
					(SELECT string_agg(w.position || '>' || l.position, ' ' ORDER BY w.position, l.position) FROM comparisons c JOIN responses w ON w.id = c.winner_id JOIN responses l ON l.id = c.loser_id WHERE c.ranking_id = r.id)), ';' ORDER BY a.labeler_id)
					FROM assignments a JOIN rankings r ON r.id = a.ranking_id WHERE a.task_id = t.id)), ' ' ORDER BY t.id) FROM tasks t WHERE t.prompt_id = p.id),
			(SELECT string_agg(concat_ws(',', d.subject, d.finds::text, d.original::text, d.state), ';' ORDER BY d.subject) FROM redactions d WHERE d.subject_id = p.id OR d.subject_id IN (SELECT id FROM responses WHERE prompt_id = p.id)))
		FROM prompts p JOIN prompt_sources s ON s.prompt_id = p.id ORDER BY p.hash
	`)
	b.ok(err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	b.ok(err)
	return strings.Join(list, "\n")
}

// What a superuser, whose triggers are spared, brings into the tables is what another user brings, whose every row is checked.
func TestSettleWithoutTrust(t *testing.T) {
	file := mixedFile(600)
	fixed := func(p *Project) { p.ValidShare, p.PromptCap = 0, 100 }
	b := setup(t, fixed)
	if !b.store.mayTrust(b.ctx) {
		t.Fatal("the tests' own user may not")
	}
	want := counts(b.importText(file, Reading{}))
	b.sound()
	plain := setup(t, fixed)
	plain.sql(`DO $$ BEGIN CREATE ROLE rankloop_plain; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
	plain.sql(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO rankloop_plain`)
	plain.sql(`GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO rankloop_plain`)
	config := plain.pool.Config()
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `SET ROLE rankloop_plain`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(plain.ctx, config)
	plain.ok(err)
	defer pool.Close()
	plain.store = NewStore(pool)
	if plain.store.mayTrust(plain.ctx) {
		t.Fatal("a plain user may")
	}
	if got := counts(plain.importText(file, Reading{})); got != want || !strings.HasSuffix(want, " 600 = 310 + 215 + 75") {
		t.Errorf("%s, with trust %s", got, want)
	}
	plain.sound()
	if got, want := plain.content(), b.content(); got != want || len(got) < 10000 {
		t.Errorf("the tables differ:\n%s\n\n%s", got, want)
	}
	// What was spared would have passed: every reference finds its row.
	for _, c := range []struct{ table, column, to string }{{"prompts", "project_id", "projects"}, {"prompt_sources", "prompt_id", "prompts"}, {"tasks", "prompt_id", "prompts"}, {"responses", "task_id", "tasks"},
		{"responses", "prompt_id", "prompts"}, {"assignments", "task_id", "tasks"}, {"assignments", "ranking_id", "rankings"}, {"rankings", "assignment_id", "assignments"}, {"comparisons", "ranking_id", "rankings"},
		{"comparisons", "winner_id", "responses"}, {"comparisons", "loser_id", "responses"}} {
		if n := b.count(`SELECT count(*) FROM ` + c.table + ` x WHERE x.` + c.column + ` IS NOT NULL AND NOT EXISTS (SELECT FROM ` + c.to + ` y WHERE y.id = x.` + c.column + `)`); n > 0 {
			t.Errorf("%d %s whose %s is nowhere", n, c.table, c.column)
		}
	}
	if n := b.count(`SELECT count(*) FROM guideline_acks`); n != b.count(`SELECT count(*) FROM labelers`) {
		t.Error("the trigger of a new labeler was spared too")
	}
}

// Lines that were read ahead and that an erasure, or another process, took since are not written.
func TestSettleNoticesWhatWentMeanwhile(t *testing.T) {
	b := setup(t)
	file := mixedFile(80)
	run, err := b.store.StartImport(b.ctx, NewImport{ProjectID: b.project.ID, Name: "file", Actor: "test"}, strings.NewReader(file), "")
	b.ok(err)
	run, _, err = b.store.Stage(b.ctx, run, strings.NewReader(file))
	b.ok(err)
	ahead, err := b.store.staged(b.ctx, run.ID, 0)
	b.ok(err)
	_, err = b.store.Erase(b.ctx, Subject{"customer", "c0"}, "user:x", false, Erasing{})
	b.ok(err)
	_, err = b.store.settleOnce(b.ctx, run.ID, ahead, true)
	b.is(err, errStale)
	if n := b.count(`SELECT count(*) FROM prompts`); n != 0 {
		t.Errorf("%d prompts were written", n)
	}
	b.ok(b.store.settleAll(b.ctx, run.ID))
	if n := b.count(`SELECT count(*) FROM prompts WHERE customer_id = 'c0'`); n != 0 {
		t.Error("the erased customer is back")
	}
	b.sound()
}

// A dry run says what the import then says, with reasons, on an empty project, on one that holds half of it, and on one that
// holds all; and it changes nothing.
func TestCheckImport(t *testing.T) {
	long := strings.Repeat("The same beginning of many words. ", 10)
	file := mixedFile(400) + fmt.Sprintf(`{"prompt":"%[1]s one"}
{"prompt":"%[1]s two"}
{"prompt":"%[1]s two","completion":"said"}
{"prompt":"%[1]s two","completion":"said"}
{"prompt":"many","completions":["1","2","3","4","5","6","7","8","9","10"],"ranks":[1,2,3,4,5,6,7,8,9,10]}
{"prompt":"withdrawn","completions":["a","b"],"ranks":[1,2]}
{"prompt":"x","completions":["a"]}
{"prompt":"capped 1","completions":["a","b"],"ranks":[1,2],"customer":"full"}
{"prompt":"capped 2","completions":["a","b"],"ranks":[1,2],"customer":"full"}
{"prompt":"capped 3","completions":["a","b"],"ranks":[1,2],"customer":"full"}
{"prompt":"capped 1","completions":["a","b"],"ranks":[1,2],"customer":"full"}
not JSON
{"prompt":"Mail ann@example.com"}
{"prompt":"Mail bo@example.com"}
`, long)
	half := mixedFile(150) + fmt.Sprintf(`{"prompt":"%s three"}`+"\n", long)
	b := setup(t, func(p *Project) { p.PromptCap = 20 })
	p, _, err := b.add(NewPrompt{Text: "withdrawn", Origin: OriginAPI, CustomerID: "gone", APIKeyID: "k", Consent: true})
	b.ok(err)
	b.tx(func(tx pgx.Tx) error {
		_, err := b.store.SetConsent(b.ctx, tx, "gone", "", false)
		return err
	})
	_ = p
	b.sql(`INSERT INTO contributors (project_id, customer_id, ordinal, split, prompts) VALUES ($1, 'full', 7, 'train', 18)`, b.project.ID)
	full := Reading{Format: "rankings"}
	for _, step := range []struct {
		name, file string
		how        Reading
	}{{"half", half, Reading{}}, {"all", file, Reading{}}, {"again", file, Reading{}}, {"as rankings", file, full}} {
		before := b.dump()
		dry, err := b.store.CheckImport(b.ctx, b.project.ID, step.how, strings.NewReader(step.file))
		b.ok(err)
		if b.dump() != before {
			t.Errorf("%s: the dry run changed something", step.name)
		}
		real := b.importText(step.file, step.how)
		if counts(dry) != counts(real) || fmt.Sprint(dry.Reasons) != fmt.Sprint(real.Reasons) || len(real.Reasons) != real.Rejected {
			t.Errorf("%s: dry %s\n%v\nreal %s\n%v", step.name, counts(dry), dry.Reasons, counts(real), real.Reasons)
		}
		t.Log(step.name, counts(real))
	}
	b.is(second(b.store.CheckImport(b.ctx, newKey(), Reading{}, strings.NewReader(file))), ErrNotFound)
	// What cannot be read any further counts as far as it was read.
	cut := file[:len(file)/2] + strings.Repeat("x", maxLine+10)
	dry, dryErr := b.store.CheckImport(b.ctx, b.project.ID, Reading{}, strings.NewReader(cut))
	real, realErr := b.store.ImportFile(b.ctx, NewImport{ProjectID: b.project.ID, Name: "cut", Actor: "test"}, strings.NewReader(cut))
	if dryErr == nil || fmt.Sprint(dryErr) != fmt.Sprint(realErr) || counts(dry) != counts(real) {
		t.Errorf("dry %s, %v; real %s, %v", counts(dry), dryErr, counts(real), realErr)
	}
}
