package web

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// Sizes up to which the people page computes figures at once.
const (
	maxProgress = 200    // people
	maxSnapshot = 20_000 // rankings
)

type person struct {
	account.User
	Progress  *labeling.Progress // nil: does not label
	Agreement *labelerAgreement  // nil: shares no task with another labeler
}

// labelerAgreement compares one labeler with the others that ranked the same answers.
type labelerAgreement struct {
	Share     float64 // of the pairs that both order strictly, those ordered alike
	Low, High float64 // 95%
	Pairs     int
}

type peopleData struct {
	People   []person
	Round    *loop.Round // whose rankings the agreement is taken from
	Roles    []account.Role
	Created  *account.User
	Password string // shown once
	Error    string
}

func (s *server) peoplePage(c *gin.Context) { s.showPeople(c, http.StatusOK, peopleData{}) }

func (s *server) showPeople(c *gin.Context, code int, d peopleData) {
	ctx := c.Request.Context()
	d.Roles = account.Roles
	users, err := s.Accounts.Users(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	agreement, err := s.latestAgreement(c, &d)
	if err != nil {
		s.fail(c, err)
		return
	}
	for i, u := range users {
		p := person{User: u}
		if a, ok := agreement[u.ID]; ok {
			p.Agreement = &a
		}
		if u.Role.Labels() && i < maxProgress {
			progress, err := s.Labeling.Progress(ctx, s.ProjectID, u.ID)
			if err != nil {
				s.fail(c, err)
				return
			}
			p.Progress = &progress
		}
		d.People = append(d.People, p)
	}
	slices.SortStableFunc(d.People, func(a, b person) int { // labelers first, then customers, then those who run it
		return slices.Index(account.Roles, a.Role) - slices.Index(account.Roles, b.Role)
	})
	s.render(c, code, "people", view{Title: "People", Nav: "people", Note: note(c), Data: d})
}

// latestAgreement compares the labelers of the newest round that has a snapshot.
func (s *server) latestAgreement(c *gin.Context, d *peopleData) (map[string]labelerAgreement, error) {
	ctx := c.Request.Context()
	rounds, err := s.Loop.List(ctx, s.ProjectID, 20)
	if err != nil {
		return nil, err
	}
	for _, r := range rounds {
		if r.SnapshotID == "" {
			continue
		}
		snap, err := s.Labeling.SnapshotByID(ctx, r.SnapshotID)
		if err != nil || snap.N > maxSnapshot {
			return nil, err
		}
		items, err := s.Labeling.SnapshotItems(ctx, r.SnapshotID)
		if err != nil {
			return nil, err
		}
		d.Round = &r
		return agreementByLabeler(items), nil
	}
	return nil, nil
}

// agreementByLabeler compares each labeler with all others that ranked the same answers, pair by pair. The interval takes
// the tasks, not the pairs, as independent.
func agreementByLabeler(items []labeling.RankedPrompt) map[string]labelerAgreement {
	type counts struct{ hits, pairs []float64 } // one entry per task
	of := map[string]*counts{}
	for _, it := range items {
		for i, x := range it.Rankings {
			hit, both := 0.0, 0.0
			for j, y := range it.Rankings {
				if i != j {
					n := labeling.Concordance(x.Ranks, y.Ranks)
					hit += float64(n.Concordant)
					both += float64(n.Concordant + n.Discordant)
				}
			}
			if both == 0 {
				continue
			}
			if of[x.LabelerID] == nil {
				of[x.LabelerID] = new(counts)
			}
			c := of[x.LabelerID]
			c.hits, c.pairs = append(c.hits, hit), append(c.pairs, both)
		}
	}
	out := map[string]labelerAgreement{}
	for id, c := range of {
		var a labelerAgreement
		a.Share, a.Low, a.High = labeling.ClusterProportion(c.hits, c.pairs)
		for _, n := range c.pairs {
			a.Pairs += int(n)
		}
		out[id] = a
	}
	return out
}

func (s *server) invite(c *gin.Context) {
	var n account.NewUser
	var role string
	for name, at := range map[string]*string{"email": &n.Email, "name": &n.Name, "role": &role} {
		v, err := formValue(c, name, 1000)
		if err != nil {
			s.fail(c, err)
			return
		}
		*at = v
	}
	n.Role, n.Actor = account.Role(role), actor(c)
	if n.Role == account.RoleOwner && user(c).Role != account.RoleOwner {
		s.fail(c, status(http.StatusForbidden, "only an owner makes owners"))
		return
	}
	u, password, err := s.Accounts.CreateUser(c.Request.Context(), n)
	if err != nil {
		p, known := problemOf(err)
		if !known || p.Status >= 500 {
			s.fail(c, err)
			return
		}
		s.showPeople(c, p.Status, peopleData{Error: p.in(s.language(c)).Detail})
		return
	}
	s.showPeople(c, http.StatusOK, peopleData{Created: &u, Password: password})
}

func (s *server) resetPassword(c *gin.Context) {
	u, err := s.target(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	password, err := s.Accounts.SetPassword(c.Request.Context(), u.ID, "", actor(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showPeople(c, http.StatusOK, peopleData{Created: &u, Password: password})
}

// target is the user that an act is about. An owner's account is for owners to change.
func (s *server) target(c *gin.Context) (account.User, error) {
	u, err := s.Accounts.User(c.Request.Context(), c.Param("id"))
	if err == nil && u.Role == account.RoleOwner && user(c).Role != account.RoleOwner {
		err = status(http.StatusForbidden, "only an owner changes an owner's account")
	}
	return u, err
}

func (s *server) disableUser(c *gin.Context) {
	u, err := s.target(c)
	if err == nil {
		err = s.Accounts.Disable(c.Request.Context(), u.ID, actor(c))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/people", "disabled")
}

func (s *server) enableUser(c *gin.Context) {
	u, err := s.target(c)
	if err == nil {
		err = s.Accounts.Enable(c.Request.Context(), u.ID, actor(c))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/people", "enabled")
}

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
