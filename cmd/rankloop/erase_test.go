package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
)

// TestEraseCommand: a completion, one of a customer's users and the customer itself are erased, each as often as one likes; a dry run
// says the same and changes nothing.
func TestEraseCommand(t *testing.T) {
	url, dir, ctx := durable(t), t.TempDir(), t.Context()
	db, err := databaseFlags{DatabaseURL: url}.open(ctx, dir, true, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store := labeling.NewStore(db.Pool)
	project, err := store.EnsureProject(ctx, labeling.Project{Name: "main", Question: labeling.QuestionRanking, K: 4, Overlap: 1, PromptCap: 200, Lease: 1e9 * 60})
	if err != nil {
		t.Fatal(err)
	}
	for i, user := range []string{"u1", "u2", "u2", "u3"} {
		if err := pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
			_, _, err := store.AddPrompt(ctx, tx, labeling.NewPrompt{ProjectID: project.ID, Text: fmt.Sprint(strings.Repeat(fmt.Sprint(i), 20), " asked"), Origin: labeling.OriginAPI,
				CustomerID: "acme", APIKeyID: "k", Consent: true, CompletionID: fmt.Sprint("cmpl-", i), EndUser: user})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	prompts := func() (n int) {
		if err := db.Pool.QueryRow(ctx, `SELECT count(*) FROM prompts`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	erase := func(left int, want string, args ...string) string {
		t.Helper()
		code, out, errs := call(t, "", append([]string{"erase", "--database-url", url, "--dir", dir}, args...)...)
		if n := prompts(); code != 0 || n != left || !strings.Contains(out, want) {
			t.Errorf("%v: exit %d, %d prompts are left, want %d: %s%s", args, code, n, left, out, errs)
		}
		return out
	}
	erase(4, "prompts: 1 rows", "--completion", "cmpl-0", "--dry-run")
	erase(3, "report sha256", "--completion", "cmpl-0")
	verifyReport(t, url, dir)
	erase(3, "nothing is kept of completion:", "--completion", "cmpl-0")
	erase(3, "prompts: 2 rows", "--customer", "acme", "--user", "u2", "--dry-run")
	erase(1, "prompts: 2 rows", "--customer", "acme", "--user", "u2")
	erase(1, "nothing is kept of user:acme/u2", "--customer", "acme", "--user", "u2")
	erase(0, "prompts: 1 rows", "--customer", "acme")
	var r struct {
		Subject labeling.Subject
		Rows    map[string]int
	}
	if err := json.Unmarshal([]byte(erase(0, "", "--customer", "acme", "--json")), &r); err != nil || len(r.Rows) != 0 || r.Subject.ID != "acme" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, args := range [][]string{{"--user", "u1"}, {"--labeler", "l", "--user", "u1"}, {"--labeler", "l", "--customer", "c"}, {}} {
		if code, _, _ := call(t, "", append([]string{"erase", "--dir", dir}, args...)...); code != 2 {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}

// verifyReport takes the signed report of the one erasure, and checks it by the installation's key, by the key alone, by another
// installation's key, and with a figure changed.
func verifyReport(t *testing.T, url, dir string) {
	t.Helper()
	db := []string{"--database-url", url, "--dir", dir}
	var listed printedReport
	if _, out, errs := call(t, "", append([]string{"erasure", "list", "--json"}, db...)...); json.Unmarshal([]byte(out), &listed) != nil || listed.SignedBy == "" {
		t.Fatalf("%s%s", out, errs)
	}
	code, report, errs := call(t, "", append([]string{"erasure", "report", listed.ID}, db...)...)
	if code != 0 {
		t.Fatal(errs)
	}
	changed := strings.Replace(report, `"prompts": 1`, `"prompts": 2`, 1)
	if changed == report {
		t.Fatalf("no figure to change in %s", report)
	}
	file := filepath.Join(t.TempDir(), "report.json")
	verify := func(want int, says, text string, args ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := call(t, "", append([]string{"erasure", "verify", file}, args...)...); code != want || !strings.Contains(out+errs, says) {
			t.Errorf("%v: exit %d, %s%s", args, code, out, errs)
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(report)); err != nil {
		t.Fatal(err)
	}
	verify(0, "the signature holds: erasure "+listed.ID, report, "--dir", dir)
	verify(0, "the signature holds", report, "--key", listed.SignedBy)
	verify(0, listed.Digest, compact.String(), "--key", listed.SignedBy, "--json")
	verify(1, "the report was changed", changed, "--key", listed.SignedBy)
	var forged labeling.SignedErasure
	if err := json.Unmarshal([]byte(changed), &forged); err != nil {
		t.Fatal(err)
	}
	compact.Reset()
	if err := json.Compact(&compact, forged.Report); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(compact.Bytes())
	verify(1, "not one of this report", strings.Replace(changed, listed.Digest, hex.EncodeToString(sum[:]), 1), "--key", listed.SignedBy)
	verify(1, "signed by another key", report, "--key", base64.StdEncoding.EncodeToString(sum[:]))
	verify(2, "no installation in", report, "--dir", t.TempDir())
	verify(1, "no signed report", `{"rows": {}}`, "--key", listed.SignedBy)
	if code, _, errs := call(t, "", append([]string{"erasure", "report", "x"}, db...)...); code != 1 || !strings.Contains(errs, "erasure list") {
		t.Errorf("exit %d, %s", code, errs)
	}
}
