package web

import (
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
	s.route(admins, post, "/admin/people", s.proved, s.createUser)
	s.route(admins, get, personPath, s.personPage)
	s.route(admins, post, personPath+"/password", s.proved, s.resetPassword)
	s.route(admins, post, personPath+"/sessions", s.userAct(s.endAllSessions, "sessions"))
	s.route(admins, post, personPath+"/link", s.proved, s.linkPassword)
	s.route(admins, post, personPath+"/role", s.proved, s.changeRole)
	s.route(admins, post, personPath+"/disable", s.proved, s.userAct(s.Accounts.Disable, "disabled"))
	s.route(admins, post, personPath+"/enable", s.proved, s.userAct(s.Accounts.Enable, "enabled"))
	s.route(admins, post, "/admin/invitations", s.proved, s.invite)
	s.route(admins, post, "/admin/invitations/:id/revoke", s.revokeInvitation)
	s.route(anyone, get, "/join/:token", s.joinPage)
	s.route(anyone, post, "/join/:token", s.join)
	s.route(labelers, get, "/label/guideline", s.guidelinePage)
}

const personPath = "/admin/people/:id"

// peoplePerPage is how many accounts the list shows at once.
const peoplePerPage = 50

type peopleData struct {
	People      []account.User
	Filter      account.UserFilter
	State       string // of the filter: "", active, disabled
	Next        string // address to go on after; empty: no more
	Invitations []account.Invitation
	Projects    []labeling.Project
	Names       map[string]string // e-mail addresses by user id
	Roles       []account.Role    // that the admin may give
	All         []account.Role    // that there are

	Created  *account.User // somebody who has a new password
	Password string        // of Created, shown once
	Link     string        // made just now, shown once
	Made     *account.Invitation
	Error    string
	Form     newPerson // what was typed into a form that was refused
}

// newPerson is the form for an account.
type newPerson struct{ Email, Name, Role string }

// Project is the name of a project.
func (d peopleData) Project(id string) string {
	for _, p := range d.Projects {
		if p.ID == id {
			return p.Name
		}
	}
	return ""
}

func (s *server) peoplePage(c *gin.Context) {
	var d peopleData
	for name, at := range map[string]*string{"q": &d.Filter.Text, "after": &d.Filter.After, "state": &d.State} {
		var err error
		if *at, err = textParam(c.Query(name)); err != nil {
			s.fail(c, err)
			return
		}
	}
	if d.Filter.Role = account.Role(c.Query("role")); d.Filter.Role != "" && !d.Filter.Role.Valid() {
		s.fail(c, bad("role", "is not one of the roles"))
		return
	}
	switch disabled := d.State == "disabled"; d.State {
	case "":
	case "active", "disabled":
		d.Filter.Disabled = &disabled
	default:
		s.fail(c, bad("state", "must be active or disabled"))
		return
	}
	s.showPeople(c, http.StatusOK, d)
}

func (s *server) showPeople(c *gin.Context, code int, d peopleData) {
	ctx := c.Request.Context()
	var err error
	d.Filter.Limit = peoplePerPage + 1
	if d.People, err = s.Accounts.FindUsers(ctx, d.Filter); err != nil {
		s.fail(c, err)
		return
	}
	if len(d.People) > peoplePerPage {
		d.People = d.People[:peoplePerPage]
		d.Next = d.People[peoplePerPage-1].Email
	}
	if d.Invitations, err = s.Accounts.Invitations(ctx); err != nil {
		s.fail(c, err)
		return
	}
	if d.Projects, err = s.Labeling.Projects(ctx); err != nil {
		s.fail(c, err)
		return
	}
	var makers []string
	for _, i := range d.Invitations {
		makers = append(makers, i.CreatedBy)
	}
	if d.Names, err = s.Accounts.Addresses(ctx, makers); err != nil {
		s.fail(c, err)
		return
	}
	d.Roles, d.All = user(c).Role.Managed(), account.Roles
	s.render(c, code, "people", view{Title: "People", Nav: "people", Note: note(c), Data: d})
}

// refusePeople shows the page again with what was wrong about the form.
func (s *server) refusePeople(c *gin.Context, err error, form newPerson) {
	p, known := problemOf(err)
	if !known || p.Status >= 500 {
		s.fail(c, err)
		return
	}
	s.showPeople(c, p.Status, peopleData{Error: p.in(s.language(c)).Detail, Form: form})
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
		s.refusePeople(c, err, newPerson{n.Email, n.Name, role})
		return
	}
	s.showPeople(c, http.StatusOK, peopleData{Created: &u, Password: password})
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
			s.refusePeople(c, bad(name, fmt.Sprintf("must be a whole number from 1 to %d", field.most)), newPerson{})
			return
		}
		field.set(v)
	}
	if project != "" {
		if _, err := s.Labeling.Project(c.Request.Context(), project); err != nil {
			s.refusePeople(c, bad("project", "is not one of the projects"), newPerson{})
			return
		}
	}
	i, token, err := s.Accounts.Invite(c.Request.Context(), n)
	if err != nil {
		s.refusePeople(c, err, newPerson{})
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
