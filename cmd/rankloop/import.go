package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rankloop/rankloop/labeling"
)

type importCmd struct {
	serverFlags
	Format string `required:"" help:"rankings (rankloop's own) or hh (chosen/rejected dialogues)." placeholder:"FORMAT"`
	File   string `arg:"" help:"JSON lines, plain or gzip." type:"existingfile"`
	Out    string `help:"Write rankings.jsonl here instead of into the database." placeholder:"FILE" type:"path"`
	JSON   bool   `name:"json" help:"Print the counts as JSON."`
}

func (importCmd) Help() string {
	return `Lines that cannot be read are counted, with their reasons on stderr, and do not stop the import.

Example:
  rankloop import --format hh --out rankings.jsonl harmless.jsonl.gz`
}

func (c importCmd) Run(ctx context.Context, std streams) error {
	known := labeling.FormatNames()
	if !strings.Contains(" "+strings.Join(known, " ")+" ", " "+c.Format+" ") {
		return usageError{fmt.Errorf("--format %s: there is %s", c.Format, strings.Join(known, ", "))}
	}
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	var report labeling.ImportReport
	if c.Out != "" {
		report, err = importToFile(f, c.Format, c.Out)
	} else {
		err = c.with(ctx, std, func(a *app) error {
			report, err = a.labeling.ImportRankings(ctx, a.project.ID, c.Format, f)
			return err
		})
	}
	for _, reason := range report.Reasons[:min(20, len(report.Reasons))] {
		fmt.Fprintln(std.err, reason)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(report)
	}
	_, err = fmt.Fprintf(std.out, "%d read, %d imported, %d duplicates, %d rejected\n", report.Read, report.Imported, report.Duplicates, report.Rejected)
	return err
}

// importToFile writes what a file holds as rankings.jsonl; nothing stands at out before all is written.
func importToFile(r io.Reader, format, out string) (labeling.ImportReport, error) {
	tmp, err := os.CreateTemp(filepath.Dir(out), ".import-*")
	if err != nil {
		return labeling.ImportReport{}, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	buf := bufio.NewWriter(tmp)
	w := labeling.NewRankingsWriter(buf)
	report, err := labeling.Import(r, format, w.Write)
	if err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err == nil {
		err = os.Rename(tmp.Name(), out)
	}
	return report, err
}
