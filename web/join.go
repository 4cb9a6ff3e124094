package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// joinsPerMinute bounds what one address asks of links; a team behind one address joins within it.
const joinsPerMinute = 60

// joinURL is the link of a token, as the admin's own browser would write it.
func (s *server) joinURL(c *gin.Context, token string) string {
	u := url.URL{Scheme: "http", Host: c.Request.Host, Path: "/join/" + token}
	if s.HTTPS {
		u.Scheme = "https"
	}
	return u.String()
}

type joinData struct {
	Invitation  *account.Invitation // nil: the link does not work
	Email, Name string
	Error       string
}

// invitation is what the link's token stands for. false: the answer is written.
func (s *server) invitation(c *gin.Context) (account.Invitation, bool) {
	ok, _, _, wait := s.joins.take(c.ClientIP(), joinsPerMinute)
	if !ok {
		p := status(http.StatusTooManyRequests, "too many requests; slow down")
		p.Retry = wait
		s.fail(c, p)
		return account.Invitation{}, false
	}
	i, err := s.Accounts.Invitation(c.Request.Context(), c.Param("token"))
	switch {
	case errors.Is(err, account.ErrNotFound):
		s.showJoin(c, http.StatusNotFound, joinData{})
	case err != nil:
		s.fail(c, err)
	}
	return i, err == nil
}

func (s *server) showJoin(c *gin.Context, code int, d joinData) {
	v := view{Title: "Join", Nav: "join", Data: d}
	if d.Invitation != nil && d.Invitation.ForPassword() {
		v = view{Title: "Choose a new password", Nav: "join", Data: d}
	}
	s.render(c, code, "join", v)
}

func (s *server) joinPage(c *gin.Context) {
	if i, ok := s.invitation(c); ok {
		s.showJoin(c, http.StatusOK, joinData{Invitation: &i})
	}
}

func (s *server) join(c *gin.Context) {
	i, ok := s.invitation(c)
	if !ok {
		return
	}
	d := joinData{Invitation: &i}
	if err := formValues(c, map[string]*string{"email": &d.Email, "name": &d.Name}); err != nil {
		s.fail(c, err)
		return
	}
	password, err := formValue(c, "password", 4096)
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, token := c.Request.Context(), c.Param("token")
	var session string
	var u account.User
	if i.ForPassword() {
		session, u, err = s.Accounts.JoinPassword(ctx, token, password, from(c))
	} else {
		session, u, i, err = s.Accounts.Join(ctx, token, account.NewUser{Email: d.Email, Name: d.Name, Password: password}, from(c))
	}
	var wrong *account.InvalidError
	switch {
	case errors.As(err, &wrong):
		d.Error = string(joinErrors[wrong.Field])
		s.showJoin(c, http.StatusBadRequest, d)
		return
	case errors.Is(err, account.ErrConflict):
		d.Error = string(joinErrors["taken"])
		s.showJoin(c, http.StatusConflict, d)
		return
	case errors.Is(err, account.ErrNotFound): // somebody else was faster
		s.showJoin(c, http.StatusNotFound, joinData{})
		return
	case err != nil:
		s.fail(c, err)
		return
	}
	s.setCookie(c, session, int(account.SessionLife.Seconds()))
	next := homeOf(u.Role)
	if !i.ForPassword() && u.Role.Labels() && !u.Role.Admin() {
		if next = "/label/guideline"; i.ProjectID != "" {
			next += "?project=" + i.ProjectID
		}
	}
	c.Redirect(http.StatusSeeOther, next)
}

var joinErrors = map[string]sentence{
	"taken":    "There is an account with this address already: sign in, or ask for a link that sets a new password.",
	"email":    "That is not an e-mail address such as ada@example.com.",
	"name":     "The name must have 1 to 200 printable characters.",
	"password": "The password must have 12 to 256 characters and must not be easy to guess.",
}

// guidelinePage shows what a labeler reads before the first task.
func (s *server) guidelinePage(c *gin.Context) {
	id := c.Query("project")
	if id == "" {
		id = s.ProjectID
	}
	p, err := s.Labeling.Project(c.Request.Context(), id)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "guideline", view{Title: "Instructions", Nav: "guideline", Data: struct {
		labeling.Project
		Default bool
	}{p, p.ID == s.ProjectID}})
}
