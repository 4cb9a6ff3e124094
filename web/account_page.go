package web

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
)

func (s *server) accountRoutes() {
	s.route(signedIn, get, "/account/keys", s.accountKeysPage)
	s.route(signedIn, post, "/account/keys", s.makeOwnKey)
	s.route(signedIn, post, accountKeyPath+"/rotate", s.rotateOwnKey)
	s.route(signedIn, post, accountKeyPath+"/revoke", s.revokeOwnKey)
	s.route(signedIn, post, accountKeyPath+"/training", s.consent)
	s.route(signedIn, get, "/account/usage", s.accountUsagePage)
	s.route(signedIn, get, "/account/data", s.accountDataPage)
	s.stream(signedIn, get, "/account/export", s.exportAccount)
	s.route(signedIn, post, "/account/erase", s.eraseAccount)
}

type accountData struct {
	accountTabs
	Error string
}

func (s *server) accountPage(c *gin.Context) { s.showAccount(c, http.StatusOK, "") }

func (s *server) showAccount(c *gin.Context, code int, message string) {
	s.render(c, code, "account", view{Title: "Your account", Nav: "account", Note: note(c), Data: accountData{accountTabs{"sign-in"}, message}})
}

// changePassword asks for the old password, as a sign-in does and under the same limits, and ends all sessions.
func (s *server) changePassword(c *gin.Context) {
	ctx, u := c.Request.Context(), user(c)
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
	token, _, err := s.Accounts.Login(ctx, u.Email, old, c.ClientIP(), c.Request.UserAgent())
	var limit *account.LimitError
	switch {
	case errors.Is(err, account.ErrDenied):
		s.showAccount(c, http.StatusBadRequest, s.say(c, "The old password is not right."))
		return
	case errors.As(err, &limit):
		c.Header("Retry-After", seconds(limit.RetryAfter))
		s.showAccount(c, http.StatusTooManyRequests, s.say(c, "Too many attempts. Wait a few minutes and try again."))
		return
	case err != nil:
		s.fail(c, err)
		return
	}
	var weak *account.InvalidError
	_, err = s.Accounts.SetPassword(ctx, u.ID, fresh, actor(c))
	if errors.As(err, &weak) {
		if err := s.Accounts.Logout(ctx, token); err != nil {
			s.fail(c, err)
			return
		}
		s.showAccount(c, http.StatusBadRequest, s.language(c).Field(s.say(c, "New password"), weak.Reason))
		return
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.setCookie(c, "", -1)
	done(c, "/login", "password")
}

func (s *server) endSessions(c *gin.Context) {
	if err := s.Accounts.RevokeSessions(c.Request.Context(), user(c).ID, actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	s.setCookie(c, "", -1)
	done(c, "/login", "ended")
}
