package web

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/lang"
)

// How a page looks to its reader: the language and the theme. Both are chosen by forms in the header of every page,
// before signing in too, and work without a script.

// sentence is an English sentence that reaches people: a key of the catalogues in web/lang. Tables of them have this type,
// by which the tests find them.
type sentence string

// Cookies of the choices. The language of somebody who is signed in is a setting of the account.
const (
	langCookie  = "lang"
	themeCookie = "theme"
	lookLife    = 365 * 24 * 60 * 60 // s
)

// look is what the layout knows of its reader.
type look struct {
	Theme string // light, dark, or empty: what the system says
	Here  string // the page's own address, to come back to after a switch
}

func (s *server) lookOf(c *gin.Context) look {
	v := look{Theme: cookie(c, themeCookie), Here: "/"}
	if v.Theme != "light" && v.Theme != "dark" {
		v.Theme = ""
	}
	if strings.HasPrefix(c.Request.URL.Path, "/login/with/") { // a provider's answer counts once
		v.Here = "/login"
		return v
	}
	// What a form answered has no address of its own, unless a page has the same.
	if c.Request.Method == get || s.rules[get+" "+c.FullPath()] != denied {
		if here := c.Request.URL.RequestURI(); localPath(here) {
			v.Here = here
		}
	}
	return v
}

func cookie(c *gin.Context, name string) string {
	if found, err := c.Request.Cookie(name); err == nil {
		return found.Value
	}
	return ""
}

// language is what the reader reads: the account's setting, else the cookie, else what the browser asks for.
func (s *server) language(c *gin.Context) *lang.Language {
	if u, ok := c.Get(userKey); ok {
		if l := s.speaks.ByTag(u.(account.User).Language); l != nil {
			return l
		}
	}
	if l := s.speaks.ByTag(cookie(c, langCookie)); l != nil {
		return l
	}
	return s.speaks.Choose(c.GetHeader("Accept-Language"))
}

// say is a sentence in the reader's language, for what a handler hands to its page.
func (s *server) say(c *gin.Context, sentence string, values ...any) string {
	return s.language(c).T(sentence, values...)
}

// setLook keeps the language or the theme that the form names, and goes back to the page it came from.
func (s *server) setLook(c *gin.Context) {
	next := c.PostForm("next")
	if !localPath(next) {
		next = "/"
	}
	keep := func(name, value string, life int) {
		http.SetCookie(c.Writer, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: life, Secure: s.HTTPS, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	switch theme := c.PostForm("theme"); theme {
	case "":
	case "light", "dark":
		keep(themeCookie, theme, lookLife)
	case "system":
		keep(themeCookie, "", -1)
	default:
		s.fail(c, bad("theme", "must be light, dark or system"))
		return
	}
	if tag := c.PostForm("lang"); tag != "" {
		l := s.speaks.ByTag(tag)
		if l == nil {
			s.fail(c, bad("lang", "is not a language of these pages"))
			return
		}
		keep(langCookie, l.Tag, lookLife)
		if s.useSession(c) == nil {
			if err := s.Accounts.SetLanguage(c.Request.Context(), user(c).ID, l.Tag, actor(c)); err != nil {
				s.fail(c, err)
				return
			}
		}
	}
	c.Redirect(http.StatusSeeOther, next)
}

// in is the problem as a reader of the language is told of it.
func (p *problem) in(l *lang.Language) *problem {
	if l.Tag == "en" {
		return p
	}
	out := *p
	out.Title, out.Detail, out.Errors = l.T(p.Title), l.Found(p.Detail), nil
	for _, e := range p.Errors {
		field := strings.TrimPrefix(e.Pointer, "/")
		out.Detail = l.Field(field, e.Detail)
		out.Errors = append(out.Errors, fieldError{l.Found(e.Detail), e.Pointer})
	}
	return &out
}
