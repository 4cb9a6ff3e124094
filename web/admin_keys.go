package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
)

type keysData struct {
	Keys      []account.Key
	Customers []account.User
	Owners    map[string]string // e-mail addresses by user id
	Usage     map[string]keyTotal
	Secret    string // shown once
	Created   *account.Key
	Error     string
	RPM       int
}

// keyTotal is what a key used in the last 30 days.
type keyTotal struct{ Requests, Tokens int64 }

func (s *server) keysPage(c *gin.Context) { s.showKeys(c, http.StatusOK, keysData{}) }

func (s *server) showKeys(c *gin.Context, code int, d keysData) {
	ctx := c.Request.Context()
	d.RPM, d.Owners, d.Usage = account.DefaultRPM, map[string]string{}, map[string]keyTotal{}
	var err error
	if d.Keys, err = s.Accounts.Keys(ctx, ""); err != nil {
		s.fail(c, err)
		return
	}
	if d.Customers, err = s.Accounts.Users(ctx, account.RoleCustomer, account.RoleAdmin, account.RoleOwner); err != nil {
		s.fail(c, err)
		return
	}
	for _, u := range d.Customers {
		d.Owners[u.ID] = u.Email
	}
	days, err := s.Accounts.UsageByDay(ctx, "", time.Now().AddDate(0, 0, -30))
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, day := range days {
		t := d.Usage[day.KeyID]
		d.Usage[day.KeyID] = keyTotal{t.Requests + day.Requests, t.Tokens + day.PromptTokens + day.CompletionTokens}
	}
	s.render(c, code, "keys", view{Title: "API keys", Nav: "keys", Note: note(c), Data: d})
}

func (s *server) createKey(c *gin.Context) {
	n := account.NewKey{CustomerID: c.PostForm("customer"), TrainingOptIn: c.PostForm("training") == "yes", Actor: actor(c)}
	var err error
	if n.Name, err = formValue(c, "name", 1000); err != nil {
		s.fail(c, err)
		return
	}
	if v := c.PostForm("rpm"); v != "" {
		if n.RPM, err = strconv.Atoi(v); err != nil {
			s.fail(c, bad("rpm", "must be a whole number"))
			return
		}
	}
	if v := c.PostForm("days"); v != "" {
		days, err := strconv.Atoi(v)
		if err != nil || days < 0 || days > 3650 {
			s.fail(c, bad("days", "must be a number of days up to ten years, or empty"))
			return
		}
		n.Lifetime = time.Duration(days) * 24 * time.Hour
	}
	k, secret, err := s.Accounts.CreateKey(c.Request.Context(), n)
	if err != nil {
		p, known := problemOf(err)
		if !known || p.Status >= 500 {
			s.fail(c, err)
			return
		}
		s.showKeys(c, p.Status, keysData{Error: p.in(s.language(c)).Detail})
		return
	}
	s.showKeys(c, http.StatusOK, keysData{Created: &k, Secret: secret})
}

func (s *server) revokeKey(c *gin.Context) {
	if err := s.Accounts.RevokeKey(c.Request.Context(), c.Param("id"), actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/keys", "revoked")
}
