package main

import (
	"bytes"
	"context"
	be "encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
)

type benchImportCmd struct {
	databaseFlags
	Rows    int    `default:"400000" help:"Rankings in the file, of 400 to 600 bytes each."`
	Settle  int    `default:"20000" help:"Rankings that are also settled into the tables."`
	Repeats int    `default:"5" help:"Samples of each figure; the median is shown."`
	Dir     string `help:"Folder of the private Postgres; a temporary one if left out." placeholder:"DIR" type:"path"`
	JSON    bool   `name:"json" help:"As JSON."`
}

func (benchImportCmd) Help() string {
	return `Rows a second from a file into staging (parsed, hashed, COPY), alternately with COPY of the same bytes, as they are, into a
table without an index; then into the tables that are served, with personal data redacted and doubles left out.

Example:
  rankloop bench import --rows 200000`
}

func (c benchImportCmd) Run(ctx context.Context, std streams) error {
	if c.Rows < 1000 || c.Settle < 1000 || c.Repeats < 1 {
		return usageError{fmt.Errorf("at least 1000 rows, 1000 to settle, and 1 repeat are wanted")}
	}
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "rankloop-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // Postgres may run as another user, who must be able to walk there
			return err
		}
		c.Dir = dir
	}
	db, err := c.open(ctx, c.Dir, false, noteLog(std.err, 0))
	if err != nil {
		return err
	}
	defer db.Close()
	store := labeling.NewStore(db.Jobs)
	project, err := store.EnsureProject(ctx, labeling.Project{Name: fmt.Sprintf("bench %d", time.Now().UnixNano())})
	if err != nil {
		return err
	}
	file, raw := benchRows(c.Rows)
	var staged, copied []float64
	for range c.Repeats {
		seconds, err := benchCopy(ctx, db, raw)
		if err != nil {
			return err
		}
		copied = append(copied, float64(c.Rows)/seconds)
		if seconds, err = benchStage(ctx, db, store, project.ID, file, c.Rows); err != nil {
			return err
		}
		staged = append(staged, float64(c.Rows)/seconds)
	}
	few, _ := benchRows(c.Settle)
	start := time.Now()
	in := bytes.NewReader(few)
	run, err := store.StartImport(ctx, labeling.NewImport{ProjectID: project.ID, Name: "bench", Actor: "bench"}, in, "")
	if err == nil {
		var unreadable error
		if run, unreadable, err = store.Stage(ctx, run, in); err == nil {
			err = unreadable
		}
	}
	if err != nil {
		return err
	}
	settling := time.Now()
	if run, err = store.WorkImport(ctx, run, nil); err != nil {
		return err
	}
	if run.Imported != c.Settle {
		return fmt.Errorf("%d of %d rows were imported", run.Imported, c.Settle)
	}
	settled, whole := float64(c.Settle)/time.Since(settling).Seconds(), float64(c.Settle)/time.Since(start).Seconds()
	limit := benchFigure("", copied).Value
	figures := []figure{benchFigure("parse, hash, COPY", staged), benchFigure("redact, dedupe, write", []float64{settled}), benchFigure("all of it", []float64{whole})}
	for i := range figures {
		figures[i].Limit, figures[i].Ratio = limit, figures[i].Value/limit
	}
	return benchFlags{Repeats: c.Repeats, JSON: c.JSON}.report(std, map[string]any{"rows": c.Rows, "bytes": len(file)}, figures...)
}

func benchFigure(name string, samples []float64) figure {
	sorted := slices.Sorted(slices.Values(samples))
	return figure{Name: name, Unit: "rows/s", Repeat: len(samples), Samples: samples, Value: sorted[len(sorted)/2], Low: sorted[0], High: sorted[len(sorted)-1]}
}

// benchRows are rankings as a file of rankings.jsonl, and its lines as rows of COPY.
func benchRows(n int) (file, raw []byte) {
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the of and to in is that it was for on are with as his they be at one have this from or had by word but what some we can out other were all there when up use your how said an each she which do their time if will way about many then them write would like so these her long make thing see him two has look more day could go come did number sound no most people my over know water than call first who may down side been now find")
	text := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(words[r.IntN(len(words))])
			b.WriteByte(' ')
		}
		return b.String()
	}
	var out bytes.Buffer
	w := labeling.NewRankingsWriter(&out)
	raw = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for i := range n {
		start := out.Len()
		if err := w.Write(labeling.Record{Prompt: fmt.Sprintf("Question %d: %s\nThink \"well\".", i, text(60+r.IntN(60))), Completions: []string{text(100 + r.IntN(60)), text(100 + r.IntN(60))},
			Ranks: []int{1, 2}, Labeler: fmt.Sprint("labeler ", i%40)}); err != nil {
			panic(err) // the text above is valid
		}
		line := out.Bytes()[start : out.Len()-1]
		raw = be.BigEndian.AppendUint64(append(raw, 0, 2, 0, 0, 0, 8), uint64(i))
		raw = append(be.BigEndian.AppendUint32(raw, uint32(len(line))), line...)
	}
	return out.Bytes(), append(raw, 0xff, 0xff)
}

// benchCopy takes the rows, as they are, into a table without an index; seconds.
func benchCopy(ctx context.Context, db *database, raw []byte) (float64, error) {
	conn, err := db.Jobs.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS bench_raw (n bigint, body text)`); err != nil {
		return 0, err
	}
	if _, err := conn.Exec(ctx, `TRUNCATE bench_raw`); err != nil {
		return 0, err
	}
	start := time.Now()
	_, err = conn.Conn().PgConn().CopyFrom(ctx, io.Reader(bytes.NewReader(raw)), `COPY bench_raw FROM STDIN BINARY`)
	seconds := time.Since(start).Seconds()
	if err == nil {
		_, err = conn.Exec(ctx, `DROP TABLE bench_raw`)
	}
	return seconds, err
}

// benchStage takes the file into staging; seconds, digest included. What is staged is dropped.
func benchStage(ctx context.Context, db *database, store *labeling.Store, project string, file []byte, rows int) (float64, error) {
	start := time.Now()
	in := bytes.NewReader(file)
	run, err := store.StartImport(ctx, labeling.NewImport{ProjectID: project, Name: "bench", Actor: "bench", Reading: labeling.Reading{Format: "rankings"}}, in, "")
	if err != nil {
		return 0, err
	}
	run, unreadable, err := store.Stage(ctx, run, in)
	if err == nil {
		err = unreadable
	}
	seconds := time.Since(start).Seconds()
	if err != nil {
		return 0, err
	}
	var n int
	if err := db.Jobs.QueryRow(ctx, `SELECT count(*) FROM import_rows WHERE import_id = $1`, run.ID).Scan(&n); err != nil {
		return 0, err
	}
	if n != rows {
		return 0, fmt.Errorf("%d of %d rows were staged", n, rows)
	}
	return seconds, pgx.BeginFunc(ctx, db.Jobs, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `TRUNCATE import_rows`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE imports SET state = 'failed', error = 'bench' WHERE id = $1`, run.ID)
		return err
	})
}
