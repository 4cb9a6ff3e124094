package labeling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func (b *bench) importText(text string, how Reading) ImportReport {
	b.Helper()
	report, err := b.store.ImportFile(b.ctx, NewImport{ProjectID: b.project.ID, Name: "file", Actor: "test", Reading: how}, strings.NewReader(text))
	b.ok(err)
	if report.Read != report.Imported+report.Duplicates+report.Rejected {
		b.Errorf("%+v does not add up", report)
	}
	return report
}

// counts without the reasons.
func counts(r ImportReport) string {
	return fmt.Sprintf("%s %d = %d + %d + %d", r.Format, r.Read, r.Imported, r.Duplicates, r.Rejected)
}

// A file of every kind of record, in small chunks of lines, cut off and gone on with: the
// tables hold what one whole import would have put there.
func TestImportGoesOn(t *testing.T) {
	var file strings.Builder
	const n = 9000
	for i := range n {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&file, `{"prompt":"Question %d?","chosen":"Yes %d.","rejected":"No.","labeler":"ann"}`+"\n", i, i)
		case 1:
			fmt.Fprintf(&file, `{"prompt":"Task %d","completion":"Done %d."}`+"\n", i, i)
		default:
			fmt.Fprintf(&file, `{"prompt":"Open %d"}`+"\n", i)
		}
	}
	b := setup(t)
	run, err := b.store.StartImport(b.ctx, NewImport{ProjectID: b.project.ID, Name: "file", Actor: "test"}, strings.NewReader(file.String()), "")
	b.ok(err)
	// The reader breaks off as a killed process does: what was staged stays staged.
	broken, cancel := context.WithCancel(b.ctx)
	_, _, err = b.store.Stage(broken, run, &breaking{r: strings.NewReader(file.String()), left: file.Len() / 2, then: cancel})
	b.is(err, context.Canceled)
	b.sql(`UPDATE imports SET line = 100, read = 100 WHERE id = $1`, run.ID) // as if one chunk had been staged
	b.sql(`DELETE FROM import_rows`)
	again, err := b.store.StartImport(b.ctx, NewImport{ProjectID: b.project.ID, Name: "file", Actor: "test"}, strings.NewReader(file.String()), "")
	b.ok(err)
	if again.ID != run.ID || again.Line != 100 {
		t.Fatalf("not the same import: %+v", again)
	}
	// The next process settles some chunks and dies, and a third one finishes.
	run, _, err = b.store.Stage(b.ctx, again, strings.NewReader(file.String()))
	b.ok(err)
	for range 2 {
		if more, err := b.store.settle(b.ctx, run.ID); err != nil || !more {
			t.Fatal(more, err)
		}
	}
	run, err = b.store.ImportByID(b.ctx, run.ID)
	b.ok(err)
	run, err = b.store.WorkImport(b.ctx, run, nil)
	b.ok(err)
	if got := counts(run.ImportReport); got != fmt.Sprintf("trl %d = %d + 0 + 0", n, n-100) || run.State != "done" { // 100 were made to be missing
		t.Errorf("%s, %s", got, run.State)
	}
	if got := counts(b.importText(file.String(), Reading{})); got != fmt.Sprintf("trl %d = 100 + %d + 0", n, n-100) {
		t.Errorf("a second time: %s", got)
	}
	if got := counts(b.importText(file.String(), Reading{})); got != fmt.Sprintf("trl %d = 0 + %d + 0", n, n) {
		t.Errorf("a third time: %s", got)
	}
	b.sound()
	for table, want := range map[string]int{"rankings": n / 3, "comparisons": n / 3, "tasks": n / 3, "responses": 2 * n / 3, "demonstrations": n / 3, "prompts": 2 * n / 3,
		"prompt_sources": 2 * n / 3, "import_rows": 0} {
		if got := b.count(`SELECT count(*) FROM ` + table); got != want {
			t.Errorf("%d %s, want %d", got, table, want)
		}
	}
	if got := b.count(`SELECT done FROM labelers WHERE labeler_id = 'import:ann'`); got != n/3 {
		t.Errorf("ann has done %d", got)
	}
}

// breaking fails in the middle of a file.
type breaking struct {
	r    io.Reader
	left int
	then func()
}

func (r *breaking) Read(p []byte) (int, error) {
	if r.left <= 0 {
		r.then()
		return 0, errors.New("cut off")
	}
	n, err := r.r.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// A file that is damaged in its middle: what came before counts, and the error is told.
func TestImportOfDamagedFile(t *testing.T) {
	b := setup(t)
	file := `{"prompt":"a"}` + "\n" + `{"prompt":"b"}` + "\n" + `{"prompt":"` + strings.Repeat("x", maxLine)
	report, err := b.store.ImportFile(b.ctx, NewImport{ProjectID: b.project.ID, Name: "file", Actor: "test"}, strings.NewReader(file))
	if err == nil || !strings.Contains(err.Error(), "line 3: longer") || report.Imported != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	runs, err := b.store.Imports(b.ctx, b.project.ID, 10)
	b.ok(err)
	if len(runs) != 1 || runs[0].State != "failed" || !strings.Contains(runs[0].Error, "longer") {
		t.Errorf("%+v", runs)
	}
}

func TestImportDeduplicates(t *testing.T) {
	b := setup(t)
	long := strings.Repeat("The same beginning of many words. ", 10)
	file := fmt.Sprintf(`{"prompt":"%[1]s one"}
{"prompt":"%[1]s two"}
{"prompt":"  %[1]s   three"}
{"prompt":"short"}
{"prompt":" short  "}
{"prompt":"%[1]s four","chosen":"a","rejected":"b"}
{"prompt":"%[1]s one","completion":"x"}
`, long)
	if got := counts(b.importText(file, Reading{})); got != "trl 7 = 4 + 3 + 0" { // a ranking or demonstration is data of its own
		t.Error(got)
	}
	if _, _, err := b.add(NewPrompt{Text: long + "five", Origin: OriginAPI, CustomerID: "ada", Consent: true}); !errors.Is(err, ErrAlike) {
		t.Errorf("an API prompt that begins alike: %v", err)
	}
	if _, created, err := b.add(NewPrompt{Text: long + "one", Origin: OriginAPI, CustomerID: "ada", Consent: true}); err != nil || created {
		t.Errorf("the same prompt: %v, %v", created, err)
	}
	// Files compare with what is there, in a dry run too.
	more := `{"prompt":"` + long + ` six"}` + "\n" + `{"prompt":"short"}`
	dry, err := b.store.CheckImport(b.ctx, b.project.ID, Reading{}, strings.NewReader(more))
	b.ok(err)
	for _, report := range []ImportReport{dry, b.importText(more, Reading{})} {
		if got := counts(report); got != "trl 2 = 0 + 2 + 0" {
			t.Error(got)
		}
	}
}

func TestImportCapsAndSplitsCustomers(t *testing.T) {
	b := setup(t, func(p *Project) { p.PromptCap, p.ValidShare, p.TestShare = 3, 0.25, 0.25 })
	var file strings.Builder
	for i := range 40 {
		fmt.Fprintf(&file, `{"prompt":"Question %d","customer":"customer %d"}`+"\n", i, i%8)
	}
	fmt.Fprintln(&file, `{"prompt":"Another","customer":"new","split":"test"}`)
	fmt.Fprintln(&file, `{"prompt":"And another","customer":"new","split":"train"}`)
	if got := counts(b.importText(file.String(), Reading{})); got != "trl 42 = 25 + 0 + 17" {
		t.Error(got)
	}
	if n := b.count(`SELECT count(*) FROM (SELECT customer_id FROM prompts GROUP BY customer_id HAVING count(DISTINCT split) > 1) q`); n > 0 {
		t.Errorf("%d customers on two sides", n)
	}
	if n := b.count(`SELECT count(DISTINCT split) FROM prompts`); n != 3 {
		t.Errorf("%d splits of 3 are used", n)
	}
	if n := b.count(`SELECT count(*) FROM contributors c WHERE prompts <> (SELECT count(*) FROM prompts p WHERE p.customer_id = c.customer_id)`); n > 0 {
		t.Errorf("%d customers are counted wrong", n)
	}
	_, _, err := b.add(NewPrompt{Text: "One more", Origin: OriginAPI, CustomerID: "customer 1", Consent: true})
	b.is(err, ErrCapped)
	reasons, err := b.store.ImportReasons(b.ctx, b.lastImport().ID)
	b.ok(err)
	if len(reasons) != 17 || !strings.Contains(reasons[0].Error(), "line 25: customer: it has brought 3 prompts") {
		t.Errorf("%v", reasons)
	}
}

func (b *bench) lastImport() ImportRun {
	b.Helper()
	runs, err := b.store.Imports(b.ctx, b.project.ID, 1)
	b.ok(err)
	return runs[0]
}

// Personal data never reaches what is served, whichever way it comes in.
func TestPersonalDataIsRedacted(t *testing.T) {
	b := setup(t)
	const mail = "ann.secret@example.com"
	b.importText(`{"prompt":"Write to `+mail+` now","chosen":"Dear `+mail+`,","rejected":"No."}
{"prompt":"Call +886 912 345 678","completion":"Calling A123456789."}
{"prompt":"Only `+mail+`"}
{"prompt":"Only bo@example.org"}
`, Reading{})
	if got := counts(b.lastImport().ImportReport); got != "trl 4 = 3 + 1 + 0" || b.lastImport().Redacted != 4 { // the last two are the same once redacted
		t.Error(got, b.lastImport().Redacted)
	}
	p, _, err := b.add(NewPrompt{Text: "API: " + mail, Messages: []Message{{"user", "API: " + mail}}, TokenIDs: []int32{1}, TokenizerDigest: "t", Origin: OriginAPI, CustomerID: "ada", Consent: true})
	b.ok(err)
	if p.Text != "API: [EMAIL]" || p.Messages[0].Content != "API: [EMAIL]" || p.TokenIDs != nil {
		t.Errorf("%+v", p)
	}
	for table, columns := range map[string]string{"prompts": "messages::text || text", "responses": "text", "demonstrations": "messages::text || response", "import_rows": "body"} {
		if n := b.count(`SELECT count(*) FROM ` + table + ` WHERE ` + columns + ` ~ '@example|A123456789|0?912'`); n > 0 {
			t.Errorf("%d %s hold personal data", n, table)
		}
	}
	if n := b.count(`SELECT count(*) FROM redactions WHERE subject <> 'prompt' AND state = 'confirmed' AND original IS NULL`); n != 2 { // one answer, one demonstration
		t.Errorf("%d redactions of answers", n)
	}
	open, err := b.store.Redactions(b.ctx, b.project.ID, "", 10)
	b.ok(err)
	if len(open) != 3 {
		t.Fatalf("%d under review: %+v", len(open), open)
	}
	if f := open[0].Finds; len(f) != 1 || f[0].Kind != PIIEmail || f[0].Place != "messages[0]" || (*open[0].Original)[f[0].Start:f[0].End] != mail {
		t.Errorf("%+v", open[0])
	}
	// What has been ranked stays redacted; else the original comes back; confirmed, it is gone.
	b.is(b.store.UndoRedaction(b.ctx, open[0].ID, "user:x"), ErrConflict)
	b.ok(b.store.UndoRedaction(b.ctx, open[1].ID, "user:x"))
	b.ok(b.store.ConfirmRedaction(b.ctx, open[0].ID, "user:x"))
	b.is(b.store.ConfirmRedaction(b.ctx, open[0].ID, "user:x"), ErrNotFound)
	if back, err := b.store.Prompt(b.ctx, open[1].SubjectID); err != nil || back.Text != "Only "+mail {
		t.Errorf("%+v, %v", back, err)
	}
	if n := b.count(`SELECT count(*) FROM redactions WHERE original IS NOT NULL`); n != 1 {
		t.Errorf("%d originals are kept", n)
	}
	if _, created, _ := b.add(NewPrompt{Text: "Only " + mail, Origin: OriginImport}); !created { // compared as it is stored: redacted
		t.Error("the redacted form is another prompt than the one that a reviewer let through")
	}
	if n := b.count(`SELECT count(*) FROM audit WHERE act LIKE 'labeling.redaction_%' AND detail::text LIKE '%secret%'`); n > 0 {
		t.Error("the audit log tells")
	}
	b.sound()
}

// An event is told when the import's last transaction commits, and not before.
func TestImportEmits(t *testing.T) {
	b := setup(t)
	b.sql(`INSERT INTO webhooks (id, url, events, created_by) VALUES (gen_random_uuid(), 'https://example.com', '{import.*}', 'x'), (gen_random_uuid(), 'https://example.org', '{round.*}', 'x')`)
	b.importText(`{"prompt":"a"}`, Reading{})
	if n := b.count(`SELECT count(*) FROM webhook_deliveries WHERE event = 'import.finished' AND payload -> 'data' ->> 'imported' = '1'`); n != 1 {
		t.Errorf("%d deliveries", n)
	}
	tx, err := b.pool.Begin(b.ctx)
	b.ok(err)
	b.ok(Emit(b.ctx, tx, "import.finished", nil))
	b.ok(tx.Rollback(b.ctx))
	if n := b.count(`SELECT count(*) FROM webhook_deliveries`); n != 1 {
		t.Errorf("%d deliveries after a rollback", n)
	}
}

// TestImportFiles imports the examples of all formats, and whole published files where
// $RANKLOOP_PREFERENCES names them, twice each, and prints what became of them.
func TestImportFiles(t *testing.T) {
	names, err := filepath.Glob("testdata/import/*.[jc]s*") // not the golden files
	if err != nil || len(names) < 10 {
		t.Fatal(names, err)
	}
	names = append(names, strings.Fields(os.Getenv("RANKLOOP_PREFERENCES"))...)
	b := setup(t, func(p *Project) { p.ValidShare = 0.1 })
	for _, name := range names {
		f, err := os.Open(name)
		b.ok(err)
		for round := range 2 {
			_, err := f.Seek(0, io.SeekStart)
			b.ok(err)
			report, err := b.store.ImportFile(b.ctx, NewImport{ProjectID: b.project.ID, Name: name, Actor: "test"}, f)
			b.ok(err)
			t.Logf("%s: %s, %d redacted", name, counts(report), b.lastImport().Redacted)
			if report.Read == 0 || report.Read != report.Imported+report.Duplicates+report.Rejected || round == 1 && report.Imported > 0 {
				t.Errorf("%s: %+v", name, report)
			}
		}
		f.Close()
	}
	b.sound()
	var snap Snapshot
	b.tx(func(tx pgx.Tx) (err error) {
		snap, err = b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		return err
	})
	t.Logf("%d rankings of %d tasks", snap.N, snap.Prompts)
}
