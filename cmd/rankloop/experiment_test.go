package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/ppo/experiment"
)

func TestExperimentCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "report")
	code, stdout, stderr := command(t, "experiment", "gradient", "--seeds", "3,5", "--json", "--cache", "none", "--out", out)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var r experiment.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if !r.Holds || len(r.Results) != 1 || len(r.Results[0].Rows) != 8 || !strings.Contains(r.Results[0].Labelers, "synthetic labelers") {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(stderr, "gradient: seed 5") || !strings.Contains(stderr, "2 seeds of experiments in") {
		t.Errorf("progress: %s", stderr)
	}
	for _, name := range []string{"report.html", "report.json", "values.csv", "points.csv"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	if code, stdout, _ := command(t, "experiment", "gradient", "--seeds", "3", "--cache", "none"); code != 0 || !strings.Contains(stdout, "holds, world toy, size fast, 1 seeds, synthetic labelers") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	code, stdout, _ = command(t, "experiment")
	if code != 0 || strings.Count(stdout, "\n") != len(experiment.Names()) || !strings.Contains(stdout, "kl-frontier") {
		t.Errorf("list: exit %d: %s", code, stdout)
	}
	code, stdout, _ = command(t, "experiment", "--json")
	var list []experiment.Info
	if err := json.Unmarshal([]byte(stdout), &list); code != 0 || err != nil || len(list) != len(experiment.Names()) {
		t.Errorf("list: exit %d: %v: %s", code, err, stdout)
	}
}

func TestExperimentCommandRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"nonsense"}, "there are gradient"},
		{[]string{"gradient", "--seeds", "4-1"}, "--seeds 4-1"},
		{[]string{"gradient", "--seeds", ""}, "--seeds"},
		{[]string{"gradient", "--world", "moon"}, "--world"},
		{[]string{"gradient", "--size", "9m"}, "--size"},
		{[]string{"resume", "--world", "starter", "--size", "1m"}, "one size that ships"},
	} {
		code, _, stderr := command(t, append(append([]string{"experiment"}, c.args...), "--cache", "none")...)
		if code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d, want %d and %q: %s", c.args, code, exitUsage, c.want, stderr)
		}
	}
}
