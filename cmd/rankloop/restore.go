package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/rankloop/rankloop/migrations"
)

type restoreCmd struct {
	serverFlags
	File string `arg:"" help:"File that 'rankloop backup' wrote; - for standard input."`
}

func (restoreCmd) Help() string {
	return `Into an empty database and an empty data folder; anything else is refused. The rows go in as one transaction that ends when the whole
file has been read and its digests are right. A private Postgres is made in the data folder; its version may be newer than that which the backup
was made from, so this is also the way to a new major version of Postgres: backup with the old, restore with the new.

Example:
  rankloop restore --dir /var/lib/rankloop /backups/rankloop-monday.tar.gz`
}

func (c restoreCmd) Run(ctx context.Context, std streams) error {
	in := std.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	for _, name := range append([]string{"models"}, backedUp...) {
		if list, err := os.ReadDir(filepath.Join(c.Dir, name)); err == nil && len(list) > 0 {
			return fmt.Errorf("%s is not empty: a backup is restored into a new folder", filepath.Join(c.Dir, name))
		}
	}
	url := c.DatabaseURL
	if url == "" {
		server, err := c.private(ctx, c.Dir, noteLog(std.err, slog.LevelWarn))
		if err != nil {
			return err
		}
		defer server.Stop()
		url = server.URL()
	}
	r, err := restore(ctx, url, c.Dir, in, newProgress(std.err))
	if errors.Is(err, migrations.ErrNotEmpty) {
		return fmt.Errorf("%w: a backup is restored into a new one", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "restored %d rows and %d files of %s\n", r.rows, r.files, r.head.Made.Format(time.DateTime))
	return err
}

// restorer reads a backup from one end to the other.
type restorer struct {
	tar   *tar.Reader
	dir   string
	head  backupHead
	got   backupEnd
	rows  int64
	files int
	next  *tar.Header // read, and not yet used; nil at the end
	bad   error       // what was wrong with the file where rows were read
}

func restore(ctx context.Context, url, dir string, in io.Reader, show *progress) (*restorer, error) {
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("this is no backup: %w", err)
	}
	r := &restorer{tar: tar.NewReader(z), dir: dir, got: backupEnd{map[string]int64{}, map[string]string{}}}
	if err := r.advance(); err != nil {
		return nil, err
	}
	if err := r.json("head.json", &r.head); err != nil {
		return nil, err
	}
	if r.head.Format != backupFormat {
		return nil, fmt.Errorf("the backup has format %d, this program reads %d", r.head.Format, backupFormat)
	}
	err = migrations.LoadDump(ctx, url, r.head.Dump, func(l *migrations.Load) error {
		for i, t := range r.head.Tables {
			show.show("restore", i, len(r.head.Tables), "tables")
			hash := sha256.New()
			n, err := l.Copy(ctx, t, io.TeeReader(&partReader{r: r, prefix: "tables/" + t.Name + "/"}, hash))
			if err != nil {
				return err
			}
			r.got.Rows[t.Name], r.got.Digests["tables/"+t.Name] = n, hex.EncodeToString(hash.Sum(nil))
			r.rows += n
		}
		show.show("restore", 0, 0, "files")
		if err := r.readFiles(); err != nil {
			return err
		}
		var end backupEnd
		if err := r.json("end.json", &end); err != nil {
			return err
		}
		if err := r.got.compare(end); err != nil {
			return err
		}
		return r.settleRuns(ctx, l)
	})
	show.end()
	if r.bad != nil { // the database knows only that rows ended
		err = r.bad
	}
	return r, err
}

// advance reads the header of the next entry.
func (r *restorer) advance() error {
	h, err := r.tar.Next()
	if errors.Is(err, io.EOF) {
		r.next = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("the backup is damaged: %w", err)
	}
	r.next = h
	return nil
}

// json reads the next entry, which must be of that name.
func (r *restorer) json(name string, v any) error {
	if r.next == nil || r.next.Name != name {
		return fmt.Errorf("the backup is not whole: %s is missing", name)
	}
	data, err := io.ReadAll(io.LimitReader(r.tar, 64<<20))
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("the backup is damaged: %s: %w", name, err)
	}
	return r.advance()
}

// readFiles writes the entries that are files to the data folder.
func (r *restorer) readFiles() error {
	for ; r.next != nil && strings.HasPrefix(r.next.Name, "files/"); r.files++ {
		name := r.next.Name
		rel := filepath.FromSlash(strings.TrimPrefix(name, "files/"))
		if !filepath.IsLocal(rel) || path.Clean(name) != name {
			return fmt.Errorf("the backup is damaged: a file is called %q", name)
		}
		digest, err := writeNew(filepath.Join(r.dir, rel), r.tar)
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) {
			err = fmt.Errorf("the backup is damaged: %s: %w", name, err)
		}
		if err != nil {
			return err
		}
		r.got.Digests[name] = digest
		if err := r.advance(); err != nil {
			return err
		}
	}
	return nil
}

// writeNew writes a file and returns its digest.
func writeNew(name string, from io.Reader) (string, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, hash), from)
	return hex.EncodeToString(hash.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}

// compare says what was read otherwise than it was written.
func (got backupEnd) compare(want backupEnd) error {
	for name, digest := range want.Digests {
		if got.Digests[name] != digest {
			return fmt.Errorf("the backup is damaged: %s is not what was written", name)
		}
	}
	if len(got.Digests) != len(want.Digests) {
		return errors.New("the backup is damaged: it has more than was written")
	}
	for name, n := range want.Rows {
		if got.Rows[name] != n {
			return fmt.Errorf("table %s has %d rows, the backup had %d", name, got.Rows[name], n)
		}
	}
	return nil
}

// settleRuns lets runs whose saved state was replaced while the backup was made begin anew: they repeat their steps bit for bit.
func (r *restorer) settleRuns(ctx context.Context, l *migrations.Load) error {
	states, err := l.Strings(ctx, `SELECT DISTINCT state_file FROM runs WHERE state_file <> '' AND finished_at IS NULL`)
	if err != nil {
		return err
	}
	for _, s := range states {
		if _, err := os.Stat(filepath.Join(r.dir, "runs", filepath.FromSlash(s))); err == nil {
			continue
		}
		if err := l.Exec(ctx, `UPDATE runs SET step = 0, live_step = 0, state_file = '', epoch = epoch + 1 WHERE state_file = $1`, s); err != nil {
			return err
		}
	}
	return nil
}

// partReader joins the entries whose names begin with prefix.
type partReader struct {
	r      *restorer
	prefix string
}

func (p *partReader) Read(buf []byte) (int, error) {
	for p.r.next != nil && strings.HasPrefix(p.r.next.Name, p.prefix) {
		n, err := p.r.tar.Read(buf)
		if n > 0 {
			return n, nil
		}
		if errors.Is(err, io.EOF) {
			err = p.r.advance()
		} else if err != nil {
			err = fmt.Errorf("the backup is damaged: %w", err)
		}
		if err != nil {
			p.r.bad = err
			return 0, err
		}
	}
	return 0, io.EOF
}
