package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/ppo/experiment"
)

type experimentCmd struct {
	Name  string `arg:"" optional:"" help:"The experiment; all are listed if left out."`
	Seeds string `help:"Seeds, such as 0-4 or 1,3." default:"0-4"`
	Out   string `help:"Folder for the table as JSON." placeholder:"DIR"`
	JSON  bool   `name:"json" help:"Print the result as one JSON line."`
}

func (experimentCmd) Help() string {
	return "Exits 0 where the experiment holds, 1 where it does not.\n\nExample:\n  rankloop experiment ppo --seeds 0-4 --json"
}

func (c experimentCmd) Run(ctx context.Context, std streams) error {
	if c.Name == "" {
		for _, n := range experiment.Names() {
			fmt.Fprintln(std.out, n)
		}
		return nil
	}
	seeds, err := parseSeeds(c.Seeds)
	if err != nil {
		return usageError{err}
	}
	res, err := experiment.Run(ctx, c.Name, seeds, func(line string) { fmt.Fprintln(std.err, line) })
	if err != nil {
		return err
	}
	b, err := json.Marshal(res)
	if err != nil {
		return err
	}
	if c.Out != "" {
		if err := os.MkdirAll(c.Out, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.Out, res.Name+".json"), append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if c.JSON {
		fmt.Fprintln(std.out, string(b))
	} else {
		fmt.Fprintf(std.out, "%s: %s\n", res.Name, res.Title)
		tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		for _, r := range res.Rows {
			seed, mark := strconv.Itoa(r.Seed), "ok"
			if r.Seed < 0 {
				seed = "all"
			}
			switch {
			case r.Bound == "":
				mark = ""
			case !r.Holds:
				mark = "FAILS"
			}
			fmt.Fprintf(tw, "  seed %s\t%s\t%.4g\t%s\t%s\n", seed, r.What, r.Value, r.Bound, mark)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	if !res.Holds {
		return fmt.Errorf("%s does not hold", res.Name)
	}
	return nil
}

// parseSeeds reads "0-4" and "1,3,7".
func parseSeeds(s string) ([]int, error) {
	var out []int
	for _, part := range strings.Split(s, ",") {
		lo, hi, ranged := strings.Cut(part, "-")
		if !ranged {
			hi = lo
		}
		a, err1 := strconv.Atoi(strings.TrimSpace(lo))
		b, err2 := strconv.Atoi(strings.TrimSpace(hi))
		if err1 != nil || err2 != nil || a < 0 || b < a || b-a >= 1000 {
			return nil, fmt.Errorf("--seeds %s: want numbers such as 0-4 or 1,3", s)
		}
		for ; a <= b; a++ {
			out = append(out, a)
		}
	}
	return out, nil
}
