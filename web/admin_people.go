package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

func (s *server) peopleRoutes() {
	s.route(admins, get, "/admin/people", s.peoplePage)
	s.route(admins, post, "/admin/people", s.createUser)
	s.route(admins, post, "/admin/people/:id/password", s.resetPassword)
	s.route(admins, post, "/admin/people/:id/link", s.linkPassword)
	s.route(admins, post, "/admin/people/:id/role", s.changeRole)
	s.route(admins, post, "/admin/people/:id/disable", s.userAct(s.Accounts.Disable, "disabled"))
	s.route(admins, post, "/admin/people/:id/enable", s.userAct(s.Accounts.Enable, "enabled"))
	s.route(admins, post, "/admin/invitations", s.invite)
	s.route(admins, post, "/admin/invitations/:id/revoke", s.revokeInvitation)
	s.route(anyone, get, "/join/:token", s.joinPage)
	s.route(anyone, post, "/join/:token", s.join)
	s.route(labelers, get, "/label/guideline", s.guidelinePage)
}

type peopleData struct {
	People      []account.User
	Invitations []account.Invitation
	Projects    []labeling.Project
	Names       map[string]string // e-mail addresses by user id
	Roles       []account.Role    // that the admin may give

	Created  *account.User // somebody who has a new password
	Password string        // of Created, shown once
	Link     string        // made just now, shown once
	Made     *account.Invitation
	Error    string
}

// Project is the name of a project.
func (d peopleData) Project(id string) string {
	for _, p := range d.Projects {
		if p.ID == id {
			return p.Name
		}
	}
	return ""
}

func (s *server) peoplePage(c *gin.Context) { s.showPeople(c, http.StatusOK, peopleData{}) }

func (s *server) showPeople(c *gin.Context, code int, d peopleData) {
	ctx := c.Request.Context()
	var err error
	if d.People, err = s.Accounts.Users(ctx); err != nil {
		s.fail(c, err)
		return
	}
	if d.Invitations, err = s.Accounts.Invitations(ctx); err != nil {
		s.fail(c, err)
		return
	}
	if d.Projects, err = s.Labeling.Projects(ctx); err != nil {
		s.fail(c, err)
		return
	}
	d.Roles, d.Names = user(c).Role.Managed(), map[string]string{}
	for _, u := range d.People {
		d.Names[u.ID] = u.Email
	}
	s.render(c, code, "people", view{Title: "People", Nav: "people", Note: note(c), Data: d})
}

// refusePeople shows the page again with what was wrong about the form.
func (s *server) refusePeople(c *gin.Context, err error) {
	p, known := problemOf(err)
	if !known || p.Status >= 500 {
		s.fail(c, err)
		return
	}
	s.showPeople(c, p.Status, peopleData{Error: p.in(s.language(c)).Detail})
}

// formValues reads short fields of the posted form.
func formValues(c *gin.Context, fields map[string]*string) error {
	for name, at := range fields {
		v, err := formValue(c, name, 1000)
		if err != nil {
			return err
		}
		*at = v
	}
	return nil
}

// createUser makes an account with a generated password.
func (s *server) createUser(c *gin.Context) {
	var n account.NewUser
	var role string
	if err := formValues(c, map[string]*string{"email": &n.Email, "name": &n.Name, "role": &role}); err != nil {
		s.fail(c, err)
		return
	}
	n.Role, n.Actor = account.Role(role), actor(c)
	if n.Role.Valid() && !user(c).Role.Manages(n.Role) {
		s.fail(c, status(http.StatusForbidden, "only an owner makes admins and owners"))
		return
	}
	u, password, err := s.Accounts.CreateUser(c.Request.Context(), n)
	if err != nil {
		s.refusePeople(c, err)
		return
	}
	s.showPeople(c, http.StatusOK, peopleData{Created: &u, Password: password})
}

func (s *server) resetPassword(c *gin.Context) {
	u, err := s.target(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	password, err := s.Accounts.SetPassword(c.Request.Context(), u.ID, "", actor(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showPeople(c, http.StatusOK, peopleData{Created: &u, Password: password})
}

// linkPassword makes a link with which the user chooses a password.
func (s *server) linkPassword(c *gin.Context) {
	u, err := s.target(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	i, token, err := s.Accounts.InvitePassword(c.Request.Context(), u.ID, user(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showPeople(c, http.StatusOK, peopleData{Made: &i, Link: s.joinURL(c, token)})
}

// target is the user that an act is about: one that the role of who acts manages.
func (s *server) target(c *gin.Context) (account.User, error) {
	u, err := s.Accounts.User(c.Request.Context(), c.Param("id"))
	if err == nil && !user(c).Role.Manages(u.Role) {
		err = status(http.StatusForbidden, "only an owner changes the account of an admin or owner")
	}
	return u, err
}

func (s *server) userAct(act func(ctx context.Context, id, actor string) error, note string) gin.HandlerFunc {
	return func(c *gin.Context) {
		u, err := s.target(c)
		if err == nil {
			err = act(c.Request.Context(), u.ID, actor(c))
		}
		if err != nil {
			s.fail(c, err)
			return
		}
		done(c, "/admin/people", note)
	}
}

func (s *server) changeRole(c *gin.Context) {
	u, err := s.target(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	role := account.Role(c.PostForm("role"))
	if role.Valid() && !user(c).Role.Manages(role) {
		s.fail(c, status(http.StatusForbidden, "only an owner makes admins and owners"))
		return
	}
	if err := s.Accounts.SetRole(c.Request.Context(), u.ID, role, actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/people", "role")
}

// invite makes a link to join.
func (s *server) invite(c *gin.Context) {
	var role, project, note, days, uses string
	if err := formValues(c, map[string]*string{"role": &role, "project": &project, "note": &note, "days": &days, "uses": &uses}); err != nil {
		s.fail(c, err)
		return
	}
	n := account.NewInvitation{Role: account.Role(role), ProjectID: project, Note: note, CreatedBy: user(c)}
	if n.Role.Valid() && !n.CreatedBy.Role.Manages(n.Role) {
		s.fail(c, status(http.StatusForbidden, "only an owner makes admins and owners"))
		return
	}
	for name, field := range map[string]struct {
		text string
		most int
		set  func(int)
	}{
		"days": {days, 90, func(v int) { n.Life = time.Duration(v) * 24 * time.Hour }},
		"uses": {uses, account.MaxUses, func(v int) { n.MaxUses = v }},
	} {
		if field.text == "" {
			continue
		}
		v, err := strconv.Atoi(field.text)
		if err != nil || v < 1 || v > field.most {
			s.refusePeople(c, bad(name, fmt.Sprintf("must be a whole number from 1 to %d", field.most)))
			return
		}
		field.set(v)
	}
	if project != "" {
		if _, err := s.Labeling.Project(c.Request.Context(), project); err != nil {
			s.refusePeople(c, bad("project", "is not one of the projects"))
			return
		}
	}
	i, token, err := s.Accounts.Invite(c.Request.Context(), n)
	if err != nil {
		s.refusePeople(c, err)
		return
	}
	s.showPeople(c, http.StatusOK, peopleData{Made: &i, Link: s.joinURL(c, token)})
}

func (s *server) revokeInvitation(c *gin.Context) {
	err := s.Accounts.RevokeInvitation(c.Request.Context(), c.Param("id"), user(c))
	if errors.Is(err, account.ErrDenied) {
		err = status(http.StatusForbidden, "only an owner revokes what makes admins and owners")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/people", "uninvited")
}
