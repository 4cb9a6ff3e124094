package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/web/account"
)

// sendFile posts a file as the form of the import page does.
func (b *browser) sendFile(name, text string, fields ...string) answer {
	b.w.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		b.w.must(form.WriteField(fields[i], fields[i+1]))
	}
	part, err := form.CreateFormFile("file", name)
	b.w.must(err)
	io.WriteString(part, text)
	b.w.must(form.Close())
	return b.do(post, "/admin/import", form.FormDataContentType(), body.String())
}

// work does what the job of imports does, once.
func (w *world) work() {
	w.Helper()
	w.workIn(w.project.ID)
}

// workIn is work in one project.
func (w *world) workIn(projectID string) {
	w.Helper()
	ctx := context.Background()
	runs, err := w.labeling.Imports(ctx, projectID, 10)
	w.must(err)
	for _, run := range runs {
		if run.File == "" || run.State == "done" {
			continue
		}
		f, err := os.Open(w.server.Uploads + "/" + run.File)
		w.must(err)
		_, err = w.labeling.WorkImport(ctx, run, f)
		f.Close()
		w.must(err)
	}
}

func TestImportPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("ada", account.RoleAdmin)
	const file = `{"prompt":"Name a <b>bird</b>.","chosen":"Robin.","rejected":"Cod.","labeler":"ann"}
{"prompt":"Same","chosen":"a","rejected":"a"}
{"prompt":"Write to ann@example.com"}
`
	page := b.sendFile("some.jsonl", file, "dry", "yes").want(t, http.StatusOK)
	if !strings.Contains(page.body, "3 records read as trl: 2 new, 0 doubles, 1 rejected") || !strings.Contains(page.body, "Line 2: rejected: equal to chosen") {
		t.Errorf("%s", page.body)
	}
	if n := w.count(`SELECT count(*) FROM imports`); n != 0 {
		t.Errorf("the dry run left %d imports", n)
	}
	at := b.sendFile("../some <x>.jsonl", file).want(t, http.StatusSeeOther).head.Get("Location")
	page = b.get(at).want(t, http.StatusOK)
	if !strings.Contains(page.body, "State: reading") || !strings.Contains(page.body, "some &lt;x&gt;.jsonl") {
		t.Errorf("%s", page.body)
	}
	w.work()
	page = b.get(at).want(t, http.StatusOK)
	if !strings.Contains(page.body, "State: done. 3 read, 2 imported, 0 doubles, 1 rejected, 1 with personal data") || !strings.Contains(page.body, "equal to chosen") {
		t.Errorf("%s", page.body)
	}
	// Reasons speak the reader's language, those that were kept and those of a dry run, which compares with what is there now.
	if _, err := w.pool.Exec(t.Context(), `UPDATE users SET language = 'zh-Hant' WHERE name = 'ada'`); err != nil {
		t.Fatal(err)
	}
	const reason = "rejected：與 chosen 相同"
	if page = b.get(at).want(t, http.StatusOK); !strings.Contains(page.body, reason) {
		t.Errorf("%s", page.body)
	}
	page = b.sendFile("some.jsonl", file, "dry", "yes").want(t, http.StatusOK)
	if !strings.Contains(page.body, "讀取 3 筆紀錄，格式為 trl：新的 0 筆、重複 2 筆、拒收 1 筆") || !strings.Contains(page.body, "第 2 行："+reason) {
		t.Errorf("%s", page.body)
	}
	if _, err := w.pool.Exec(t.Context(), `UPDATE users SET language = ''`); err != nil {
		t.Fatal(err)
	}
	b.get("/admin/import").want(t, http.StatusOK)
	b.sendFile("some.jsonl", file, "format", "xls").want(t, http.StatusBadRequest)
	b.do(post, "/admin/import", "application/json", "{}").want(t, http.StatusBadRequest)
	if left, err := os.ReadDir(w.server.Uploads); err != nil || len(left) != 1 {
		t.Errorf("%d files are kept, %v", len(left), err)
	}
	// The reviewer sees what was found, and undoes it.
	page = b.get("/admin/redactions").want(t, http.StatusOK)
	if !strings.Contains(page.body, "Write to [EMAIL]") || !strings.Contains(page.body, "Write to ann@example.com") {
		t.Errorf("%s", page.body)
	}
	var id string
	w.must(w.pool.QueryRow(t.Context(), `SELECT id FROM redactions`).Scan(&id))
	b.form("/admin/redactions/"+id+"/undo").want(t, http.StatusSeeOther)
	b.form("/admin/redactions/"+id+"/confirm").want(t, http.StatusNotFound)
	if n := w.count(`SELECT count(*) FROM prompts WHERE text = 'Write to ann@example.com'`); n != 1 {
		t.Error("it was not undone")
	}
}

// TestExportResumes: the file of a snapshot is the same whole or in parts, and says what it
// is.
func TestExportResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("ada", account.RoleAdmin)
	var file strings.Builder
	for i := range 300 {
		fmt.Fprintf(&file, `{"prompt":"Question %d","completions":["a","é","c"],"ranks":[1,1,3],"labeler":"ann"}`+"\n", i)
	}
	b.form("/admin/snapshots", "name", "none").want(t, http.StatusConflict)
	b.sendFile("some.jsonl", file.String()).want(t, http.StatusSeeOther)
	w.work()
	b.form("/admin/snapshots", "name", "first").want(t, http.StatusSeeOther)
	b.form("/admin/snapshots", "name", "first").want(t, http.StatusConflict)
	list, err := w.labeling.Snapshots(t.Context(), w.project.ID, "", 10)
	w.must(err)
	if page := b.get("/admin/snapshots").want(t, http.StatusOK); !strings.Contains(page.body, list[0].ID) {
		t.Errorf("%s", page.body)
	}
	for _, format := range labeling.ExportNames() {
		at := "/admin/snapshots/" + list[0].ID + "/export?format=" + format
		whole := b.get(at).want(t, http.StatusOK)
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(whole.body)))
		var m labeling.Manifest
		b.get("/admin/snapshots/"+list[0].ID+"/manifest?format="+format).want(t, http.StatusOK).into(t, &m)
		if m.SHA256 != sum || m.Bytes != int64(len(whole.body)) || m.Snapshot != list[0].ID || m.Hash != list[0].Hash {
			t.Errorf("%s: %+v, the file has %d bytes and %s", format, m, len(whole.body), sum)
		}
		again := b.get(at).want(t, http.StatusOK)
		if again.body != whole.body || again.head.Get("ETag") != `"`+sum+`"` || again.head.Get("Content-Length") != fmt.Sprint(len(whole.body)) {
			t.Errorf("%s: another file: %v", format, again.head)
		}
		cut := len(whole.body) / 3
		head := b.do(get, at, "", "", "Range", fmt.Sprintf("bytes=0-%d", cut-1)).want(t, http.StatusPartialContent)
		tail := b.do(get, at, "", "", "Range", fmt.Sprintf("bytes=%d-", cut), "If-Range", `"`+sum+`"`).want(t, http.StatusPartialContent)
		if head.body+tail.body != whole.body || tail.head.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", cut, len(whole.body)-1, len(whole.body)) {
			t.Errorf("%s: the parts are not the whole: %v", format, tail.head)
		}
		if last := b.do(get, at, "", "", "Range", "bytes=-5").want(t, http.StatusPartialContent); last.body != whole.body[len(whole.body)-5:] {
			t.Errorf("%s: last bytes %q", format, last.body)
		}
		if other := b.do(get, at, "", "", "Range", "bytes=5-", "If-Range", `"x"`).want(t, http.StatusOK); other.body != whole.body {
			t.Errorf("%s: part of another file", format)
		}
		b.do(get, at, "", "", "Range", fmt.Sprintf("bytes=%d-", len(whole.body))).want(t, http.StatusRequestedRangeNotSatisfiable)
		b.do(get, at, "", "", "If-None-Match", `"`+sum+`"`).want(t, http.StatusNotModified)
	}
	b.get("/admin/snapshots/"+list[0].ID+"/export?format=xls").want(t, http.StatusBadRequest)
	b.get("/admin/snapshots/01890a5d-ac96-774b-bcce-b302099a8057/export?format=trl").want(t, http.StatusNotFound)
	// A Range of a file that nobody has had made yet.
	_, err = w.pool.Exec(t.Context(), `DELETE FROM exports`)
	w.must(err)
	b.do(get, "/admin/snapshots/"+list[0].ID+"/export?format=trl", "", "", "Range", "bytes=1-2").want(t, http.StatusPartialContent)
}

func TestWebhooksPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("ada", account.RoleAdmin)
	page := b.form("/admin/webhooks", "url", "https://example.com/hook", "events", "import.finished").want(t, http.StatusOK)
	hooks, err := w.labeling.Webhooks(t.Context())
	w.must(err)
	if len(hooks) != 1 || !strings.Contains(page.body, "whsec_"+hooks[0].ID) || fmt.Sprint(hooks[0].Events) != "[import.finished]" {
		t.Fatalf("%+v\n%s", hooks, page.body)
	}
	if page := b.get("/admin/webhooks"); strings.Contains(page.body, "whsec_") {
		t.Error("the secret is shown again")
	}
	b.form("/admin/webhooks", "url", "nowhere").want(t, http.StatusBadRequest)
	b.form("/admin/webhooks/"+hooks[0].ID+"/test").want(t, http.StatusSeeOther)
	w.must(w.labeling.DeliverNext(t.Context(), func(context.Context, labeling.Delivery) (int, error) { return 500, nil }))
	if page := b.get("/admin/webhooks").want(t, http.StatusOK); !strings.Contains(page.body, "webhook.test") || !strings.Contains(page.body, "<td>500</td>") {
		t.Errorf("%s", page.body)
	}
	list, err := w.labeling.Deliveries(t.Context(), 1)
	w.must(err)
	b.form("/admin/deliveries/"+list[0].ID+"/replay").want(t, http.StatusSeeOther)
	b.form("/admin/webhooks/"+hooks[0].ID+"/remove").want(t, http.StatusSeeOther)
	b.form("/admin/webhooks/"+hooks[0].ID+"/remove").want(t, http.StatusNotFound)
}

// TestErasePage: preview, then the act; snapshots and models that consumed the rows are
// marked.
func TestErasePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("ada", account.RoleAdmin)
	b.sendFile("some.jsonl", `{"prompt":"Secret of shop","completions":["a","b"],"ranks":[1,2],"customer":"shop"}`).want(t, http.StatusSeeOther)
	w.work()
	b.form("/admin/snapshots", "name", "first").want(t, http.StatusSeeOther)
	list, err := w.labeling.Snapshots(t.Context(), w.project.ID, "", 10)
	w.must(err)
	learned := w.register(registry.Version{Kind: registry.Reward, Name: "learned-from-it", Digest: "sha256:" + strings.Repeat("c", 64), Parents: []string{w.version.ID}, Snapshot: &list[0].ID})
	child := w.register(registry.Version{Kind: registry.Policy, Name: "child-of-it", Digest: "sha256:" + strings.Repeat("d", 64), Parents: []string{learned.ID}})
	page := b.form("/admin/erase", "kind", "customer", "id", "shop").want(t, http.StatusOK)
	for _, want := range []string{"What would go", "Prompts: 1", ">first</bdi></a></td><td class=\"n\">1<", ">learned-from-it<", ">child-of-it<"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the preview lacks %q", want)
		}
	}
	if n := w.count(`SELECT count(*) FROM prompts`); n != 1 {
		t.Fatal("the preview erased")
	}
	at := b.form("/admin/erase", "kind", "customer", "id", "shop", "sure", "yes").want(t, http.StatusSeeOther).head.Get("Location")
	page = b.get(at).want(t, http.StatusOK)
	if !strings.Contains(page.body, "Erased. The report") || w.count(`SELECT count(*) FROM prompts`) != 0 {
		t.Errorf("%s", page.body)
	}
	for id, want := range map[string]int{learned.ID: 1, child.ID: 1, w.version.ID: 0} {
		reasons, err := w.registry.Taints(t.Context(), id)
		w.must(err)
		if len(reasons) != want {
			t.Errorf("%s is marked by %v", id, reasons)
		}
	}
	if page := b.get("/admin/models/"+child.ID).want(t, http.StatusOK); !strings.Contains(page.body, "Train it again without them.") || !strings.Contains(page.body, strings.TrimSuffix(at, "?done=erased")) {
		t.Error("the model's page does not tell")
	}
	b.form("/admin/erase", "kind", "customer", "id", "shop").want(t, http.StatusNotFound)
	b.form("/admin/erase", "kind", "row", "id", "shop").want(t, http.StatusBadRequest)
	var report struct{ Rows map[string]int }
	var text string
	w.must(pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT report::text FROM erasures`).Scan(&text)
	}))
	if err := json.Unmarshal([]byte(text), &report); err != nil || report.Rows["prompts"] != 1 || strings.Contains(text, "Secret") {
		t.Errorf("%s, %v", text, err)
	}
}
