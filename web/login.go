package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/oidc"
)

// cookieName: browsers hold __Host- cookies to Secure, Path=/ and this host; plain http on loopback needs another name.
func (s *server) cookieName() string {
	if s.HTTPS {
		return "__Host-rl"
	}
	return "rl_session"
}

func (s *server) setCookie(c *gin.Context, token string, maxAge int) {
	http.SetCookie(c.Writer, &http.Cookie{Name: s.cookieName(), Value: token, Path: "/", MaxAge: maxAge,
		Secure: s.HTTPS, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func loginURL(path string) string {
	if path == "/" || !localPath(path) {
		return "/login"
	}
	return "/login?next=" + url.QueryEscape(path)
}

// localPath says whether a redirect to the path stays here.
func localPath(p string) bool {
	return strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//") && !strings.ContainsFunc(p, func(r rune) bool {
		return r < 0x21 || r == '\\' || r >= 0x7f
	}) && len(p) < 500
}

type loginData struct {
	Next, Email, Error string
	Providers          []*oidc.Provider
	SignOut            *providerLink // where somebody who has just signed out here is still signed in
}

func (s *server) showLogin(c *gin.Context, code int, d loginData) {
	d.Providers = s.Providers
	s.render(c, code, "login", view{Title: "Sign in", Note: note(c), Data: d})
}

func (s *server) loginPage(c *gin.Context) {
	if s.useSession(c) == nil {
		c.Redirect(http.StatusSeeOther, "/")
		return
	}
	next := c.Query("next")
	if !localPath(next) {
		next = ""
	}
	s.showLogin(c, http.StatusOK, loginData{Next: next, SignOut: s.signOutAt(c)})
}

func (s *server) login(c *gin.Context) {
	email, err := formValue(c, "email", 1000)
	if err != nil {
		s.fail(c, err)
		return
	}
	password, err := formValue(c, "password", 4096)
	if err != nil {
		s.fail(c, err)
		return
	}
	next := c.PostForm("next")
	token, u, err := s.Accounts.Login(c.Request.Context(), email, password, c.ClientIP(), c.Request.UserAgent())
	var limit *account.LimitError
	switch {
	case errors.Is(err, account.ErrDenied):
		s.showLogin(c, http.StatusUnauthorized, loginData{Next: next, Email: email, Error: s.say(c, "E-mail address or password are not right.")})
		return
	case errors.As(err, &limit):
		c.Header("Retry-After", seconds(limit.RetryAfter))
		s.showLogin(c, http.StatusTooManyRequests, loginData{Next: next, Email: email, Error: s.say(c, "Too many attempts. Wait a few minutes and try again.")})
		return
	case err != nil:
		s.fail(c, err)
		return
	}
	s.enter(c, token, u, next)
}

// enter ends the session that the browser had, gives it a new one, and goes on to the page next, or to the page of the role.
func (s *server) enter(c *gin.Context, token string, u account.User, next string) {
	if old, err := c.Request.Cookie(s.cookieName()); err == nil {
		if _, err := s.Accounts.Logout(c.Request.Context(), old.Value); err != nil {
			s.fail(c, err)
			return
		}
	}
	s.setCookie(c, token, int(account.SessionLife.Seconds()))
	if !localPath(next) {
		next = homeOf(u.Role)
	}
	c.Redirect(http.StatusSeeOther, next)
}

// from is where a session is opened.
func from(c *gin.Context) account.From {
	return account.From{Address: c.ClientIP(), Agent: c.Request.UserAgent()}
}

// logout ends the session here. One that a provider opened goes on there: the page says so, and has a link that ends it.
func (s *server) logout(c *gin.Context) {
	at := "/login"
	if cookie, err := c.Request.Cookie(s.cookieName()); err == nil {
		provider, err := s.Accounts.Logout(c.Request.Context(), cookie.Value)
		if err != nil {
			s.fail(c, err)
			return
		}
		if provider != "" {
			at += "?from=" + url.QueryEscape(provider)
		}
	}
	s.setCookie(c, "", -1)
	done(c, at, "signedout")
}

// homeOf is the page that a role works on.
func homeOf(r account.Role) string {
	switch {
	case r.Admin():
		return "/admin"
	case r.Reads():
		return "/admin/labeling"
	case r.Labels():
		return "/label"
	}
	return "/chat"
}

func (s *server) home(c *gin.Context) { c.Redirect(http.StatusSeeOther, homeOf(user(c).Role)) }
