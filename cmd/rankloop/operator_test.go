package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/health"
	"github.com/rankloop/rankloop/web/setting"
)

// TestOperator: settings from the command line, and a doctor who knows of the backup and of the verified audit log, and that nobody works.
func TestOperator(t *testing.T) {
	database, dir := durable(t), t.TempDir()
	run := func(want int, args ...string) (out, errs string) {
		t.Helper()
		var o, e bytes.Buffer
		if code := execute(t.Context(), append(args, "--dir", dir, "--database-url", database), streams{strings.NewReader(""), &o, &e}); code != want {
			t.Fatalf("%v exits %d, want %d: %s%s", args, code, want, o.String(), e.String())
		}
		return o.String(), e.String()
	}
	out, _ := run(0, "settings", "list", "--json")
	if n := strings.Count(out, "\n"); n != len(setting.Definitions()) {
		t.Errorf("%d settings", n)
	}
	run(exitUsage, "settings", "set", "answers.max_tokens", "1024") // without a reason
	_, errs := run(exitUsage, "settings", "set", "answers.max_tokens", "many", "--reason", "x")
	if !strings.Contains(errs, "answers.max_tokens: value: must be a number") {
		t.Error(errs)
	}
	run(exitUsage, "settings", "set", "answers.most", "5", "--reason", "x")
	run(exitUsage, "settings", "get", "answers.most")
	out, _ = run(0, "settings", "set", "answers.max_tokens", "1024", "--reason", "longer stories", "--json")
	var c setting.Change
	if err := json.Unmarshal([]byte(out), &c); err != nil || c.Actor != "command line" || c.Old != nil || *c.New != 1024 {
		t.Errorf("%s %v", out, err)
	}
	if out, _ = run(0, "settings", "get", "answers.max_tokens"); out != "1024\n" {
		t.Error(out)
	}
	run(0, "settings", "set", "answers.max_tokens", "default", "--reason", "shorter again")
	out, _ = run(0, "settings", "history", "answers.max_tokens")
	if lines := strings.Split(out, "\n"); len(lines) != 3 || !strings.Contains(lines[0], "1024 -> default") || !strings.Contains(lines[1], "default -> 1024  command line  longer stories") {
		t.Error(out)
	}

	run(0, "backup", filepath.Join(dir, "a.tar.gz"))
	run(0, "audit", "verify")
	out, _ = run(exitFailed, "doctor", "--json")
	var d struct {
		Machine []need
		Health  struct {
			State  health.State
			Checks []struct {
				Name          string
				State         health.State
				Found, Advice string
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err, out)
	}
	got := map[string]health.State{}
	for _, k := range d.Health.Checks {
		got[k.Name] = k.State
	}
	for name, want := range map[string]health.State{"backup": health.OK, "audit.chain": health.OK, "postgres.fsync": health.OK, "migrations": health.OK, "clock": health.OK, "jobs.leader": health.Bad} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s: %s", name, got[name], want, out)
		}
	}
	if out, _ = run(exitFailed, "doctor"); !strings.Contains(out, "-> Start 'rankloop work'") {
		t.Error(out)
	}
}
