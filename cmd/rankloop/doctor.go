package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/migrations/localpg"
	"github.com/rankloop/rankloop/model/kernel"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/web/health"
)

type doctorCmd struct {
	Dir         string `help:"Data folder to look at." default:"${data_dir}" placeholder:"DIR"`
	DatabaseURL string `help:"Postgres to look at; without one, the private one of the data folder, where it runs." placeholder:"URL"`
	JSON        bool   `name:"json" help:"Print what was found as JSON."`
}

func (doctorCmd) Help() string {
	return `Changes nothing. Looks at this machine, and at the installation where its database can be reached: what the page Health shows.
Exits 1 when something that rankloop needs is missing, or data is in danger.

Example:
  rankloop doctor
  rankloop doctor --database-url postgres://rankloop@db/rankloop --json`
}

// need is something that this machine must have.
type need struct {
	What  string `json:"what"`
	OK    bool   `json:"ok"`
	Found string `json:"found"` // or what is wrong
}

type diagnosis struct {
	Machine []need         `json:"machine"`
	Health  *health.Report `json:"health"` // null: there is no database to look at
}

func (c doctorCmd) Run(ctx context.Context, std streams) error {
	d := diagnosis{Machine: c.machine(ctx)}
	report, err := c.installation(ctx)
	if err != nil {
		return err
	}
	d.Health = report
	wrong := 0
	for _, n := range d.Machine {
		if !n.OK {
			wrong++
		}
	}
	if report != nil {
		for _, k := range report.Checks {
			if k.State == health.Bad {
				wrong++
			}
		}
	}
	if c.JSON {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		err = enc.Encode(d)
	} else {
		err = d.write(std.out)
	}
	if err == nil && wrong > 0 {
		err = quietError{fmt.Errorf("%d things are wrong", wrong)}
	}
	return err
}

// machine looks at what rankloop needs of this machine.
func (c doctorCmd) machine(ctx context.Context) (list []need) {
	add := func(what string, err error, found string) {
		if err != nil {
			found = err.Error()
		}
		list = append(list, need{what, err == nil, found})
	}
	add("processor", nil, fmt.Sprintf("%d cores, %s/%s, kernels %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, kernel.Class()))
	if c.DatabaseURL == "" {
		dir, version, err := localpg.Find(ctx, localpg.Config{Dir: filepath.Join(c.Dir, "postgres")})
		add("Postgres 14 or newer", err, version+" in "+dir)
	}
	add("data folder", writable(c.Dir), c.Dir)
	_, err := starter.SFT()
	add("starter model", err, "ships with the binary")
	add("Chromium (tests only)", nil, browser())
	return list
}

// browser is the one that the tests of the pages take.
func browser() string {
	for _, name := range []string{"chromium-headless-shell", "chromium"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return "not found: browser tests will be skipped"
}

// installation looks at the database; nil where there is none to look at.
func (c doctorCmd) installation(ctx context.Context) (*health.Report, error) {
	url := c.DatabaseURL
	if url == "" {
		var ok bool
		if url, ok = localpg.Running(filepath.Join(c.Dir, "postgres")); !ok {
			return nil, nil
		}
	}
	pool, err := openPool(ctx, url, "rankloop-doctor", 30*time.Second, nil)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	r := healthSources(pool, url, c.Dir, 2*int(pool.Config().MaxConns)).Look(ctx, nil, false)
	return &r, nil
}

func (d diagnosis) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, n := range d.Machine {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", map[bool]string{true: "ok", false: "MISSING"}[n.OK], n.What, n.Found)
	}
	if d.Health == nil {
		fmt.Fprintln(tw, "note\tinstallation\tno database runs here; give one with --database-url")
		return tw.Flush()
	}
	for _, k := range d.Health.Checks {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", map[health.State]string{health.OK: "ok", health.Warn: "WARN", health.Bad: "BAD"}[k.State], k.Title(), k.Found)
		if a := k.Advice.String(); a != "" {
			fmt.Fprintf(tw, "\t\t-> %s\n", a)
		}
	}
	return tw.Flush()
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
