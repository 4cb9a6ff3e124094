package web

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
)

type accountDataData struct {
	accountTabs
	Past    []labeling.ErasureReport
	Preview *labeling.ErasureReport
	Done    *labeling.ErasureReport
	Nothing bool   // there is nothing to erase
	What    string // is to be erased: all, a completion, or what came for a user
	Part    string // the completion's id, or the user
	Error   string
}

// subject is what is to be erased.
func (d accountDataData) subject(c *gin.Context) (labeling.Subject, error) {
	me := subjectOf(c)
	switch {
	case d.What == "" || d.What == "all":
		return me, nil
	case d.What != "completion" && d.What != "user":
		return me, bad("/what", "must be all, completion or user")
	}
	return labeling.PartOf(d.What, me.ID, d.Part), nil
}

func (s *server) accountDataPage(c *gin.Context) {
	s.showAccountData(c, http.StatusOK, accountDataData{})
}

func (s *server) showAccountData(c *gin.Context, code int, d accountDataData) {
	d.accountTabs = accountTabs{"data"}
	var err error
	if d.Past, err = s.Labeling.ErasuresOf(c.Request.Context(), subjectOf(c)); err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, code, "account_data", view{Title: "Your data", Nav: "account", Note: note(c), Data: d})
}

// subjectOf is the customer who asks.
func subjectOf(c *gin.Context) labeling.Subject {
	return labeling.Subject{Kind: "customer", ID: user(c).ID}
}

// exportLine is a line of one's own data.
type exportLine struct {
	Kind string          `json:"kind"` // account, session, invitation, key, key_day, request, or the name of a table
	Row  json.RawMessage `json:"row"`
}

// exportAccount streams what is kept of the person who asks, a JSON object a line.
func (s *server) exportAccount(c *gin.Context) {
	ctx, u := c.Request.Context(), user(c)
	h := c.Writer.Header()
	h.Set("Content-Type", "application/jsonl")
	h.Set("Content-Disposition", `attachment; filename="rankloop-`+time.Now().UTC().Format(time.DateOnly)+`.jsonl"`)
	sent := &exportWriter{c: c, status: http.StatusOK, left: 1 << 62}
	buffered := bufio.NewWriterSize(sent, 64<<10)
	lines := json.NewEncoder(buffered)
	lines.SetEscapeHTML(false)
	write := func(kind string, row json.RawMessage) error { return lines.Encode(exportLine{kind, row}) }
	err := s.Accounts.Export(ctx, u.ID, actor(c), write)
	if err == nil {
		err = s.Stored.Export(ctx, u.ID, write)
	}
	if err == nil {
		err = s.Conversations.Export(ctx, u.ID, write)
	}
	if err == nil {
		err = s.Labeling.ExportPerson(ctx, u.ID, write)
	}
	if err == nil {
		err = buffered.Flush()
	}
	switch {
	case err == nil:
		sent.begin()
	case sent.begun:
		s.Log.ErrorContext(c.Request.Context(), "export broken off", "request", requestID(c.Request), "user", u.ID, "error", err)
		panic(http.ErrAbortHandler) // a half file must not look whole
	default:
		h.Del("Content-Disposition")
		s.fail(c, err)
	}
}

// eraseAccount shows what an erasure would take; confirmed, with the password, it takes it.
func (s *server) eraseAccount(c *gin.Context) {
	var d accountDataData
	code, sure := http.StatusOK, c.PostForm("sure") == "yes"
	for name, at := range map[string]*string{"what": &d.What, "part": &d.Part} {
		var err error
		if *at, err = formValue(c, name, 500); err != nil {
			s.fail(c, err)
			return
		}
	}
	subject, err := d.subject(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	if subject.Kind != labeling.SubjectCustomer && d.Part == "" {
		d.Error = s.say(c, "Which one? Give the completion's id, or the user as your requests name it.")
		s.showAccountData(c, http.StatusBadRequest, d)
		return
	}
	if sure {
		problem, said, ok := s.knowsPassword(c, c.PostForm("password"))
		switch {
		case !ok && said == "":
			return
		case !ok: // what would go is shown once more
			code, d.Error, sure = problem, said, false
		}
	}
	r, err := s.Erase(c.Request.Context(), subject, actor(c), !sure)
	switch {
	case errors.Is(err, labeling.ErrNotFound):
		d.Nothing = true
	case err != nil:
		s.fail(c, err)
		return
	case sure:
		d.Done, d.Part = &r, ""
	default:
		d.Preview = &r
	}
	s.showAccountData(c, code, d)
}

// knowsPassword asks for the password again, as a sign-in does and under the same limits. Where it is not right, problem says so; an error of
// another kind has been answered, and problem is empty.
func (s *server) knowsPassword(c *gin.Context, password string) (code int, problem string, ok bool) {
	err := s.Accounts.CheckPassword(c.Request.Context(), user(c).ID, password, c.ClientIP())
	if err == nil {
		return 0, "", true
	}
	code, problem, err = s.refusedPassword(c, err)
	if err != nil {
		s.fail(c, err)
	}
	return code, problem, false
}
