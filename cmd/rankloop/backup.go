package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rankloop/rankloop/migrations"
	"github.com/rankloop/rankloop/web/health"
)

// A backup is a gzipped tar: head.json; the rows of each table in parts, tables/NAME/000000 and so on; the files of the data folder
// below files/; and last end.json with the digest of every table and file, without which a backup is not whole.

const (
	backupFormat = 1
	backupPart   = 4 << 20 // bytes of rows in an entry
)

type backupHead struct {
	Format  int       `json:"format"`
	Program string    `json:"program"`
	Made    time.Time `json:"made"`
	migrations.Dump
}

type backupEnd struct {
	Rows    map[string]int64  `json:"rows"`    // by table
	Digests map[string]string `json:"digests"` // sha256 of tables and files, hex
}

// backedUp are the parts of the data folder that a backup holds besides the model weights that the database names.
var backedUp = []string{"webhooks.key", "secrets.key", "uploads", "runs"}

type backupCmd struct {
	serverFlags
	File string `arg:"" help:"File to write; - for standard output."`
}

func (backupCmd) Help() string {
	return `Database and files of one instant, while the server may go on working: the rows as one transaction sees them, then the model
weights that they name, which never change. The file holds everything, password hashes too: keep it as you keep the database.

Example:
  rankloop backup /backups/rankloop-monday.tar.gz
  rankloop backup - | ssh elsewhere 'cat > rankloop.tar.gz'`
}

func (c backupCmd) Run(ctx context.Context, std streams) (err error) {
	out := std.out
	if c.File != "-" {
		f, err := os.OpenFile(c.File+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer os.Remove(c.File + ".part")
		defer f.Close()
		out = f
	}
	var rows int64
	var files int
	err = c.with(ctx, std, func(a *app) error {
		rows, files, err = a.backup(ctx, out, newProgress(std.err))
		if f, ok := out.(*os.File); err == nil && ok && c.File != "-" {
			err = errors.Join(f.Sync(), f.Close(), os.Rename(f.Name(), c.File))
		}
		if err != nil {
			return err
		}
		return health.NewStore(a.db.Pool).Mark(ctx, health.MarkBackup, true, fmt.Sprintf("%d rows, %d files", rows, files))
	})
	if err != nil || c.File == "-" {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s: %d rows, %d files\n", c.File, rows, files)
	return err
}

// backup writes all of an installation.
func (a *app) backup(ctx context.Context, w io.Writer, show *progress) (rows int64, files int, err error) {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return 0, 0, err
	}
	b := &backupWriter{tar: tar.NewWriter(z), end: backupEnd{map[string]int64{}, map[string]string{}}}
	err = migrations.ReadDump(ctx, a.db.URL, func(d *migrations.Dump) error {
		if err := b.json("head.json", backupHead{backupFormat, version, time.Now().UTC(), *d}); err != nil {
			return err
		}
		for i, t := range d.Tables {
			show.show("backup", i, len(d.Tables), "tables")
			p := &partWriter{b: b, name: "tables/" + t.Name, hash: sha256.New()}
			n, err := d.Copy(ctx, t, p)
			if err == nil {
				err = p.flush()
			}
			if err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
			b.end.Rows[t.Name], b.end.Digests[p.name] = n, hex.EncodeToString(p.hash.Sum(nil))
			rows += n
		}
		digests, err := d.Strings(ctx, `SELECT DISTINCT digest FROM model_versions WHERE weights_gone_at IS NULL ORDER BY 1`)
		if err != nil {
			return err
		}
		for i, digest := range digests {
			show.show("backup", i, len(digests), "models")
			dir, err := a.blobs.Open(ctx, digest)
			if err != nil {
				return fmt.Errorf("weights %s: %w", digest, err)
			}
			if err := b.folder(a.dir, dir); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range backedUp {
		if err == nil {
			err = b.folder(a.dir, filepath.Join(a.dir, name))
		}
	}
	show.end()
	if err == nil {
		err = b.json("end.json", b.end)
	}
	return rows, b.files, errors.Join(err, b.tar.Close(), z.Close())
}

type backupWriter struct {
	tar   *tar.Writer
	end   backupEnd
	files int
}

func (b *backupWriter) entry(name string, data []byte) error {
	if err := b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: time.Now()}); err != nil {
		return err
	}
	_, err := b.tar.Write(data)
	return err
}

func (b *backupWriter) json(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.entry(name, data)
}

// folder writes a file or a folder below root. What goes away while it is read was not needed: states of runs make room for newer ones.
func (b *backupWriter) folder(root, from string) error {
	err := filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		return b.file("files/"+filepath.ToSlash(rel), file)
	})
	return err
}

func (b *backupWriter) file(name, file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(b.tar, hash), f, info.Size()); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	b.files++
	b.end.Digests[name] = hex.EncodeToString(hash.Sum(nil))
	return nil
}

// partWriter cuts the rows of a table, whose length is not known before, into entries.
type partWriter struct {
	b    *backupWriter
	name string
	n    int
	buf  bytes.Buffer
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func (p *partWriter) Write(data []byte) (int, error) {
	p.hash.Write(data)
	p.buf.Write(data)
	if p.buf.Len() >= backupPart {
		return len(data), p.flush()
	}
	return len(data), nil
}

func (p *partWriter) flush() error {
	if p.buf.Len() == 0 {
		return nil
	}
	err := p.b.entry(fmt.Sprintf("%s/%06d", p.name, p.n), p.buf.Bytes())
	p.n++
	p.buf.Reset()
	return err
}
