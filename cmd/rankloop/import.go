package main

import (
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

type importCmd struct {
	serverFlags
	Format  string   `help:"rankings, hh, trl, oasst, labelstudio, argilla, pairs, csv, instructions or parquet; told by the first record if left out." placeholder:"FORMAT"`
	Map     string   `help:"Columns of pairs: prompt=C[+C],a=C,b=C,label=C or annotators=C+C, and a_wins=V,b_wins=V,tie=V." placeholder:"MAP"`
	Preset  string   `help:"Columns of published pairs: pandalm, autoj or llmbar." placeholder:"NAME"`
	Files   []string `arg:"" name:"file" help:"JSON lines, a JSON array, CSV or parquet; all but parquet also in gzip." type:"existingfile"`
	Project string   `help:"The project to import into." default:"main" placeholder:"NAME"`
	DryRun  bool     `help:"Read, check and compare with the database, where there is one; write nothing."`
	Out     string   `help:"Write rankings.jsonl here instead of into the database." placeholder:"FILE" type:"path"`
	JSON    bool     `name:"json" help:"Print the counts as JSON, a line a file."`
}

func (importCmd) Help() string {
	return `Records that cannot be read are counted, with their reasons on stderr, and do not stop the import. An import that was cut
off goes on where it was when the same file is imported again. A dry run reads the file, compares it with what the project
holds, and says what the import would; where there is no database yet, it compares the lines with each other.

Example:
  rankloop import --dry-run preferences.jsonl
  rankloop import --format hh --out rankings.jsonl harmless.jsonl.gz`
}

func (c importCmd) Run(ctx context.Context, std streams) error {
	if known := labeling.FormatNames(); c.Format != "" && !slices.Contains(known, c.Format) {
		return usageError{fmt.Errorf("--format %s: there is %s", c.Format, strings.Join(known, ", "))}
	}
	if c.Preset != "" && !slices.Contains(labeling.Presets(), c.Preset) {
		return usageError{fmt.Errorf("--preset %s: there is %s", c.Preset, strings.Join(labeling.Presets(), ", "))}
	}
	if c.Out != "" && len(c.Files) > 1 {
		return usageError{fmt.Errorf("--out takes what one file holds; %d are given", len(c.Files))}
	}
	how := labeling.Reading{Format: c.Format, Preset: c.Preset, Columns: c.Map}
	each := func(read func(f *os.File) (labeling.ImportReport, error)) error {
		for _, name := range c.Files {
			if err := c.one(std, name, read); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case c.DryRun && !c.hasDatabase():
		fmt.Fprintf(std.err, "There is no database in %s: lines are compared with each other only. --database-url names one.\n", c.Dir)
		return each(func(f *os.File) (labeling.ImportReport, error) {
			return labeling.Import(f, how, func(labeling.Record) error { return nil })
		})
	case c.Out != "":
		return each(func(f *os.File) (labeling.ImportReport, error) { return importToFile(f, how, c.Out) })
	}
	return c.with(ctx, std, func(a *app) error {
		store := labeling.NewStore(a.db.Jobs)
		project, err := a.labeling.ProjectByName(ctx, c.Project)
		if err != nil {
			return err
		}
		return each(func(f *os.File) (labeling.ImportReport, error) {
			if c.DryRun {
				return store.CheckImport(ctx, project.ID, how, f)
			}
			return store.ImportFile(ctx, labeling.NewImport{ProjectID: project.ID, Name: filepath.Base(f.Name()), Reading: how, Actor: "command line"}, f)
		})
	})
}

// hasDatabase tells whether there is one to compare with; a dry run makes none.
func (c importCmd) hasDatabase() bool {
	if c.DatabaseURL != "" {
		return true
	}
	_, err := os.Stat(filepath.Join(c.Dir, "postgres", "data", "PG_VERSION"))
	return err == nil
}

// one imports one file and prints its counts.
func (c importCmd) one(std streams, name string, read func(f *os.File) (labeling.ImportReport, error)) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	report, err := read(f)
	for _, reason := range report.Reasons[:min(20, len(report.Reasons))] {
		fmt.Fprintln(std.err, reason)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(report)
	}
	_, err = fmt.Fprintf(std.out, "%s (%s): %d read, %d imported, %d duplicates, %d rejected\n", filepath.Base(name), report.Format,
		report.Read, report.Imported, report.Duplicates, report.Rejected)
	return err
}

// importToFile writes what a file holds as rankings.jsonl; nothing stands at out before all is written.
func importToFile(r io.Reader, how labeling.Reading, out string) (labeling.ImportReport, error) {
	var report labeling.ImportReport
	err := writeWhole(out, func(w io.Writer) (err error) {
		report, err = labeling.Import(r, how, labeling.NewRankingsWriter(w).Write)
		return err
	})
	return report, err
}
