package web

import (
	"errors"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/oidc"
)

func (s *server) accountRoutes() {
	s.route(signedIn, get, "/account", s.accountPage)
	s.route(signedIn, post, "/account/password", s.changePassword)
	s.route(signedIn, get, "/account/sessions", s.sessionsPage)
	s.route(signedIn, post, "/account/sessions", s.endSessions)
	s.route(signedIn, post, "/account/sessions/:id/end", s.endSession)
	s.route(signedIn, get, "/account/keys", s.accountKeysPage)
	s.route(signedIn, post, "/account/keys", s.proved, s.makeOwnKey)
	s.route(signedIn, post, accountKeyPath+"/rotate", s.proved, s.rotateOwnKey)
	s.route(signedIn, post, accountKeyPath+"/revoke", s.proved, s.revokeOwnKey)
	s.route(signedIn, post, accountKeyPath+"/training", s.consent)
	s.route(signedIn, get, "/account/usage", s.accountUsagePage)
	s.route(signedIn, get, "/account/data", s.accountDataPage)
	s.stream(signedIn, get, "/account/export", s.proved, s.exportAccount)
	s.stream(signedIn, post, "/account/export", s.proved, s.exportAccount) // from the page that asks for the password
	s.route(signedIn, post, "/account/erase", s.eraseAccount)
}

type accountData struct {
	accountTabs
	Error       string
	HasPassword bool
	Identities  []account.Identity
	Providers   []*oidc.Provider // that no identity is linked of yet
}

func (s *server) accountPage(c *gin.Context) { s.showAccount(c, http.StatusOK, "") }

func (s *server) showAccount(c *gin.Context, code int, message string) {
	ctx, u := c.Request.Context(), user(c)
	d := accountData{accountTabs: accountTabs{"sign-in"}, Error: message}
	var err error
	if d.HasPassword, err = s.Accounts.HasPassword(ctx, u.ID); err != nil {
		s.fail(c, err)
		return
	}
	if d.Identities, err = s.Accounts.Identities(ctx, u.ID); err != nil {
		s.fail(c, err)
		return
	}
	for _, p := range s.Providers {
		if !slices.ContainsFunc(d.Identities, func(i account.Identity) bool { return i.Provider == p.Name }) {
			d.Providers = append(d.Providers, p)
		}
	}
	s.nameProviders(d.Identities)
	s.render(c, code, "account", view{Title: "Your account", Nav: "account", Note: note(c), Data: d})
}

// nameProviders writes what people call the providers in place of their names; one that is gone from the settings keeps its name.
func (s *server) nameProviders(list []account.Identity) {
	for i, identity := range list {
		if p := s.provider(identity.Provider); p != nil {
			list[i].Provider = p.Title
		}
	}
}

// changePassword asks for the old password, as a sign-in does and under the same limits. All other sessions end.
func (s *server) changePassword(c *gin.Context) {
	old, err := formValue(c, "old", 4096)
	if err != nil {
		s.fail(c, err)
		return
	}
	fresh, err := formValue(c, "new", 4096)
	if err != nil {
		s.fail(c, err)
		return
	}
	if fresh == "" {
		s.showAccount(c, http.StatusBadRequest, s.say(c, "The new password is missing."))
		return
	}
	token, err := s.Accounts.ChangePassword(c.Request.Context(), user(c).ID, old, fresh, from(c))
	var limit *account.LimitError
	var weak *account.InvalidError
	switch {
	case errors.Is(err, account.ErrDenied):
		s.showAccount(c, http.StatusBadRequest, s.say(c, "The old password is not right."))
	case errors.As(err, &limit):
		c.Header("Retry-After", seconds(limit.RetryAfter))
		s.showAccount(c, http.StatusTooManyRequests, s.say(c, "Too many attempts. Wait a few minutes and try again."))
	case errors.As(err, &weak):
		s.showAccount(c, http.StatusBadRequest, s.language(c).Field(s.say(c, "New password"), weak.Reason))
	case err != nil:
		s.fail(c, err)
	default:
		s.setCookie(c, token, int(account.SessionLife.Seconds()))
		done(c, "/account", "password")
	}
}

type sessionsData struct {
	accountTabs
	Sessions []account.Session
}

// sessionsPage shows where somebody is signed in.
func (s *server) sessionsPage(c *gin.Context) {
	list, err := s.Accounts.Sessions(c.Request.Context(), user(c).ID, cookie(c, s.cookieName()))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "sessions", view{Title: "Sessions", Nav: "account", Note: note(c), Data: sessionsData{accountTabs{"sessions"}, s.shown(list)}})
}

// shown names providers of sessions as people call them.
func (s *server) shown(list []account.Session) []account.Session {
	for i, one := range list {
		if p := s.provider(one.Provider); p != nil {
			list[i].Provider = p.Title
		}
	}
	return list
}

func (s *server) endSession(c *gin.Context) {
	if err := s.Accounts.EndSession(c.Request.Context(), user(c).ID, c.Param("id"), actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/account/sessions", "session")
}

// endSessions ends all sessions but this one.
func (s *server) endSessions(c *gin.Context) {
	if err := s.Accounts.RevokeSessions(c.Request.Context(), user(c).ID, cookie(c, s.cookieName()), actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/account/sessions", "ended")
}
