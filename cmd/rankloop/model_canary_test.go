package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestCanaryCommands: the command line starts, shows, pauses, resumes, moves on and aborts a canary, plans a promotion, lists it and takes it
// back, promotes and rolls back, each with its reason.
func TestCanaryCommands(t *testing.T) {
	ctx, url := t.Context(), durable(t)
	flags := serverFlags{databaseFlags: databaseFlags{DatabaseURL: url}, Dir: t.TempDir()}
	a, err := flags.open(ctx, streams{strings.NewReader(""), io.Discard, io.Discard}, true, appConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.db.Close()
	sft, err := a.registry.Serving(ctx, loop.Channel)
	if err != nil {
		t.Fatal(err)
	}
	if err := pgx.BeginFunc(ctx, a.db.Pool, func(tx pgx.Tx) error {
		_, err := a.registry.Register(ctx, tx, registry.Version{Kind: registry.Policy, Name: "policy-1", Digest: sft.Digest, Parents: []string{sft.ID}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (code int, out string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code = execute(context.WithoutCancel(ctx), append(append([]string{"model"}, args...), "--database-url", url, "--dir", flags.Dir), streams{strings.NewReader(""), &stdout, &stderr})
		return code, stdout.String() + stderr.String()
	}
	canary := func(args ...string) (v loop.CanaryView) {
		t.Helper()
		code, out := run(append([]string{"canary"}, append(args, "--json")...)...)
		if code != 0 {
			t.Fatalf("%v: %d %s", args, code, out)
		}
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
		return v
	}
	if code, out := run("canary", "show"); code != 1 || !strings.Contains(out, "no canary is under way") {
		t.Errorf("without one: %d %s", code, out)
	}
	if code, _ := run("canary", "start", "policy-1", "--shares", "10,1"); code != exitUsage {
		t.Errorf("shares that shrink: exit %d", code)
	}
	if v := canary("start", "policy-1", "--shares", "5,20", "--dwell", "90s", "--reason", "wins"); v.Share != 0.05 || v.Config.Seconds != 90 || v.Reason != "wins" {
		t.Errorf("%+v", v.Canary)
	}
	if v := canary("pause", "--reason", "lunch"); v.State != registry.CanaryPaused {
		t.Errorf("%+v", v.Canary)
	}
	if v := canary("resume"); v.State != registry.CanaryRunning {
		t.Errorf("%+v", v.Canary)
	}
	if v := canary("advance", "--reason", "few customers"); v.Share != 0.2 || len(v.Events) != 4 || v.Events[3].Reason != "few customers" {
		t.Errorf("%+v", v)
	}
	if code, out := run("canary", "show"); code != 0 || !strings.Contains(out, "policy-1: running, 20% of the requests (step 2 of 3)") || !strings.Contains(out, "few customers") {
		t.Errorf("%d %s", code, out)
	}
	if v := canary("abort", "--reason", "enough"); v.State != registry.CanaryAborted || canary("show", "policy-1").EndedWhy != "enough" {
		t.Errorf("%+v", v.Canary)
	}

	if code, out := run("promote", "policy-1", "--at", "2001-01-01T04:00"); code != 1 || !strings.Contains(out, "is past") {
		t.Errorf("%d %s", code, out)
	}
	code, out := run("promote", "policy-1", "--at", "2100-01-01T04:00", "--time-zone", "Asia/Taipei", "--reason", "at night", "--json")
	var p registry.Planned
	if err := json.Unmarshal([]byte(out), &p); code != 0 || err != nil || p.Local() != "2100-01-01 04:00 CST" {
		t.Fatalf("%d %v %s", code, err, out)
	}
	if code, out := run("promote", "--planned"); code != 0 || !strings.Contains(out, "2100-01-01 04:00 CST") || !strings.Contains(out, "at night") {
		t.Errorf("%d %s", code, out)
	}
	if code, out := run("promote", "--cancel", p.ID); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if code, _ := run("promote", "--cancel", p.ID); code != 1 {
		t.Error("cancelled twice")
	}
	if code, _ := run("promote"); code != exitUsage {
		t.Errorf("nothing to promote: exit %d", code)
	}
	for _, args := range [][]string{{"promote", "policy-1", "--reason", "it wins"}, {"rollback", "--reason", "it repeats itself"}} {
		if code, out := run(args...); code != 0 {
			t.Fatalf("%v: %d %s", args, code, out)
		}
	}
	history, err := a.registry.ServingHistory(ctx, loop.Channel, 2)
	if err != nil || history[0].Reason != "it repeats itself" || history[1].Reason != "it wins" || history[0].Version.ID != sft.ID {
		t.Errorf("%+v %v", history, err)
	}
}
