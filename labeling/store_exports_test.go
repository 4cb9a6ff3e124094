package labeling

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func (b *bench) snapshot() (snap Snapshot) {
	b.Helper()
	b.tx(func(tx pgx.Tx) (err error) {
		snap, err = b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		return err
	})
	return snap
}

// Out of one project and into another: every format that holds rankings whole gives the
// same rankings, and the same file again.
func TestExportSnapshot(t *testing.T) {
	b := setup(t)
	var file bytes.Buffer
	w := NewRankingsWriter(&file)
	for _, p := range samplePrompts() {
		for _, r := range p.Records() {
			b.ok(w.Write(r))
		}
	}
	for i := range 700 { // more than one step, with tasks across its border
		for _, who := range []string{"ann", "bo", "明"} {
			b.ok(w.Write(Record{Prompt: fmt.Sprint("Question ", i), Completions: []string{"a <b>", "b", "c"}, Ranks: []int{1, 1 + i%2, 3}, Labeler: who}))
		}
	}
	b.importText(file.String(), Reading{})
	snap := b.snapshot()
	if snap.N != 2104 || snap.Prompts != 703 {
		t.Fatalf("%+v", snap)
	}
	items, err := b.store.SnapshotItems(b.ctx, snap.ID)
	b.ok(err)
	var streamed []RankedPrompt
	b.ok(b.store.EachRankedPrompt(b.ctx, snap.ID, func(p RankedPrompt) error { streamed = append(streamed, p); return nil }))
	if !reflect.DeepEqual(items, streamed) {
		t.Error("streamed it is something else")
	}
	b.is(second(b.store.KnownManifest(b.ctx, snap.ID, "rankings")), ErrNotFound)
	for _, name := range ExportNames() {
		var one, two bytes.Buffer
		m, err := b.store.ExportSnapshot(b.ctx, &one, snap.ID, name)
		b.ok(err)
		again, err := b.store.ExportSnapshot(b.ctx, &two, snap.ID, name)
		b.ok(err)
		if !bytes.Equal(one.Bytes(), two.Bytes()) || m != again || m.Bytes != int64(one.Len()) || m.Prompts+m.Skipped != snap.Prompts {
			t.Errorf("%s: %+v, %+v", name, m, again)
		}
		if known, err := b.store.ExportManifest(b.ctx, snap.ID, name); err != nil || known != m {
			t.Errorf("%s: %+v, %v", name, known, err)
		}
	}
	for _, name := range []string{"rankings", "labelstudio", "argilla"} {
		var out, back bytes.Buffer
		m, err := b.store.ExportSnapshot(b.ctx, &out, snap.ID, name)
		b.ok(err)
		if m.Records != snap.N {
			t.Errorf("%s: %+v", name, m)
		}
		other := setup(t)
		if got := other.importText(out.String(), Reading{}); got.Rejected+got.Duplicates > 0 {
			t.Errorf("%s: %+v %v", name, got, got.Reasons)
		}
		_, err = other.store.ExportSnapshot(b.ctx, &back, other.snapshot().ID, "rankings")
		b.ok(err)
		var want bytes.Buffer
		_, err = b.store.ExportSnapshot(b.ctx, &want, snap.ID, "rankings")
		b.ok(err)
		if sorted(back.String()) != sorted(want.String()) {
			t.Errorf("%s: out, in and out again is something else", name)
		}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	_, err = b.store.ExportSnapshot(ctx, writer(func(p []byte) (int, error) { cancel(); return len(p), nil }), snap.ID, "rankings")
	b.is(err, context.Canceled)
	b.is(second(b.store.ExportSnapshot(b.ctx, io.Discard, newKey(), "rankings")), ErrNotFound)
	b.invalid(second(b.store.ExportSnapshot(b.ctx, io.Discard, snap.ID, "instructions")), "format")
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// The heap does not grow with the snapshot: 60 MB of text through less than 16 MB, and
// no more in the second half than in the first; parquet's buffers take up to 64.
func TestExportInConstantMemory(t *testing.T) {
	b := setup(t)
	const n = 6000
	b.importText(`{"prompt":"p","completions":["a","b"],"ranks":[1,2],"labeler":"x"}`, Reading{})
	// Tasks with long answers, made in place.
	err := pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) error {
		for _, q := range []string{
			`CREATE TEMP TABLE m ON COMMIT DROP AS SELECT gen_random_uuid() p, gen_random_uuid() t, gen_random_uuid() a, gen_random_uuid() k, i FROM generate_series(1, 6000) i`,
			`INSERT INTO prompts (id, project_id, hash, messages, text, origin, consent, split, tasks)
				SELECT p, (SELECT id FROM projects), sha256(p::text::bytea), jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'question ' || i)), 'question ' || i, 'import', false, 'train', 1 FROM m`,
			`INSERT INTO tasks (id, project_id, prompt_id, k, need, open_slots, done) SELECT t, (SELECT id FROM projects), p, 2, 1, 0, 1 FROM m`,
			`INSERT INTO responses (id, prompt_id, task_id, position, text) SELECT gen_random_uuid(), p, t, j, repeat(j::text || 'x', 2500) FROM m, generate_series(0, 1) j`,
			`INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline, ranking_id)
				SELECT a, t, (SELECT id FROM projects), 'ann', 'submitted', now(), '{0,1}', 1, k FROM m`,
			`INSERT INTO rankings (id, project_id, task_id, assignment_id, labeler_id, revision, ranks, idempotency_key, request_hash, guideline, surplus)
				SELECT k, (SELECT id FROM projects), t, a, 'ann', 1, '{1,2}', k::text, sha256(k::text::bytea), 1, false FROM m`,
		} {
			if _, err := tx.Exec(b.ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
	b.ok(err)
	snap := b.snapshot()
	for _, name := range ExportNames() {
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		var most, early uint64
		prompts := 0
		_, err := Export(io.Discard, name, func(f func(RankedPrompt) error) error {
			return b.store.EachRankedPrompt(b.ctx, snap.ID, func(p RankedPrompt) error {
				if prompts++; prompts%1000 == 0 {
					runtime.GC()
					runtime.ReadMemStats(&now)
					most = max(most, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
					if prompts == 3000 {
						early = most
					}
				}
				return f(p)
			})
		})
		b.ok(err)
		t.Logf("%s: the heap grew by %d bytes in the first half, %d in all", name, early, most)
		limit, more := uint64(16<<20), uint64(1<<20)
		if name == "parquet" { // zstd's windows and pools of pages come and go
			limit, more = 64<<20, 64<<20
		}
		if prompts != n+1 || most > limit || most-early > more {
			t.Errorf("%s: %d prompts, the heap grew by %d, to the half by %d", name, prompts, most, early)
		}
	}
}

func TestDamagedSnapshotIsNotExported(t *testing.T) {
	b := setup(t)
	b.importText(`{"prompt":"p","completions":["a","b"],"ranks":[1,2]}`, Reading{})
	snap := b.snapshot()
	b.sql(`UPDATE prompts SET text = 'q'`)
	if _, err := b.store.ExportSnapshot(b.ctx, io.Discard, snap.ID, "rankings"); err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "hash") {
		t.Errorf("%v", err)
	}
}
