package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// importer runs the job of imports until it is told to die.
func (w *world) importer() (die func()) {
	w.Helper()
	workers := river.NewWorkers()
	labeling.AddDataWorkers(workers, w.labeling, labeling.DataWork{
		Open: func(file string) (io.ReadCloser, error) { return os.Open(filepath.Join(w.server.Uploads, file)) },
		Done: func(string) {},
		Send: func(context.Context, labeling.Delivery) (int, error) { return 200, nil },
	})
	client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{Schema: "river", Logger: slog.New(slog.DiscardHandler), Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}}, PeriodicJobs: labeling.DataJobs()})
	w.must(err)
	w.must(client.Start(context.WithoutCancel(w.Context())))
	dead := false
	die = func() {
		if dead {
			return
		}
		dead = true
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := client.StopAndCancel(ctx); err != nil {
			w.Error(err)
		}
	}
	w.Cleanup(die)
	return die
}

// TestAdmin2Import is journey 2 of admins: a dry run names what is wrong by its line, the server dies in the middle of the import and
// goes on where it was, doubles are told by their hashes, every line is counted once, and the pages answer beside it.
func TestAdmin2Import(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	const records, doubles = 9000, 100
	var file strings.Builder
	for i := range records + doubles {
		fmt.Fprintf(&file, `{"prompt":"Question number %d","chosen":"Yes.","rejected":"No.","labeler":"ann"}`+"\n", i%records)
		if i == 1 || i == 6000 {
			file.WriteString(`{"prompt":"Alike","chosen":"a","rejected":"a"}` + "\n")
		}
	}
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/import")
	send := func(dry bool) {
		b.Helper()
		b.choose("#file", "many.jsonl", file.String())
		if dry {
			b.click(`input[name="dry"]`)
		}
		b.follow(`form[action^="/admin/import"] .btn.primary`)
	}
	send(true)
	b.says(fmt.Sprintf("%d records read as trl: %d new, %d doubles, 2 rejected", records+doubles+2, records, doubles))
	b.says("Line 3: rejected: equal to chosen")
	b.says("Line 6003: rejected: equal to chosen")
	b.axe()
	b.size(360, 740)
	b.fitsWidth()
	b.shot("dry-phone")
	b.size(1280, 900)
	if n := w.count(`SELECT count(*) FROM imports`) + w.count(`SELECT count(*) FROM prompts`); n != 0 {
		t.Errorf("the dry run left %d rows", n)
	}

	// Somebody holds the prompt of a later line: the import stops there, half done.
	tx, err := w.pool.Begin(t.Context())
	w.must(err)
	_, _, err = w.labeling.AddPrompt(t.Context(), tx, labeling.NewPrompt{ProjectID: w.project.ID, Messages: says("Question number 8500"), Origin: labeling.OriginImport})
	w.must(err)
	die := w.importer()
	send(false)
	page := eval[string](b, `location.pathname`)
	imported := func() int { return w.count(`SELECT count(*) FROM prompts`) }
	for imported() == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	b.visit(page)
	b.says("State: settling.")
	b.until(`document.querySelector("progress").value > 0 && document.querySelector("progress").value < document.querySelector("progress").max`)
	b.visit("/admin/projects") // beside it
	b.says("main")
	die()
	b.allow("ERR_")
	w.stopServer()
	half := imported()
	if half == 0 || half >= records {
		t.Fatalf("%d of %d are imported in the middle", half, records)
	}

	// It comes back. A worker that gives no sign of life for some minutes is dead.
	w.must(tx.Rollback(t.Context()))
	_, err = w.pool.Exec(t.Context(), `UPDATE imports SET worked_at = worked_at - interval '3 minutes'`)
	w.must(err)
	w.startServer()
	w.importer()
	for w.text(`SELECT state FROM imports`) != "done" {
		time.Sleep(20 * time.Millisecond)
	}
	b.visit(page)
	b.says(fmt.Sprintf("State: done. %d read, %d imported, %d doubles, 2 rejected", records+doubles+2, records, doubles))
	b.until(`document.querySelectorAll("main tbody tr").length === 2`)
	if n := imported(); n != records {
		t.Errorf("%d prompts of %d", n, records)
	}
	if n := w.count(`SELECT count(*) FROM rankings`); n != records {
		t.Errorf("%d rankings of %d", n, records)
	}
	// Once more the same file: all of it is there already.
	b.visit("/admin/import")
	send(true)
	b.says(fmt.Sprintf("0 new, %d doubles, 2 rejected", records+doubles))
}
