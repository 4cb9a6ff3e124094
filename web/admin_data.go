package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/lang"
)

// maxUpload is the body of an import's request in bytes.
const maxUpload = 2 << 30

const importPath = "/admin/import"

func (s *server) dataRoutes() {
	s.route(admins, get, importPath, s.importsPage)
	s.stream(admins, post, importPath, s.upload)
	s.route(admins, get, "/admin/import/:id", s.importPage)

	s.route(admins, get, "/admin/snapshots", s.snapshotsPage)
	s.route(admins, post, "/admin/snapshots", s.makeSnapshot)
	s.route(readers, get, "/admin/snapshots/:id", s.snapshotPage)
	s.stream(admins, get, "/admin/snapshots/:id/export", s.exportSnapshot)
	s.stream(admins, get, "/admin/snapshots/:id/manifest", s.exportManifest)

	s.route(admins, get, "/admin/redactions", s.redactionsPage)
	s.route(admins, post, "/admin/redactions/:id/confirm", s.reviewRedaction(s.Labeling.ConfirmRedaction, "confirmed"))
	s.route(admins, post, "/admin/redactions/:id/undo", s.reviewRedaction(s.Labeling.UndoRedaction, "undone"))

	s.route(admins, get, "/admin/webhooks", s.webhooksPage)
	s.route(admins, post, "/admin/webhooks", s.addWebhook)
	s.route(admins, post, "/admin/webhooks/:id/test", s.actOnWebhook(s.Labeling.TestWebhook, "sent"))
	s.route(admins, post, "/admin/webhooks/:id/remove", s.actOnWebhook(s.Labeling.RemoveWebhook, "removed"))
	s.route(admins, post, "/admin/deliveries/:id/replay", s.actOnWebhook(s.Labeling.ReplayDelivery, "replayed"))

	s.erasureRoutes()
}

// --- imports

type importsData struct {
	scope
	Runs    []labeling.ImportRun
	Formats []string
	Presets []string
	Dry     *labeling.ImportReport // of a dry run
	Error   string
}

func (s *server) importsPage(c *gin.Context) { s.showImports(c, http.StatusOK, importsData{}) }

func (s *server) showImports(c *gin.Context, code int, d importsData) {
	var err error
	if d.scope, err = s.scope(c); err == nil {
		d.Runs, err = s.Labeling.Imports(c.Request.Context(), d.Project.ID, 50)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	d.Formats, d.Presets = labeling.FormatNames(), labeling.Presets()
	s.render(c, code, "imports", view{Title: "Import", Nav: "data", Note: note(c), Data: d})
}

// upload takes a file in: for a dry run it is read as it comes, otherwise kept in the data
// folder for a job. The fields of the form come before the file.
func (s *server) upload(c *gin.Context) {
	form, err := c.Request.MultipartReader()
	if err != nil {
		s.fail(c, bad("file", "must be sent as a form with a file"))
		return
	}
	fields := map[string]string{}
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			s.fail(c, bad("file", "is missing"))
			return
		}
		if err != nil {
			s.fail(c, bad("file", "did not arrive whole"))
			return
		}
		if part.FormName() == "file" && part.FileName() != "" {
			s.takeFile(c, fields, part)
			return
		}
		value, err := io.ReadAll(io.LimitReader(part, 4096))
		if err == nil {
			fields[part.FormName()], err = textParam(string(value))
		}
		if err != nil {
			s.fail(c, err)
			return
		}
	}
}

// patient gives a slow but living upload time.
type patient struct {
	r io.Reader
	c *gin.Context
}

func (p patient) Read(b []byte) (int, error) {
	controller(p.c).SetReadDeadline(time.Now().Add(30 * time.Second)) // servers without deadlines (tests) say so; that is fine
	return p.r.Read(b)
}

func (s *server) takeFile(c *gin.Context, fields map[string]string, part *multipart.Part) {
	at, err := s.scope(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	how := labeling.Reading{Format: fields["format"], Preset: fields["preset"], Columns: fields["columns"]}
	in := patient{part, c}
	if fields["dry"] == "yes" {
		report, err := s.Labeling.CheckImport(c.Request.Context(), at.Project.ID, how, in)
		d := importsData{Dry: &report}
		if err != nil {
			d.Error = err.Error()
		}
		s.showImports(c, http.StatusOK, d)
		return
	}
	file, err := os.CreateTemp(s.Uploads, "import-*")
	if err != nil {
		s.fail(c, err)
		return
	}
	defer file.Close()
	if _, err = io.Copy(file, in); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	var run labeling.ImportRun
	if err == nil {
		name := filepath.Base(filepath.ToSlash(part.FileName()))
		run, err = s.Labeling.StartImport(c.Request.Context(), labeling.NewImport{ProjectID: at.Project.ID, Name: name, Actor: actor(c), Reading: how}, file, filepath.Base(file.Name()))
	}
	if err != nil || run.File != filepath.Base(file.Name()) { // the same file is under way
		os.Remove(file.Name())
	}
	if err != nil {
		p, known := problemOf(err)
		if !known || p.Status >= 500 {
			s.fail(c, err)
			return
		}
		s.showImports(c, p.Status, importsData{Error: p.Detail})
		return
	}
	done(c, importPath+"/"+run.ID, "uploaded")
}

type importData struct {
	labeling.ImportRun
	Open    bool
	Reasons []*labeling.LineError
}

func (s *server) importPage(c *gin.Context) {
	run, err := s.Labeling.ImportByID(c.Request.Context(), c.Param("id"))
	d := importData{ImportRun: run, Open: run.State == "reading" || run.State == "settling"}
	if err == nil {
		d.Reasons, err = s.Labeling.ImportReasons(c.Request.Context(), run.ID)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "import", view{Title: "Import", Nav: "data", Note: note(c), Data: d})
}

// why says why a line of a file was rejected.
func why(l *lang.Language, err error) string {
	var e *labeling.InvalidError
	if !errors.As(err, &e) || e.Form == "" {
		return l.Found(err.Error())
	}
	reason := l.T(e.Form, e.Args...)
	if e.Field == "" {
		return reason
	}
	return l.Field(e.Field, reason)
}

// --- personal data

func (s *server) redactionsPage(c *gin.Context) {
	after, err := textParam(c.Query("after"))
	var list []labeling.Redaction
	if err == nil {
		list, err = s.Labeling.Redactions(c.Request.Context(), s.ProjectID, after, 50)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "redactions", view{Title: "Personal data", Nav: "data", Note: note(c), Data: list})
}

func (s *server) reviewRedaction(act storeAct, say string) gin.HandlerFunc {
	return s.storeAct(act, "/admin/redactions", say)
}

// --- webhooks

type webhooksData struct {
	Hooks      []labeling.Webhook
	Deliveries []labeling.Delivery
	Events     []string
	Secret     string // shown once
	Error      string
}

func (s *server) webhooksPage(c *gin.Context) { s.showWebhooks(c, http.StatusOK, webhooksData{}) }

func (s *server) showWebhooks(c *gin.Context, code int, d webhooksData) {
	var err error
	d.Events = labeling.Events
	if d.Hooks, err = s.Labeling.Webhooks(c.Request.Context()); err == nil {
		d.Deliveries, err = s.Labeling.Deliveries(c.Request.Context(), 100)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, code, "webhooks", view{Title: "Webhooks", Nav: "data", Note: note(c), Data: d})
}

func (s *server) addWebhook(c *gin.Context) {
	address, err := formValue(c, "url", 2000)
	if err != nil {
		s.fail(c, err)
		return
	}
	w, err := s.Labeling.AddWebhook(c.Request.Context(), address, c.PostFormArray("events"), actor(c))
	if err != nil {
		p, known := problemOf(err)
		if !known || p.Status >= 500 {
			s.fail(c, err)
			return
		}
		s.showWebhooks(c, p.Status, webhooksData{Error: p.Detail})
		return
	}
	s.showWebhooks(c, http.StatusOK, webhooksData{Secret: s.WebhookSecret(w.ID)})
}

func (s *server) actOnWebhook(act storeAct, say string) gin.HandlerFunc {
	return s.storeAct(act, "/admin/webhooks", say)
}

// --- exports

// snapshotsShown is how many snapshots a page of the list has.
const snapshotsShown = 50

type snapshotsData struct {
	Snapshots []labeling.Snapshot
	Older     string // the id that the next page begins behind; empty on the last
	Formats   []string
	Error     string
}

func (s *server) snapshotsPage(c *gin.Context) { s.showSnapshots(c, http.StatusOK, "") }

func (s *server) showSnapshots(c *gin.Context, code int, problem sentence) {
	list, err := s.Labeling.Snapshots(c.Request.Context(), s.ProjectID, c.Query("before"), snapshotsShown+1)
	if err != nil {
		s.fail(c, err)
		return
	}
	d := snapshotsData{Snapshots: list, Formats: labeling.ExportNames(), Error: string(problem)}
	if len(list) > snapshotsShown {
		d.Snapshots, d.Older = list[:snapshotsShown], list[snapshotsShown-1].ID
	}
	s.render(c, code, "snapshots", view{Title: "Snapshots", Nav: "data", Note: note(c), Data: d})
}

// snapshotErrors say what was wrong with a snapshot that was asked for.
var snapshotErrors = map[error]sentence{
	labeling.ErrEmpty:    "There is no ranking yet that a snapshot could hold.",
	labeling.ErrConflict: "There is a snapshot of that name.",
}

func (s *server) makeSnapshot(c *gin.Context) {
	name, err := formValue(c, "name", 200)
	if err == nil {
		_, err = s.Labeling.MakeSnapshot(c.Request.Context(), s.ProjectID, labeling.SnapshotFilter{Name: name}, actor(c))
	}
	for known, text := range snapshotErrors {
		if errors.Is(err, known) {
			s.showSnapshots(c, http.StatusConflict, text)
			return
		}
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/snapshots", "snapshot")
}

func exportFormat(c *gin.Context) (string, error) {
	format := c.Query("format")
	if !slices.Contains(labeling.ExportNames(), format) {
		return "", bad("format", fmt.Sprintf("must be one of %v", labeling.ExportNames()))
	}
	return format, nil
}

func (s *server) exportManifest(c *gin.Context) {
	format, err := exportFormat(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	m, err := s.Labeling.ExportManifest(c.Request.Context(), c.Param("id"), format)
	if err != nil {
		s.fail(c, err)
		return
	}
	text, err := json.Marshal(m)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", append(text, '\n'))
}

// storeAct is an act of the store on one thing, by somebody.
type storeAct = func(ctx context.Context, id, actor string) error

func (s *server) storeAct(act storeAct, back, say string) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := act(c.Request.Context(), c.Param("id"), actor(c)); err != nil {
			s.fail(c, err)
			return
		}
		done(c, back, say)
	}
}
