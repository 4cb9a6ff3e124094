package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
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
