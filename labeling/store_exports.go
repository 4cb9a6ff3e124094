package labeling

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/jackc/pgx/v5"
)

// Manifest says what file a snapshot is in a format. The same snapshot in the same format
// is the same file, byte for byte.
type Manifest struct {
	Snapshot string `json:"snapshot"` // id
	Name     string `json:"name"`
	Hash     string `json:"hash"` // of the snapshot's content
	Format   string `json:"format"`
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256"`           // of the file, hex
	Erased   int    `json:"erased,omitempty"` // rankings that erasures took out of it since
	ExportCounts
}

// exportStep is how many rankings of a snapshot are read at a time.
const exportStep = 500

// EachRankedPrompt calls f with a snapshot's prompts in their order, a few in memory at a
// time. Content that has not the snapshot's hash is an error at the end, unless an
// erasure is the reason.
func (s *Store) EachRankedPrompt(ctx context.Context, id string, f func(RankedPrompt) error) error {
	snap, err := s.SnapshotByID(ctx, id)
	if err != nil {
		return err
	}
	h := newContentHasher()
	pass := func(p RankedPrompt) error {
		if err := h.add(p); err != nil {
			return err
		}
		return f(p)
	}
	var held *RankedPrompt // may go on in the next step
	for at := 0; ; at += exportStep {
		list, err := rankedPrompts(ctx, s.pool, `snapshot_items i WHERE i.snapshot_id = $1 AND i.position >= $2 AND i.position < $3`, id, at, at+exportStep)
		if err != nil {
			return wrap(err, "items of snapshot %s", id)
		}
		for i, p := range list {
			// A task whose rankings lie on both sides of the step's border is one; texts that
			// labelers wrote stand by themselves.
			if i == 0 && held != nil && held.TaskID == p.TaskID && !held.written() && !p.written() {
				held.Rankings = append(held.Rankings, p.Rankings...)
				continue
			}
			if held != nil {
				if err := pass(*held); err != nil {
					return err
				}
			}
			held = &p
		}
		if at+exportStep >= snap.N {
			break
		}
	}
	if held != nil {
		if err := pass(*held); err != nil {
			return err
		}
	}
	if got := h.sum(); got != snap.Hash && snap.Erased == 0 {
		return fmt.Errorf("items of snapshot %s: content has hash %s, the snapshot %s", id, got, snap.Hash)
	}
	return nil
}

// written tells whether a labeler's own text is among the completions.
func (p RankedPrompt) written() bool {
	return p.Completions[len(p.Completions)-1].ResponseID == p.Rankings[0].RankingID
}

// ExportSnapshot writes a snapshot in a format, in constant memory, until ctx ends. What
// erasures took out of it is not in it.
func (s *Store) ExportSnapshot(ctx context.Context, w io.Writer, id, format string) (Manifest, error) {
	snap, err := s.SnapshotByID(ctx, id)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Snapshot: id, Name: snap.Name, Hash: snap.Hash, Format: format, Erased: snap.Erased}
	out := &meter{w: w, h: sha256.New()}
	m.ExportCounts, err = Export(out, format, func(f func(RankedPrompt) error) error { return s.EachRankedPrompt(ctx, id, f) })
	if err != nil {
		return m, err
	}
	m.Bytes, m.SHA256 = out.n, hex.EncodeToString(out.h.Sum(nil))
	_, err = s.pool.Exec(ctx, `INSERT INTO exports (snapshot_id, format, bytes, digest, counts) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (snapshot_id, format) DO UPDATE SET bytes = excluded.bytes, digest = excluded.digest, counts = excluded.counts`,
		id, format, m.Bytes, out.h.Sum(nil), m.ExportCounts)
	return m, wrap(err, "export of snapshot %s", id)
}

// ExportManifest says what file an export is; it is made once to find out, and remembered
// until an erasure changes the snapshot.
func (s *Store) ExportManifest(ctx context.Context, id, format string) (Manifest, error) {
	m, err := s.KnownManifest(ctx, id, format)
	if errors.Is(err, ErrNotFound) {
		return s.ExportSnapshot(ctx, io.Discard, id, format)
	}
	return m, err
}

// KnownManifest is ExportManifest without making the file: ErrNotFound where nobody has.
func (s *Store) KnownManifest(ctx context.Context, id, format string) (Manifest, error) {
	snap, err := s.SnapshotByID(ctx, id)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Snapshot: id, Name: snap.Name, Hash: snap.Hash, Format: format, Erased: snap.Erased}
	var digest []byte
	err = s.pool.QueryRow(ctx, `SELECT bytes, digest, counts FROM exports WHERE snapshot_id = $1 AND format = $2`, id, format).
		Scan(&m.Bytes, &digest, &m.ExportCounts)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, ErrNotFound
	}
	m.SHA256 = hex.EncodeToString(digest)
	return m, wrap(err, "export of snapshot %s", id)
}

// meter counts and hashes what passes through it.
type meter struct {
	w io.Writer
	h hash.Hash
	n int64
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.h.Write(p[:n])
	m.n += int64(n)
	return n, err
}
