package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rankloop/rankloop/labeling"
)

type exportCmd struct {
	serverFlags
	Snapshot string `required:"" help:"Id of the snapshot." placeholder:"ID"`
	Format   string `required:"" help:"rankings, trl, hh, oasst, labelstudio, argilla, pairs, csv or parquet." placeholder:"FORMAT"`
	Out      string `help:"Write here, with the manifest beside it in FILE.manifest.json; standard output if left out." placeholder:"FILE" type:"path"`
	JSON     bool   `name:"json" help:"Print the manifest as JSON (with --out)."`
}

func (exportCmd) Help() string {
	return `The same snapshot in the same format is the same file, byte for byte; the manifest has its size and sha256.

Example:
  rankloop export --snapshot 0199f3a2-7c11-7e8e-9f43-2f5d7a1b6c0d --format trl --out pairs.jsonl`
}

func (c exportCmd) Run(ctx context.Context, std streams) error {
	if known := labeling.ExportNames(); !slices.Contains(known, c.Format) {
		return usageError{fmt.Errorf("--format %s: there is %s", c.Format, strings.Join(known, ", "))}
	}
	return c.with(ctx, std, func(a *app) error {
		store := labeling.NewStore(a.db.Jobs)
		if c.Out == "" {
			out := bufio.NewWriter(std.out)
			_, err := store.ExportSnapshot(ctx, out, c.Snapshot, c.Format)
			if err == nil {
				err = out.Flush()
			}
			return err
		}
		var m labeling.Manifest
		err := writeWhole(c.Out, func(w io.Writer) (err error) {
			m, err = store.ExportSnapshot(ctx, w, c.Snapshot, c.Format)
			return err
		})
		if err == nil {
			err = writeWhole(c.Out+".manifest.json", func(w io.Writer) error { return json.NewEncoder(w).Encode(m) })
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(m)
		}
		_, err = fmt.Fprintf(std.out, "%s: %d prompts, %d records, %d skipped, %d bytes, sha256 %s\n", filepath.Base(c.Out), m.Prompts, m.Records, m.Skipped, m.Bytes, m.SHA256)
		return err
	})
}

// writeWhole writes a file; nothing stands at its name before all is written.
func writeWhole(name string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".rankloop-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	buf := bufio.NewWriter(tmp)
	if err = write(buf); err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	return err
}
