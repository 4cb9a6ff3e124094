package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/setting"
)

// keyForm is what a form says of a key, with the values it opens with.
type keyForm struct {
	Name   string
	Scopes []string
	Train  bool
	account.Limits
}

// Has says whether the form has the scope ticked.
func (f keyForm) Has(scope string) bool { return slices.Contains(f.Scopes, scope) }

type keysData struct {
	Keys      []keyRow
	Customers []account.User
	Owners    map[string]string // e-mail addresses by user id
	Form      keyForm
	Scopes    []string
	Secret    string // shown once
	Error     string
	Total     keyTotal
	Daily     []column // tokens
}

// keyRow is a key in the list.
type keyRow struct {
	account.Key
	State account.KeyState
	Used  keyTotal
}

// keyTotal is what was used in the last 30 days.
type keyTotal struct{ Requests, Tokens int64 }

func (t *keyTotal) add(d account.Day) {
	t.Requests += d.Requests
	t.Tokens += d.PromptTokens + d.CompletionTokens
}

func (s *server) keysPage(c *gin.Context) { s.showKeys(c, http.StatusOK, keysData{}) }

func (s *server) showKeys(c *gin.Context, code int, d keysData) {
	ctx := c.Request.Context()
	if d.Form.RPM == 0 {
		d.Form = keyForm{Scopes: account.DefaultScopes, Limits: s.newLimits()}
	}
	d.Scopes = account.Scopes
	list, err := s.Accounts.Keys(ctx, "")
	if err == nil {
		d.Customers, d.Owners, err = s.owners(ctx)
	}
	var days []account.Day
	from := firstDay(usageDays)
	if err == nil {
		days, err = s.Accounts.Usage(ctx, account.UsageFilter{Since: from})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	used := map[string]*keyTotal{}
	for _, day := range days {
		if used[day.KeyID] == nil {
			used[day.KeyID] = new(keyTotal)
		}
		used[day.KeyID].add(day)
		d.Total.add(day)
	}
	for _, k := range list {
		row := keyRow{Key: k, State: k.State(time.Now())}
		if u := used[k.ID]; u != nil {
			row.Used = *u
		}
		d.Keys = append(d.Keys, row)
	}
	d.Daily = perDay(days, from)
	s.render(c, code, "keys", view{Title: "API keys", Nav: "keys", Note: note(c), Data: d})
}

// owners are those who may have keys, and the addresses of all users by id.
func (s *server) owners(ctx context.Context) ([]account.User, map[string]string, error) {
	users, err := s.Accounts.Users(ctx)
	if err != nil {
		return nil, nil, err
	}
	names := map[string]string{}
	var may []account.User
	for _, u := range users {
		names[u.ID] = u.Email
		if u.DisabledAt == nil && (u.Role == account.RoleCustomer || u.Role.Admin()) {
			may = append(may, u)
		}
	}
	return may, names, nil
}

// perDay is a column of tokens for each of usageDays days.
func perDay(days []account.Day, from time.Time) []column {
	sums := map[string]float64{}
	for _, d := range days {
		sums[d.Day.UTC().Format(time.DateOnly)] += float64(d.PromptTokens + d.CompletionTokens)
	}
	out := make([]column, usageDays)
	for i := range out {
		day := from.AddDate(0, 0, i).Format(time.DateOnly)
		out[i] = column{Label: day[len("2006-"):], Value: sums[day]}
	}
	return out
}

// newLimits are those of a new key where nobody says otherwise.
func (s *server) newLimits() account.Limits {
	return account.Limits{RPM: s.Settings.Int(setting.KeyRequests), TPM: s.Settings.Int(setting.KeyTokens)}
}

// readKeyForm reads what both forms ask for.
func readKeyForm(c *gin.Context) (f keyForm, err error) {
	if f.Name, err = formValue(c, "name", 1000); err != nil {
		return f, err
	}
	f.Scopes, f.Train = c.PostFormArray("scopes"), c.PostForm("training") == "yes"
	for _, field := range []struct {
		name string
		to   func(int64)
	}{{"rpm", func(n int64) { f.RPM = int(n) }}, {"tpm", func(n int64) { f.TPM = int(n) }}, {"daily_tokens", func(n int64) { f.DailyTokens = n }}} {
		v := strings.TrimSpace(c.PostForm(field.name))
		if v == "" {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n > 1<<40 {
			return f, bad(field.name, "must be a whole number")
		}
		field.to(n)
	}
	return f, nil
}

func (s *server) createKey(c *gin.Context) {
	f, err := readKeyForm(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	usual := s.newLimits()
	n := account.NewKey{CustomerID: c.PostForm("customer"), Name: f.Name, Scopes: f.Scopes, TrainingOptIn: f.Train, RPM: cmp.Or(f.RPM, usual.RPM), TPM: cmp.Or(f.TPM, usual.TPM), DailyTokens: f.DailyTokens, Actor: actor(c)}
	if v := c.PostForm("days"); v != "" {
		days, err := strconv.Atoi(v)
		if err != nil || days < 0 || days > 3650 {
			s.fail(c, bad("days", "must be a number of days up to ten years, or empty"))
			return
		}
		n.Lifetime = time.Duration(days) * 24 * time.Hour
	}
	_, secret, err := s.Accounts.CreateKey(c.Request.Context(), n)
	if message, failed := s.formError(c, err); failed {
		if message != "" {
			s.showKeys(c, http.StatusBadRequest, keysData{Error: message, Form: f})
		}
		return
	}
	s.showKeys(c, http.StatusOK, keysData{Secret: secret})
}

// formError is what to say above a form that could not be carried out; empty where the error has been answered already.
func (s *server) formError(c *gin.Context, err error) (message string, failed bool) {
	if err == nil {
		return "", false
	}
	p, known := problemOf(err)
	if !known || p.Status != http.StatusBadRequest {
		s.fail(c, err)
		return "", true
	}
	return p.in(s.language(c)).Detail, true
}

// --- one key

type keyData struct {
	account.Key
	State    account.KeyState
	Owner    string
	Form     keyForm
	Scopes   []string
	Today    int64 // tokens used
	Days     []account.Day
	Names    map[string]string // of model versions
	Daily    []column
	Total    keyTotal
	Secret   string       // of the key that takes its place, shown once
	By       *account.Key // that key
	Error    string
	Overlaps []overlap
}

// overlap is how long a key may work on beside the one that takes its place.
type overlap struct {
	Hours int
	Name  string // in the reader's language
}

var overlapNames = []struct {
	hours int
	name  sentence
}{{0, "not at all"}, {1, "one hour"}, {24, "one day"}, {7 * 24, "one week"}, {30 * 24, "30 days"}}

func (s *server) keyPage(c *gin.Context) { s.showKey(c, http.StatusOK, keyData{}) }

func (s *server) showKey(c *gin.Context, code int, d keyData) {
	ctx := c.Request.Context()
	var err error
	if d.Key, err = s.Accounts.Key(ctx, c.Param("id")); err != nil {
		s.fail(c, err)
		return
	}
	d.State, d.Scopes = d.Key.State(time.Now()), account.Scopes
	for _, o := range overlapNames {
		d.Overlaps = append(d.Overlaps, overlap{o.hours, s.language(c).T(string(o.name))})
	}
	if d.Form.RPM == 0 {
		d.Form = keyForm{d.Name, d.Key.Scopes, d.TrainingOptIn, d.Limits}
	}
	from := firstDay(usageDays)
	_, owners, err := s.owners(ctx)
	if err == nil {
		d.Owner = owners[d.CustomerID]
		d.Days, err = s.Accounts.Usage(ctx, account.UsageFilter{KeyID: d.ID, Since: from})
	}
	if err == nil {
		d.Today, _, err = s.Accounts.UsedToday(ctx, d.ID)
	}
	if err == nil {
		d.Names, err = s.versionNames(ctx, d.Days)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, day := range d.Days {
		d.Total.add(day)
	}
	d.Daily = perDay(d.Days, from)
	s.render(c, code, "key", view{Title: "API key", Nav: "keys", Note: note(c), Data: d})
}

func (s *server) changeKey(c *gin.Context) {
	f, err := readKeyForm(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	err = s.change(c, f)
	if message, failed := s.formError(c, err); failed {
		if message != "" {
			s.showKey(c, http.StatusBadRequest, keyData{Error: message, Form: f})
		}
		return
	}
	done(c, "/admin/keys/"+c.Param("id"), "keychanged")
}

// change gives a key other values. Where its consent changes, so does what came with it before: it is hidden or shown.
func (s *server) change(c *gin.Context, f keyForm) error {
	k, err := s.Accounts.Key(c.Request.Context(), c.Param("id"))
	if err != nil {
		return err
	}
	if err := s.Accounts.ChangeKey(c.Request.Context(), k.ID, account.KeyChange{Name: f.Name, Scopes: f.Scopes, TrainingOptIn: k.TrainingOptIn, Limits: f.Limits, Actor: actor(c)}); err != nil {
		return err
	}
	if f.Train == k.TrainingOptIn {
		return nil
	}
	return s.Consent(c.Request.Context(), k, f.Train, actor(c))
}

func (s *server) rotateKey(c *gin.Context) {
	hours, err := strconv.Atoi(c.PostForm("overlap"))
	if err != nil || hours < 0 || hours > int(account.MaxOverlap/time.Hour) {
		s.fail(c, bad("overlap", "must be a whole number of hours, up to 720"))
		return
	}
	k, secret, err := s.Accounts.RotateKey(c.Request.Context(), c.Param("id"), time.Duration(hours)*time.Hour, actor(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showKey(c, http.StatusOK, keyData{Secret: secret, By: &k})
}

func (s *server) revokeKey(c *gin.Context) {
	if err := s.Accounts.RevokeKey(c.Request.Context(), c.Param("id"), actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/keys", "revoked")
}

// usageCSV is everybody's usage.
func (s *server) usageCSV(c *gin.Context) {
	from, err := since(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx := c.Request.Context()
	days, err := s.Accounts.Usage(ctx, account.UsageFilter{KeyID: c.Query("key"), Since: from})
	if err != nil {
		s.fail(c, err)
		return
	}
	list, err := s.Accounts.Keys(ctx, "")
	if err != nil {
		s.fail(c, err)
		return
	}
	keys := map[string]account.Key{}
	for _, k := range list {
		keys[k.ID] = k
	}
	_, owners, err := s.owners(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.sendUsage(c, days, keys, owners)
}
