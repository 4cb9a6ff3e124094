package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rankloop/rankloop/labeling"
)

// Of exports: what part of the rankings the small snapshot has, and how many more bytes a program may take for the whole than for
// that part: its garbage, which comes and goes, is as much.
const (
	exportPart  = 10
	exportSlack = 32 << 20
)

// exported is a snapshot's file as a program wrote it.
type exported struct {
	labeling.Manifest
	took time.Duration
	peak int64 // resident bytes of the program at most; 0 where the system does not say
}

// exports is how fast a snapshot of all rankings leaves in each format, whether it is the same file twice, and how much memory a
// program takes for it beside what it takes for a tenth.
func (l *lab) exports(ctx context.Context) ([]bar, error) {
	rankings, err := l.addHistory(ctx)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	store := labeling.NewStore(l.pool)
	var few labeling.SnapshotFilter
	for n := range listPeople {
		if n%exportPart > 0 {
			few.Without = append(few.Without, labeling.Subject{Kind: labeling.SubjectLabeler, ID: fmt.Sprintf("reader %d", n)})
		}
	}
	few.Name = "a part"
	part, err := store.MakeSnapshot(ctx, l.project.ID, few, "bench")
	if err != nil {
		return nil, err
	}
	start := time.Now()
	whole, err := store.MakeSnapshot(ctx, l.project.ID, labeling.SnapshotFilter{Name: "whole"}, "bench")
	if err != nil {
		return nil, err
	}
	out := []bar{atLeast("snapshot of "+strconv.Itoa(whole.N)+" rankings, made", float64(whole.N)/time.Since(start).Seconds(), "rankings/s", 10_000, fmt.Sprintf("of %d that there are", rankings))}
	formats := labeling.ExportNames()
	for i, format := range formats {
		l.show.show("exports", i, len(formats), "formats")
		bars, err := l.export(ctx, format, part.ID, whole)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", format, err)
		}
		out = append(out, bars...)
	}
	return out, nil
}

// export writes both snapshots in a format, the whole one three times: twice by the command, and once from the server.
func (l *lab) export(ctx context.Context, format, part string, whole labeling.Snapshot) ([]bar, error) {
	small, err := l.exportOnce(ctx, format, part)
	if err != nil {
		return nil, err
	}
	first, err := l.exportOnce(ctx, format, whole.ID)
	if err != nil {
		return nil, err
	}
	again, err := l.exportOnce(ctx, format, whole.ID)
	if err != nil {
		return nil, err
	}
	served, took, err := l.download(ctx, "/admin/snapshots/"+whole.ID+"/export?format="+format)
	if err != nil {
		return nil, err
	}
	others := 0
	for _, sum := range []string{again.SHA256, served} {
		if sum != first.SHA256 {
			others++
		}
	}
	name := "export " + format
	bars := []bar{
		atLeast(name, float64(whole.N)/min(first.took, again.took).Seconds(), "rankings/s", 10_000,
			fmt.Sprintf("%d records, %d MB; from the server %.0f rankings/s", first.Records, first.Bytes>>20, float64(whole.N)/took.Seconds())),
		atMost(name+", other files on repeat", float64(others), "", 0, "sha256 "+first.SHA256[:12]),
	}
	if small.peak == 0 {
		return append(bars, bar{Name: name + ", memory", Unit: "MB", Most: true, Note: "this system does not say what a program takes"}), nil
	}
	most := max(first.peak, again.peak)
	return append(bars, atMost(name+", memory", float64(most)/(1<<20), "MB", float64(small.peak+exportSlack)/(1<<20), fmt.Sprintf("%d MB for a part of %d", small.peak>>20, exportPart))), nil
}

// exportOnce runs the command that exports, and looks at how much memory it takes.
func (l *lab) exportOnce(ctx context.Context, format, snapshot string) (e exported, err error) {
	program, err := os.Executable()
	if err != nil {
		return e, err
	}
	file := filepath.Join(l.dir, "export")
	defer os.Remove(file)
	cmd := exec.CommandContext(ctx, program, "export", "--database-url", l.postgres.URL(), "--dir", filepath.Join(l.dir, "server"), "--snapshot", snapshot, "--format", format, "--out", file, "--json")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return e, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for running := true; running; {
		e.peak = max(e.peak, peakResident(cmd.Process.Pid))
		select {
		case err = <-ended:
			running = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	e.took = time.Since(start)
	if err != nil {
		return e, fmt.Errorf("%w: %s", err, complaint.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &e.Manifest); err != nil {
		return e, err
	}
	written, err := os.Open(file)
	if err != nil {
		return e, err
	}
	defer written.Close()
	h := sha256.New()
	if _, err := io.Copy(h, written); err != nil {
		return e, err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != e.SHA256 {
		return e, fmt.Errorf("the file has sha256 %s, its manifest %s", sum, e.SHA256)
	}
	return e, nil
}

// peakResident is the most memory that a process had at once, in bytes, by now; 0 where the system does not say. What a parent learns when
// its child ends is no use: that counts what the parent itself had when it began the child.
func peakResident(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	return 0
}

// download fetches an address of the server as an admin, and returns the sha256 of what came.
func (l *lab) download(ctx context.Context, path string) (sum string, took time.Duration, err error) {
	if err := l.promote(ctx, 1, "admin"); err != nil {
		return "", 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+path, nil)
	if err != nil {
		return "", 0, err
	}
	req.AddCookie(&http.Cookie{Name: "rl_session", Value: l.sessions[1]})
	start := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	h := sha256.New()
	if _, err = io.Copy(h, res.Body); err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", path, res.Status)
	}
	return hex.EncodeToString(h.Sum(nil)), time.Since(start), err
}
