package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"text/tabwriter"

	"github.com/rankloop/rankloop/migrations/localpg"
	"github.com/rankloop/rankloop/model/kernel"
	"github.com/rankloop/rankloop/model/starter"
)

type doctorCmd struct {
	Dir string `help:"Data folder to look at." default:"${data_dir}" placeholder:"DIR"`
}

func (doctorCmd) Help() string {
	return "Changes nothing. Exits 1 when something that rankloop needs is missing.\n\nExample:\n  rankloop doctor"
}

func (c doctorCmd) Run(ctx context.Context, std streams) error {
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	bad := 0
	line := func(what string, err error, found string) {
		mark := "ok"
		if err != nil {
			mark, found, bad = "MISSING", err.Error(), bad+1
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", mark, what, found)
	}
	line("processor", nil, fmt.Sprintf("%d cores, %s/%s, kernels %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, kernel.Class()))
	dir, version, err := localpg.Find(ctx, localpg.Config{Dir: filepath.Join(c.Dir, "postgres")})
	line("Postgres 14 or newer", err, version+" in "+dir)
	line("data folder", writable(c.Dir), c.Dir)
	_, err = starter.SFT()
	line("starter model", err, "ships with the binary")
	if path, err := exec.LookPath("chromium"); err == nil {
		line("Chromium (tests only)", nil, path)
	} else {
		fmt.Fprintf(tw, "note\tChromium (tests only)\tnot found: browser tests will be skipped\n")
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if bad > 0 {
		return quietError{fmt.Errorf("%d missing", bad)}
	}
	return nil
}

// writable says whether files can be made in dir, or dir itself can.
func writable(dir string) error {
	for {
		st, err := os.Stat(dir)
		if err == nil && st.IsDir() {
			f, err := os.CreateTemp(dir, ".rankloop-*")
			if err != nil {
				return err
			}
			f.Close()
			return os.Remove(f.Name())
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return err
		}
		dir = parent
	}
}
