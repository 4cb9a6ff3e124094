package web

import (
	"context"
	"errors"
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

// overlaps are how long, in hours, a key may work on beside the one that takes its place, as the form offers it.
var overlaps = map[int]sentence{0: "not at all", 1: "an hour", 24: "a day", 7 * 24: "a week"}

// accountTabs is what the pages of one's account share.
type accountTabs struct{ Tab string }

type accountKeysData struct {
	accountTabs
	Keys     []accountKey
	Form     keyForm
	Days     string
	Scopes   []string
	Secret   string // shown once
	Error    string
	Overlaps map[int]string // by hours
}

// accountKey is a key of one's own.
type accountKey struct {
	account.Key
	State account.KeyState
	Used  int64 // tokens of this UTC day
}

func (s *server) accountKeysPage(c *gin.Context) {
	s.showAccountKeys(c, http.StatusOK, accountKeysData{Form: keyForm{Scopes: account.DefaultScopes}})
}

func (s *server) showAccountKeys(c *gin.Context, code int, d accountKeysData) {
	ctx := c.Request.Context()
	d.accountTabs, d.Scopes, d.Overlaps = accountTabs{"keys"}, account.Scopes, map[int]string{}
	for hours, name := range overlaps {
		d.Overlaps[hours] = s.say(c, string(name))
	}
	list, err := s.Accounts.Keys(ctx, user(c).ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, k := range list {
		row := accountKey{Key: k, State: k.State(time.Now())}
		if row.State == account.KeyLive || row.State == account.KeyEnding {
			if row.Used, _, err = s.Accounts.UsedToday(ctx, k.ID); err != nil {
				s.fail(c, err)
				return
			}
		}
		d.Keys = append(d.Keys, row)
	}
	s.render(c, code, "account_keys", view{Title: "Your API keys", Nav: "account", Note: note(c), Data: d})
}

// makeOwnKey makes a key with the usual limits; an admin can give it others.
func (s *server) makeOwnKey(c *gin.Context) {
	ctx, u := c.Request.Context(), user(c)
	d := accountKeysData{Form: keyForm{Scopes: c.PostFormArray("scopes"), Train: c.PostForm("training") == "yes"}, Days: c.PostForm("days")}
	var err error
	if d.Form.Name, err = formValue(c, "name", 1000); err != nil {
		s.fail(c, err)
		return
	}
	usual := s.newLimits()
	n := account.NewKey{CustomerID: u.ID, Name: d.Form.Name, Scopes: d.Form.Scopes, TrainingOptIn: d.Form.Train, RPM: usual.RPM, TPM: usual.TPM, Actor: actor(c)}
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
			d.Form, d.Days = keyForm{Scopes: account.DefaultScopes}, ""
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

// roomForKey says whether a person may make another key.
func (s *server) roomForKey(ctx context.Context, userID string) error {
	list, err := s.Accounts.Keys(ctx, userID)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(k account.Key) bool {
		state := k.State(time.Now())
		return state == account.KeyRevoked || state == account.KeyExpired
	})
	if len(list) >= ownKeys {
		return status(http.StatusConflict, "you have as many keys as one may have: revoke one first")
	}
	return nil
}

// ownKey is the key of the address; ErrNotFound where it is somebody else's.
func (s *server) ownKey(c *gin.Context) (account.Key, error) {
	k, err := s.Accounts.Key(c.Request.Context(), c.Param("key"))
	if err == nil && k.CustomerID != user(c).ID {
		return account.Key{}, account.ErrNotFound
	}
	return k, err
}

func (s *server) rotateOwnKey(c *gin.Context) {
	k, err := s.ownKey(c)
	hours := 0
	if err == nil {
		if hours, err = strconv.Atoi(c.PostForm("overlap")); err != nil {
			err = bad("overlap", "must be a whole number")
		}
	}
	var secret string
	if err == nil {
		_, secret, err = s.Accounts.RotateKey(c.Request.Context(), k.ID, time.Duration(hours)*time.Hour, actor(c))
	}
	if errors.Is(err, account.ErrConflict) {
		err = status(http.StatusConflict, "the key is revoked, or another has taken its place already")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showAccountKeys(c, http.StatusOK, accountKeysData{Form: keyForm{Scopes: account.DefaultScopes}, Secret: secret})
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
