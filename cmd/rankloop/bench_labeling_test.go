package main

import (
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/labeling"
)

// The program measures itself as a process: every page of the log answers, and each format's file is the same one by the command, by the
// command again, and from the server. Whether rates hold is not asked of a few hundred tasks.
func TestBenchLabeling(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, strings.Fields("bench labeling --of audit,exports --tasks 600 --labelers 20 --repeats 1 --json")...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	var got struct{ Bars []bar }
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	pages, files, rates := 0, 0, 0
	for _, b := range got.Bars {
		switch {
		case strings.HasPrefix(b.Name, "entries") || strings.HasPrefix(b.Name, "newest entries"):
			pages++
		case strings.HasSuffix(b.Name, "other files on repeat"):
			if files++; b.Value != 0 || !b.Holds {
				t.Errorf("%+v", b)
			}
			continue
		case b.Unit == "rankings/s":
			rates++
		}
		if b.Holds != (b.Most == (b.Value <= b.Bar)) && b.Value != b.Bar || !(b.Value > 0) && b.Note == "" {
			t.Errorf("%+v", b)
		}
	}
	if formats := len(labeling.ExportNames()); pages != 16 || files != formats || rates != formats+1 {
		t.Errorf("%d pages of the log, %d formats, %d rates", pages, files, rates)
	}
	for _, bad := range []string{"--tasks 0", "--claims 0", "--kills -1", "--within -1s", "--time 0s"} {
		if code := execute(context.Background(), strings.Fields("bench labeling "+bad), streams{strings.NewReader(""), io.Discard, io.Discard}); code != exitUsage {
			t.Errorf("%s: exit %d", bad, code)
		}
	}
}
