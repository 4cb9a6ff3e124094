package web

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/audit"
)

// personData is an account as an admin sees it.
type personData struct {
	account.User
	Manages     bool // the admin may change it
	Self        bool // it is the admin's own
	HasPassword bool
	Sessions    []account.Session
	Identities  []account.Identity
	Acts        []audit.Entry     // on the account, newest first
	Names       map[string]string // of actors
	Roles       []account.Role    // that the admin may give

	Password string // set just now, shown once
	Link     string // made just now, shown once
	Made     *account.Invitation
}

func (s *server) personPage(c *gin.Context) {
	u, err := s.Accounts.User(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showPerson(c, http.StatusOK, personData{User: u})
}

func (s *server) showPerson(c *gin.Context, code int, d personData) {
	ctx, role := c.Request.Context(), user(c).Role
	d.Manages, d.Self, d.Roles = role.Manages(d.Role), user(c).ID == d.User.ID, role.Managed()
	var err error
	if d.HasPassword, err = s.Accounts.HasPassword(ctx, d.User.ID); err != nil {
		s.fail(c, err)
		return
	}
	if d.Sessions, err = s.Accounts.Sessions(ctx, d.User.ID, cookie(c, s.cookieName())); err != nil {
		s.fail(c, err)
		return
	}
	if d.Identities, err = s.Accounts.Identities(ctx, d.User.ID); err != nil {
		s.fail(c, err)
		return
	}
	if d.Acts, err = s.Audit.Search(ctx, audit.Query{Subject: d.User.ID, Act: "user.", Limit: 20}); err != nil {
		s.fail(c, err)
		return
	}
	if d.Names, err = s.actors(ctx, d.Acts); err != nil {
		s.fail(c, err)
		return
	}
	s.shown(d.Sessions)
	s.nameProviders(d.Identities)
	s.render(c, code, "person", view{Title: d.Name, Nav: "people", Note: note(c), Data: d})
}

// endAllSessions signs a person out everywhere.
func (s *server) endAllSessions(ctx context.Context, id, actor string) error {
	return s.Accounts.RevokeSessions(ctx, id, "", actor)
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
	s.showPerson(c, http.StatusOK, personData{User: u, Password: password})
}

// linkPassword makes a link with which the user chooses a password.
func (s *server) linkPassword(c *gin.Context) {
	u, err := s.target(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	i, token, err := s.Accounts.InvitePassword(c.Request.Context(), u.ID, new(user(c)))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showPerson(c, http.StatusOK, personData{User: u, Made: &i, Link: s.joinURL(c, token)})
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
		done(c, "/admin/people/"+u.ID, note)
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
	done(c, "/admin/people/"+u.ID, "role")
}
