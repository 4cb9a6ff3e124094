package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/labeling"
)

type erasureCmd struct {
	List   erasureListCmd   `cmd:"" help:"Erasures, newest first."`
	Report erasureReportCmd `cmd:"" help:"Print the signed report of an erasure."`
	Verify erasureVerifyCmd `cmd:"" help:"Check the signature of a report; exits 1 when it was changed or signed by another key."`
}

type erasureListCmd struct {
	serverFlags
	Limit int  `help:"Erasures at most." default:"100"`
	JSON  bool `name:"json" help:"One JSON line per erasure."`
}

func (erasureListCmd) Help() string { return "Example:\n  rankloop erasure list --json" }

func (c erasureListCmd) Run(ctx context.Context, std streams) error {
	if c.Limit < 1 {
		return usageError{fmt.Errorf("--limit %d: 1 or more is wanted", c.Limit)}
	}
	return c.with(ctx, std, func(a *app) error {
		list, err := a.labeling.Erasures(ctx, c.Limit)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		enc := json.NewEncoder(std.out)
		for _, r := range list {
			if c.JSON {
				err = enc.Encode(printedErasure(r))
			} else {
				_, err = fmt.Fprintf(w, "%s\t%s\t%s\t%d snapshots\t%d models\n", r.ID, r.At.UTC().Format(time.RFC3339), r.Subject, len(r.Snapshots), len(r.Models))
			}
			if err != nil {
				return err
			}
		}
		return w.Flush()
	})
}

type erasureReportCmd struct {
	serverFlags
	ID string `arg:"" help:"Id of the erasure."`
}

func (erasureReportCmd) Help() string {
	return "Example:\n  rankloop erasure report 0199f3a2-7c11-7e8e-9f43-2f5d7a1b6c0d > erasure.json"
}

func (c erasureReportCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		d, err := a.labeling.SignedErasure(ctx, c.ID)
		if errors.Is(err, labeling.ErrNotFound) {
			return fmt.Errorf("there is no erasure %s: 'rankloop erasure list' shows those that there are", c.ID)
		}
		if err != nil {
			return err
		}
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		return enc.Encode(d)
	})
}

type erasureVerifyCmd struct {
	File string `arg:"" help:"A signed report." type:"existingfile"`
	Key  string `help:"The public key in base64, as the page of the erasure shows it. Without it the report must be of the installation in --dir." placeholder:"KEY"`
	Dir  string `help:"Data folder whose key the report must be signed by." default:"${data_dir}" placeholder:"DIR"`
	JSON bool   `name:"json" help:"Print the report as JSON."`
}

func (erasureVerifyCmd) Help() string {
	return `Needs no database. The key must come from somewhere else than the report: a report names the key that signed it, and so would a forged one.

Example:
  rankloop erasure verify erasure.json --key 9jb9tXCv0FyVvGmGyGgLlJcQ6zGJrJrXqO1SxUq2Y5o=`
}

func (c erasureVerifyCmd) Run(_ context.Context, std streams) error {
	file, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	key := c.Key
	if key == "" {
		if key, err = keyOf(c.Dir); err != nil {
			return err
		}
	}
	d, err := labeling.ReadSignedErasure(file)
	var r labeling.ErasureReport
	if err == nil {
		r, err = d.Verify(key)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(printedErasure(r))
	}
	_, err = fmt.Fprintf(std.out, "the signature holds: erasure %s of %s at %s, report sha256 %s\n", r.ID, r.Subject, r.At.UTC().Format(time.RFC3339), r.Digest)
	return err
}

// keyOf is the public key that the installation in a data folder signs reports with.
func keyOf(dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, "secrets.key")); err != nil { // opening would make one
		return "", usageError{fmt.Errorf("no installation in %s: say which key with --key, or where it is with --dir", dir)}
	}
	s, err := openSecrets(dir)
	if err != nil {
		return "", err
	}
	return labeling.ErasureKey(s.reports), nil
}

// printedReport is a report as the command line prints it.
type printedReport struct {
	labeling.ErasureReport
	Digest   string `json:"digest"`
	SignedBy string `json:"signed_by,omitempty"`
}

func printedErasure(r labeling.ErasureReport) printedReport {
	return printedReport{r, r.Digest, r.SignedBy}
}
