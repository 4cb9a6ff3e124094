// Package mutant asks whether tests notice mistakes. A mutant is a mistake that one could make, as an edit of the sources, with the
// test that must turn red by name; a mutant that lives shows that what it breaks is not held by any test. For tests only.
package mutant

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Edit replaces the only place where a file says Old. File is a path from the package's folder.
type Edit struct{ File, Old, New string }

// Mutant is one mistake, of one edit or several.
type Mutant struct {
	Name  string
	Edits []Edit
	Red   string // the test that must fail
}

// Run builds the tests of the package that the caller is in with each mistake laid over the sources, and demands that the test named
// for it fails; without any mistake all of them must pass. It takes a build per mutant, and is skipped by -short, which
// those builds are run with. To rerun one: go test ./ROOM -run 'TestMutants/part of its name'.
func Run(t *testing.T, mutants []Mutant) {
	if testing.Short() {
		t.Skip("a build per mutant")
	}
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var reds []string
	for _, m := range mutants {
		reds = append(reds, m.Red)
	}
	out, failed := with(t, folder, Mutant{Red: "(" + strings.Join(reds, "|") + ")"})
	for _, red := range reds {
		if failed || !strings.Contains(out, "PASS: "+red+" ") {
			t.Fatalf("without a mistake %s does not pass:\n%s", red, out)
		}
	}
	for _, m := range mutants {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			out, failed := with(t, folder, m)
			switch {
			case !failed:
				t.Errorf("it lives: %s does not notice\n%s", m.Red, out)
			case strings.Contains(out, "[build failed]") || !strings.Contains(out, "FAIL: "+m.Red+" ") && !strings.Contains(out, "panic: "):
				t.Errorf("%s was not run, so it shows nothing:\n%s", m.Red, out)
			}
		})
	}
}

// with runs the test of a mutant with its edits laid over the sources, says what it printed and whether it failed.
func with(t *testing.T, folder string, m Mutant) (string, bool) {
	t.Helper()
	args := []string{"test", "-vet", "off", "-count", "1", "-v", "-short", "-run", "^" + m.Red + "$"}
	if len(m.Edits) > 0 {
		args = append(args, "-overlay", overlay(t, folder, m.Edits))
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, ".")...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	return string(out), err != nil
}

// overlay writes the edited files into a folder of their own, and the list by which the go command finds them.
func overlay(t *testing.T, folder string, edits []Edit) string {
	t.Helper()
	tmp, replace := t.TempDir(), map[string]string{}
	for _, e := range edits {
		path := filepath.Join(folder, filepath.FromSlash(e.File))
		from, again := replace[path]
		if !again {
			from = path
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), e.Old); n != 1 {
			t.Fatalf("%s has %d places that say %q: mend the edit", e.File, n, e.Old)
		}
		to := filepath.Join(tmp, filepath.Base(e.File))
		if err := os.WriteFile(to, []byte(strings.Replace(string(text), e.Old, e.New, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}
