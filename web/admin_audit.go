package web

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/audit"
)

func (s *server) auditRoutes() {
	s.route(admins, get, "/admin/audit", s.auditPage)
	s.route(admins, get, "/admin/audit/entry/:entry", s.auditEntryPage)
	s.stream(admins, get, "/admin/audit/verify", s.auditVerifyPage)
	s.stream(admins, get, "/admin/api/audit/verify", s.auditVerify)
	s.stream(admins, get, "/admin/audit/log.csv", s.auditExport(writeAuditCSV))
	s.stream(admins, get, "/admin/audit/log.jsonl", s.auditExport(writeAuditJSON))
}

// auditPerPage is how many entries a page of the log shows.
const auditPerPage = 100

// auditForm is a search as it was typed.
type auditForm struct{ Actor, Act, Subject, Text, From, To string }

func (f *auditForm) fields() map[string]*string {
	return map[string]*string{"actor": &f.Actor, "act": &f.Act, "subject": &f.Subject, "q": &f.Text, "from": &f.From, "to": &f.To}
}

// Query is the search as part of an address.
func (f auditForm) Query() template.URL {
	v := url.Values{}
	for name, at := range f.fields() {
		if *at != "" {
			v.Set(name, *at)
		}
	}
	return template.URL(v.Encode()) // escaped already; escaped again it would be one value
}

// Any says whether anything was asked for.
func (f auditForm) Any() bool { return f != auditForm{} }

type auditData struct {
	Form    auditForm
	Entries []audit.Entry
	Older   int64 // id to go on from; 0: no more
	Acts    []string
	Names   map[string]string // of actors
	Error   string
}

// moments are the forms of a time in the search, as browsers write them.
var moments = []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02"}

func moment(name, v string) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	for _, layout := range moments {
		if t, err := time.Parse(layout, v); err == nil && t.Year() > 1 {
			return t, nil
		}
	}
	return time.Time{}, bad(name, "must be a time such as 2026-11-30T08:00, in UTC")
}

// auditQuery reads a search. Somebody's e-mail address stands for the person.
func (s *server) auditQuery(c *gin.Context) (f auditForm, q audit.Query, err error) {
	for name, at := range f.fields() {
		if *at, err = textParam(strings.TrimSpace(c.Query(name))); err != nil {
			return f, q, err
		}
	}
	q = audit.Query{Actor: f.Actor, Act: f.Act, Subject: f.Subject, Text: f.Text, Limit: auditPerPage}
	for _, at := range []*string{&q.Actor, &q.Subject} {
		if !strings.Contains(*at, "@") {
			continue
		}
		u, err := s.Accounts.UserByEmail(c.Request.Context(), *at)
		if errors.Is(err, account.ErrNotFound) {
			return f, q, bad("", fmt.Sprintf("nobody here has the address %s", clipRunes(*at, 100)))
		}
		if err != nil {
			return f, q, err
		}
		if *at = u.ID; at == &q.Actor {
			*at = "user:" + u.ID
		}
	}
	if q.From, err = moment("from", f.From); err != nil {
		return f, q, err
	}
	if q.To, err = moment("to", f.To); err != nil {
		return f, q, err
	}
	if before := c.Query("before"); before != "" {
		if q.Before, err = strconv.ParseInt(before, 10, 64); err != nil || q.Before < 1 {
			return f, q, bad("before", "must be a positive number")
		}
	}
	return f, q, nil
}

// actors says who the actors of entries are: e-mail addresses by "user:<id>".
func (s *server) actors(ctx context.Context, list []audit.Entry) (map[string]string, error) {
	var ids []string
	for _, e := range list {
		if id, ok := strings.CutPrefix(e.Actor, "user:"); ok {
			ids = append(ids, id)
		}
	}
	users, err := s.Accounts.Addresses(ctx, ids)
	out := make(map[string]string, len(users))
	for id, email := range users {
		out["user:"+id] = email
	}
	return out, err
}

func (s *server) auditPage(c *gin.Context) {
	ctx, code := c.Request.Context(), http.StatusOK
	f, q, err := s.auditQuery(c)
	d := auditData{Form: f}
	var wrong *problem
	switch {
	case errors.As(err, &wrong) && wrong.Status == http.StatusBadRequest:
		code, d.Error = wrong.Status, wrong.in(s.language(c)).Detail
	case err == nil:
		d.Entries, err = s.Audit.Search(ctx, q)
	}
	if err != nil && wrong == nil {
		s.fail(c, err)
		return
	}
	if d.Names, err = s.actors(ctx, d.Entries); err != nil {
		s.fail(c, err)
		return
	}
	if d.Acts, err = s.Audit.Acts(ctx); err != nil {
		s.fail(c, err)
		return
	}
	if n := len(d.Entries); n == auditPerPage {
		d.Older = d.Entries[n-1].ID
	}
	s.render(c, code, "audit", view{Title: "Audit log", Nav: "ops", Data: d})
}

// detailRow is one field of an entry's detail; Old is its value before a change.
type detailRow struct {
	Field, Old, New string
	Changed         bool
}

type auditEntryData struct {
	audit.Entry
	Change bool // the detail has what was before and after
	Rows   []detailRow
	Names  map[string]string
}

func (s *server) auditEntryPage(c *gin.Context) {
	id, err := strconv.ParseInt(c.Param("entry"), 10, 64)
	if err != nil {
		s.fail(c, s.unknown(c))
		return
	}
	e, err := s.Audit.Entry(c.Request.Context(), id)
	if errors.Is(err, audit.ErrNotFound) {
		s.fail(c, s.unknown(c))
		return
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	d := auditEntryData{Entry: e}
	d.Change, d.Rows = detailRows(e.Detail)
	if d.Names, err = s.actors(c.Request.Context(), []audit.Entry{e}); err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "audit_entry", view{Title: "Audit log", Nav: "ops", Data: d})
}

// detailRows are the fields of a detail in order. Where it has the objects old and new, change is true, and their fields stand side by side.
func detailRows(detail json.RawMessage) (change bool, rows []detailRow) {
	var fields, before, after map[string]json.RawMessage
	if json.Unmarshal(detail, &fields) != nil {
		return false, []detailRow{{New: string(detail)}}
	}
	if json.Unmarshal(fields["old"], &before) == nil && json.Unmarshal(fields["new"], &after) == nil && before != nil && after != nil {
		change = true
		delete(fields, "old")
		delete(fields, "new")
		keys := maps.Clone(before)
		maps.Copy(keys, after)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			rows = append(rows, detailRow{k, value(before[k]), value(after[k]), !bytes.Equal(before[k], after[k])})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		rows = append(rows, detailRow{Field: k, New: value(fields[k])})
	}
	return change, rows
}

// value is JSON as people read it: text without quotes, objects in lines.
func value(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// auditVerify walks the hash chain and tells how far it is, one JSON line for each part; the last has done.
func (s *server) auditVerify(c *gin.Context) {
	type line struct {
		audit.Verdict
		Done bool `json:"done"`
	}
	c.Header("Content-Type", "application/x-ndjson")
	write := func(l line) error {
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		controller(c).SetWriteDeadline(time.Now().Add(15 * time.Second)) // writers without deadlines (tests) say so; that is fine
		_, err = c.Writer.Write(append(b, '\n'))
		c.Writer.Flush()
		return err
	}
	v, err := s.Health.Verify(c.Request.Context(), func(v audit.Verdict) error { return write(line{v, false}) })
	if err == nil {
		err = write(line{v, true})
	}
	if err != nil && c.Request.Context().Err() == nil {
		s.fail(c, err)
	}
}

// auditVerifyPage is the same for browsers without scripts: the page comes when the walk is over.
func (s *server) auditVerifyPage(c *gin.Context) {
	v, err := s.Health.Verify(c.Request.Context(), nil)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "audit_verify", view{Title: "The hash chain", Nav: "ops", Data: v})
}

// auditExport sends all entries of a search as a file.
func (s *server) auditExport(format func(*gin.Context) (each func(audit.Entry) error, end func() error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		_, q, err := s.auditQuery(c)
		if err != nil {
			s.fail(c, err)
			return
		}
		each, end := format(c)
		n := 0
		err = s.Audit.Each(c.Request.Context(), q, func(e audit.Entry) error {
			if n++; n%1000 == 1 {
				controller(c).SetWriteDeadline(time.Now().Add(30 * time.Second)) // writers without deadlines (tests) say so; that is fine
			}
			return each(e)
		})
		if err == nil {
			err = end()
		}
		switch {
		case err == nil:
		case c.Writer.Written():
			s.Log.Warn("export of the audit log broke off", "request", requestID(c.Request), "error", err)
			panic(http.ErrAbortHandler) // a half file must not look whole
		default:
			c.Writer.Header().Del("Content-Disposition")
			s.fail(c, err)
		}
	}
}

func attach(c *gin.Context, kind, file string) {
	c.Header("Content-Type", kind)
	c.Header("Content-Disposition", fmt.Sprintf("attachment; filename=%q", file))
}

func writeAuditCSV(c *gin.Context) (each func(audit.Entry) error, end func() error) {
	attach(c, "text/csv; charset=utf-8", "audit.csv")
	w := csv.NewWriter(c.Writer)
	headed := w.Write([]string{"id", "at", "actor", "act", "subject", "detail", "sealed"})
	return func(e audit.Entry) error {
			return w.Write([]string{strconv.FormatInt(e.ID, 10), e.At.UTC().Format(time.RFC3339Nano), inert(e.Actor), inert(e.Act), inert(e.Subject), inert(string(e.Detail)), strconv.FormatBool(e.Sealed)})
		}, func() error {
			w.Flush()
			return errors.Join(headed, w.Error())
		}
}

func writeAuditJSON(c *gin.Context) (each func(audit.Entry) error, end func() error) {
	attach(c, "application/x-ndjson", "audit.jsonl")
	enc := json.NewEncoder(c.Writer)
	return func(e audit.Entry) error { return enc.Encode(e) }, func() error { return nil }
}
