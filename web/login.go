package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
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

type loginData struct{ Next, Email, Error string }

func (s *server) loginPage(c *gin.Context) {
	if s.useSession(c) == nil {
		c.Redirect(http.StatusSeeOther, "/")
		return
	}
	next := c.Query("next")
	if !localPath(next) {
		next = ""
	}
	s.render(c, http.StatusOK, "login", view{Title: "Sign in", Note: note(c), Data: loginData{Next: next}})
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
		s.render(c, http.StatusUnauthorized, "login", view{Title: "Sign in", Data: loginData{next, email, s.say(c, "E-mail address or password are not right.")}})
		return
	case errors.As(err, &limit):
		c.Header("Retry-After", seconds(limit.RetryAfter))
		s.render(c, http.StatusTooManyRequests, "login", view{Title: "Sign in", Data: loginData{next, email, s.say(c, "Too many attempts. Wait a few minutes and try again.")}})
		return
	case err != nil:
		s.fail(c, err)
		return
	}
	if old, err := c.Request.Cookie(s.cookieName()); err == nil { // the session it replaces ends
		if err := s.Accounts.Logout(c.Request.Context(), old.Value); err != nil {
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

func (s *server) logout(c *gin.Context) {
	if cookie, err := c.Request.Cookie(s.cookieName()); err == nil {
		if err := s.Accounts.Logout(c.Request.Context(), cookie.Value); err != nil {
			s.fail(c, err)
			return
		}
	}
	s.setCookie(c, "", -1)
	done(c, "/login", "signedout")
}

// homeOf is the page that a role works on.
func homeOf(r account.Role) string {
	switch {
	case r.Admin():
		return "/admin"
	case r.Labels():
		return "/label"
	}
	return "/chat"
}

func (s *server) home(c *gin.Context) { c.Redirect(http.StatusSeeOther, homeOf(user(c).Role)) }
