package web

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/oidc"
)

// proofField is the password that is asked for once more. It stands beside the fields of the act.
const proofField = "proof"

type proofData struct {
	Action    string // path of the act
	Fields    []proofValue
	Password  bool             // there is one to ask for
	Providers []*oidc.Provider // by which the person can sign in anew
	Next      string           // where to go on after that
	Error     string
}

type proofValue struct{ Name, Value string }

// proved lets an act through where the person proved within account.ProofLife to be who they are; else it asks for the password, on a page
// that keeps what the act was asked with.
func (s *server) proved(c *gin.Context) {
	cookie, err := c.Request.Cookie(s.cookieName())
	if err != nil {
		s.fail(c, account.ErrDenied)
		return
	}
	ctx, d, code := c.Request.Context(), proofData{}, http.StatusForbidden
	password, err := formValue(c, proofField, 4096)
	if err == nil && password != "" {
		err = s.Accounts.Prove(ctx, user(c).ID, cookie.Value, password, c.ClientIP())
		if err == nil {
			return
		}
		code, d.Error, err = s.refusedPassword(c, err)
	} else if err == nil {
		var lately bool
		if lately, err = s.Accounts.Proved(ctx, cookie.Value); lately {
			return
		}
	}
	if err == nil {
		d.Password, err = s.Accounts.HasPassword(ctx, user(c).ID)
	}
	if err == nil && !d.Password {
		d.Providers, err = s.ownProviders(c)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Abort()
	d.Action, d.Next = c.Request.URL.RequestURI(), homeOf(user(c).Role)
	if _, page := s.rules[get+" "+c.FullPath()]; page {
		d.Next = c.Request.URL.Path
	}
	for name, values := range c.Request.PostForm {
		for _, v := range values {
			if name != proofField {
				d.Fields = append(d.Fields, proofValue{name, v})
			}
		}
	}
	s.render(c, code, "proof", view{Title: "Is it you?", Data: d})
}

// refusedPassword is what a person learns of a password that was not taken; other errors come back.
func (s *server) refusedPassword(c *gin.Context, err error) (code int, said string, other error) {
	var limit *account.LimitError
	switch {
	case errors.Is(err, account.ErrDenied):
		return http.StatusBadRequest, s.say(c, "The password is not right."), nil
	case errors.As(err, &limit):
		c.Header("Retry-After", seconds(limit.RetryAfter))
		return http.StatusTooManyRequests, s.say(c, "Too many attempts. Wait a few minutes and try again."), nil
	}
	return 0, "", err
}

// ownProviders are those that the person can sign in by.
func (s *server) ownProviders(c *gin.Context) (out []*oidc.Provider, err error) {
	linked, err := s.Accounts.Identities(c.Request.Context(), user(c).ID)
	for _, p := range s.Providers {
		for _, i := range linked {
			if i.Provider == p.Name {
				out = append(out, p)
				break
			}
		}
	}
	return out, err
}
