package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// notExported are the tables of which nobody gets rows with the own data, and why.
var notExported = map[string]string{
	"adjudications": "decisions of reviewers about tasks, in the name of the house", "alarms": "figures of runs", "audit": "what was done, by ids; the log is the house's evidence",
	"audit_pending": "a queue of the log", "audit_seals": "digests of the log", "cords": "decisions of admins", "engine_days": "figures of engines", "engines": "addresses of the house's engines",
	"erasures": "reports without text; the page lists them", "exports": "sizes of files", "gold": "answers of the house's tests", "guidelines": "instructions of the house",
	"import_errors": "lines of an admin's file", "import_rows": "an admin's file on its way; rows that name a customer do come along", "imports": "an admin's files",
	"invitations": "sent to an address; a person's own do come along", "labeling_changed": "a queue of figures", "labeling_figures": "figures over everybody", "labeling_stats": "figures over everybody",
	"labeling_sums": "figures over everybody", "login_buckets": "counts of failed sign-ins, by digests", "model_parents": "models", "model_taints": "models", "model_versions": "models",
	"projects": "settings of the house", "redactions": "what was taken out of texts, sealed", "rounds": "training", "run_metrics": "training", "runs": "training",
	"schedules": "training", "serving": "training", "snapshot_items": "copies of rows that come along", "snapshot_taints": "ids", "snapshots": "names given by admins",
	"tasks": "which answers are shown together", "use_cases": "names given by admins", "webhook_deliveries": "events by ids", "webhooks": "addresses of the house's receivers",
	"canaries": "promotions", "canary_answers": "figures without text or person", "canary_events": "promotions", "planned_promotions": "promotions", "model_comparisons": "training",
	"model_comparison_pairs": "ids and figures", "policy_samples": "what a policy said in training; goes with the prompt when that is erased", "health_marks": "the program's",
	"settings": "settings of the house", "setting_changes": "settings of the house", "round_stages": "training", "round_templates": "training",
	"sign_ins": "under way for minutes", "identity_offers": "under way for minutes",
	"schema_migrations": "the program's", "schema_marker": "the program's", "qualification_answers": "rows of labelers come along", "qualifications": "rows of labelers come along",
	"reports": "rows of labelers come along", "ratings": "those of own rankings come along",
}

// TestExportIsComplete: whatever a customer typed or was answered, at whatever door, comes along with the own data: every table of the
// database is in the export, or there is a reason why not; and a table in which the customer's words stand is in it with these words.
func TestExportIsComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("acme", account.RoleCustomer)
	const word = "canary7f3a"
	secret := b.ownKey(word + " key")
	key := w.withKey(secret)
	id, _ := key.chat(asks(word+" asks", `,"n":2,"user":"`+word+`-user","store":true,"metadata":{"note":"`+word+`"}`))
	key.json(post, "/v1/chat/completions/"+id+"/feedback", fmt.Sprintf(`{"preferred":0,"correction":"%[1]s corrects","comment":"%[1]s comments","rating":1}`, word)).want(t, http.StatusCreated)
	k := b.converse(true)
	said := k.ask(map[string]any{"content": word + " chats", "settings": map[string]any{"max_tokens": 4, "system": word + " system"}})
	b.json(put, "/chat/api/turns/"+said.Answers[0].ID+"/feedback", fmt.Sprintf(`{"rating":-1,"correction":"%[1]s in the chat","comment":"%[1]s"}`, word)).want(t, http.StatusOK)
	b.json(put, "/chat/api/conversations/"+k.id, `{"title":"`+word+` title"}`).want(t, http.StatusOK)
	b.json(put, "/chat/api/presets", fmt.Sprintf(`{"name":"%[1]s","settings":{"system":"%[1]s"}}`, word))
	// The same person labels.
	w.addTask(says("to label"), "a", "b")
	w.label(w.id("acme"), word)

	_, err := w.pool.Exec(t.Context(), `INSERT INTO identities (id, user_id, provider, issuer, subject, email, made_account) VALUES (gen_random_uuid(), $1, 'google', 'https://id.example', $2, 'acme@id.example', false)`, w.id("acme"), word)
	w.must(err)

	got := b.get("/account/export").want(t, http.StatusOK)
	words, kinds := map[string]int{}, map[string]bool{}
	for lines := bufio.NewScanner(strings.NewReader(got.body)); lines.Scan(); {
		var l exportLine
		w.must(json.Unmarshal(lines.Bytes(), &l))
		kinds[l.Kind] = true
		words[l.Kind] += strings.Count(string(l.Row), word)
	}
	for kind, table := range map[string]string{"account": "users", "session": "sessions", "key": "api_keys", "key_day": "key_days", "request": "usage", "identity": "identities"} {
		kinds[table], words[table] = kinds[kind], words[kind]
	}
	rows, err := w.pool.Query(t.Context(), `SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1`)
	w.must(err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	w.must(err)
	for _, table := range tables {
		if !kinds[table] && notExported[table] == "" {
			t.Errorf("the table %s is not exported, and nothing says why", table)
		}
		has := w.count(`SELECT count(*) FROM ` + pgx.Identifier{table}.Sanitize() + ` t WHERE position('` + word + `' IN encode(convert_to(t::text, 'UTF8'), 'escape')) > 0 OR position(encode('` + word + `', 'hex') IN t::text) > 0`)
		if has > 0 && words[table] == 0 && table != "audit" && table != "redactions" {
			t.Errorf("%d rows of %s have the customer's words, the export has none of them", has, table)
		}
	}
	if words["stored_completions"] < 3 || words["conversation_turns"] < 1 || words["feedback"] < 2 || words["demonstrations"] < 1 || words["rankings"] != 1 {
		t.Errorf("%v", words)
	}
	// Nobody else gets any of it.
	if other := w.as("eve", account.RoleCustomer).get("/account/export"); strings.Contains(other.body, word) {
		t.Error("another customer gets it too")
	}
}

// label lets a labeler rank the next task, with a comment.
func (w *world) label(labeler, comment string) {
	w.Helper()
	a, err := w.labeling.Claim(w.Context(), w.project.ID, labeler)
	w.must(err)
	in := labeling.SubmitInput{AssignmentID: a.ID, LabelerID: labeler, Comment: comment, IdempotencyKey: a.ID, ActiveMS: 900, WallMS: 1000}
	for _, at := range a.Order {
		in.Ranks = append(in.Ranks, at+1)
	}
	_, err = w.labeling.Submit(w.Context(), in, nil)
	w.must(err)
}
