package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

const erasePath = "/admin/erase"

func (s *server) erasureRoutes() {
	s.route(admins, get, erasePath, s.erasePage)
	s.route(admins, post, erasePath, s.proved, s.erase)
	s.route(admins, get, erasePath+"/:id", s.erasurePage)
	s.route(admins, get, erasePath+"/:id/report.json", s.erasureReport)
}

// subjectsFound is how many people a search shows.
const subjectsFound = 50

type eraseData struct {
	Subject labeling.Subject
	Text    string        // that people were searched by
	Found   []foundPerson // by it
	Preview *labeling.ErasureReport
	Past    []labeling.ErasureReport
	Error   string
}

// foundPerson is somebody who can be erased.
type foundPerson struct {
	labeling.Subject
	Name, Email string // of the account; empty where there is none
}

func (s *server) erasePage(c *gin.Context) {
	text, err := textParam(c.Query("q"))
	d := eraseData{Text: strings.TrimSpace(text)}
	if err == nil && d.Text != "" {
		d.Found, err = s.findPeople(c.Request.Context(), d.Text)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showErase(c, http.StatusOK, d)
}

// findPeople finds customers and labelers by name, e-mail address or id.
func (s *server) findPeople(ctx context.Context, text string) (out []foundPerson, err error) {
	users, err := s.Accounts.FindUsers(ctx, account.UserFilter{Text: text, Limit: subjectsFound})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, u := range users {
		ids = append(ids, u.ID)
	}
	list, err := s.Labeling.Subjects(ctx, ids, text, subjectsFound)
	if err != nil {
		return nil, err
	}
	for _, u := range users { // chats that are kept are no project's
		if v := (labeling.Subject{Kind: labeling.SubjectCustomer, ID: u.ID}); u.Role == account.RoleCustomer && !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	all, err := s.Accounts.Users(ctx)
	for _, v := range list {
		p := foundPerson{Subject: v}
		for _, u := range all {
			if u.ID == v.ID {
				p.Name, p.Email = u.Name, u.Email
			}
		}
		out = append(out, p)
	}
	return out, err
}

func (s *server) showErase(c *gin.Context, code int, d eraseData) {
	var err error
	if d.Past, err = s.Labeling.Erasures(c.Request.Context(), 50); err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, code, "erase", view{Title: "Erasure", Nav: "data", Data: d})
}

// erase shows what would go, or, when that is confirmed, lets it go.
func (s *server) erase(c *gin.Context) {
	var d eraseData
	for name, at := range map[string]*string{"kind": &d.Subject.Kind, "id": &d.Subject.ID} {
		var err error
		if *at, err = formValue(c, name, 600); err != nil {
			s.fail(c, err)
			return
		}
	}
	sure := c.PostForm("sure") == "yes"
	r, err := s.eraseNamed(c, &d.Subject, !sure)
	if err != nil {
		p, known := problemOf(err)
		if !known || p.Status >= 500 {
			s.fail(c, err)
			return
		}
		d.Error = p.Detail
		s.showErase(c, p.Status, d)
		return
	}
	if sure {
		done(c, erasePath+"/"+r.ID, "erased")
		return
	}
	d.Preview = &r
	s.showErase(c, http.StatusOK, d)
}

// eraseNamed erases what an admin named; whose completion one is need not be said.
func (s *server) eraseNamed(c *gin.Context, subject *labeling.Subject, dry bool) (labeling.ErasureReport, error) {
	if subject.Kind == "completion" && !strings.Contains(subject.ID, "/") {
		owner, err := s.Labeling.OwnerOf(c.Request.Context(), subject.ID)
		if err != nil {
			return labeling.ErasureReport{}, err
		}
		*subject = labeling.PartOf("completion", owner, subject.ID)
	}
	return s.Erase(c.Request.Context(), *subject, actor(c), dry)
}

type erasureData struct {
	labeling.ErasureReport
	From *labeling.Touched // the first round that learned from what is gone; nil: none did
	Open bool              // a round is under way
}

// erasurePage shows what an erasure took, and what is to be trained again.
func (s *server) erasurePage(c *gin.Context) {
	r, err := s.Labeling.Erasure(c.Request.Context(), c.Param("id"))
	d := erasureData{ErasureReport: r}
	if first, ok := r.RetrainFrom(); ok {
		d.From = &first
	}
	if err == nil {
		d.Open, err = s.roundOpen(c.Request.Context())
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "erasure", view{Title: "Erasure", Nav: "data", Note: note(c), Data: d})
}

// erasureReport is the signed report as a file.
func (s *server) erasureReport(c *gin.Context) {
	d, err := s.Labeling.SignedErasure(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Content-Disposition", fmt.Sprintf(`attachment; filename="erasure-%s.json"`, c.Param("id")))
	c.Data(http.StatusOK, "application/json", b.Bytes())
}
