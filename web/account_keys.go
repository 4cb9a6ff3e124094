package web

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
)

const (
	accountKeyPath = "/account/keys/:key"
	ownKeys        = 20 // that work at a time, of one person
)

// accountTabs is what the pages of one's account share.
type accountTabs struct{ Tab string }

type accountKeysData struct {
	accountTabs
	Keys   []accountKey
	Form   ownKeyForm
	Days   string
	Scopes []string
	Secret string // shown once
	Error  string
}

// ownKeyForm is what the form opens with.
type ownKeyForm struct {
	Name   string
	Scopes []string
	Train  bool
}

// Has says whether the form has the scope ticked.
func (f ownKeyForm) Has(scope string) bool { return slices.Contains(f.Scopes, scope) }

// accountKey is a key of one's own.
type accountKey struct {
	account.Key
	Works bool
}

func (s *server) accountKeysPage(c *gin.Context) {
	s.showAccountKeys(c, http.StatusOK, accountKeysData{Form: ownKeyForm{Scopes: account.DefaultScopes}})
}

func (s *server) showAccountKeys(c *gin.Context, code int, d accountKeysData) {
	ctx := c.Request.Context()
	d.accountTabs, d.Scopes = accountTabs{"keys"}, account.Scopes
	list, err := s.Accounts.Keys(ctx, user(c).ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, k := range list {
		d.Keys = append(d.Keys, accountKey{k, works(k)})
	}
	s.render(c, code, "account_keys", view{Title: "Your API keys", Nav: "account", Note: note(c), Data: d})
}

// makeOwnKey makes a key with the usual limits; an admin can give it others.
func (s *server) makeOwnKey(c *gin.Context) {
	ctx, u := c.Request.Context(), user(c)
	d := accountKeysData{Form: ownKeyForm{Scopes: c.PostFormArray("scopes"), Train: c.PostForm("training") == "yes"}, Days: c.PostForm("days")}
	var err error
	if d.Form.Name, err = formValue(c, "name", 1000); err != nil {
		s.fail(c, err)
		return
	}
	n := account.NewKey{CustomerID: u.ID, Name: d.Form.Name, Scopes: d.Form.Scopes, TrainingOptIn: d.Form.Train, Actor: actor(c)}
	if d.Days != "" {
		days, wrong := strconv.Atoi(d.Days)
		if wrong != nil || days < 1 || days > 3650 {
			err = bad("days", "must be a number of days up to ten years, or empty")
		}
		n.Lifetime = time.Duration(days) * 24 * time.Hour
	}
	if err == nil {
		err = s.roomForKey(ctx, u.ID)
	}
	if err == nil {
		if _, d.Secret, err = s.Accounts.CreateKey(ctx, n); err == nil {
			d.Form, d.Days = ownKeyForm{Scopes: account.DefaultScopes}, ""
			s.showAccountKeys(c, http.StatusOK, d)
			return
		}
	}
	p, known := problemOf(err)
	if !known || p.Status >= 500 {
		s.fail(c, err)
		return
	}
	d.Error = p.in(s.language(c)).Detail
	s.showAccountKeys(c, p.Status, d)
}

// works says whether a key is neither revoked nor over.
func works(k account.Key) bool {
	return k.RevokedAt == nil && (k.ExpiresAt == nil || k.ExpiresAt.After(time.Now()))
}

// roomForKey says whether a person may make another key.
func (s *server) roomForKey(ctx context.Context, userID string) error {
	list, err := s.Accounts.Keys(ctx, userID)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(k account.Key) bool { return !works(k) })
	if len(list) >= ownKeys {
		return status(http.StatusConflict, "you have as many keys as one may have: revoke one first")
	}
	return nil
}

// ownKey is the key of the address; ErrNotFound where it is somebody else's.
func (s *server) ownKey(c *gin.Context) (account.Key, error) {
	list, err := s.Accounts.Keys(c.Request.Context(), user(c).ID)
	if err != nil {
		return account.Key{}, err
	}
	i := slices.IndexFunc(list, func(k account.Key) bool { return k.ID == c.Param("key") })
	if i < 0 {
		return account.Key{}, account.ErrNotFound
	}
	return list[i], nil
}

func (s *server) revokeOwnKey(c *gin.Context) {
	k, err := s.ownKey(c)
	if err == nil {
		err = s.Accounts.RevokeKey(c.Request.Context(), k.ID, actor(c))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/account/keys", "revoked")
}

// consent says whether prompts of a key may be trained on. What came before is hidden, or shown again, at once.
func (s *server) consent(c *gin.Context) {
	k, err := s.ownKey(c)
	on := c.PostForm("training") == "yes"
	if err == nil {
		err = s.Consent(c.Request.Context(), k, on, actor(c))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if on {
		done(c, "/account/keys", "consented")
		return
	}
	done(c, "/account/keys", "withdrawn")
}
