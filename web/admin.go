package web

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

func (s *server) adminRoutes() {
	s.route(readers, get, "/admin", s.adminHome)
	s.wizardRoutes()
	s.route(admins, post, "/admin/rounds", s.startRound)
	s.route(readers, get, "/admin/rounds/:id", s.roundPage)
	s.route(admins, post, "/admin/rounds/:id/cancel", s.roundAct(s.Loop.Cancel, "cancelled"))
	s.route(admins, post, "/admin/rounds/:id/pause", s.roundAct(s.Loop.Pause, "paused"))
	s.route(admins, post, "/admin/rounds/:id/resume", s.roundAct(s.Loop.Resume, "resumed"))
	s.route(admins, post, "/admin/rounds/:id/retry", s.roundAct(s.Loop.Retry, "retried"))
	s.route(admins, post, "/admin/rounds/:id/proceed", s.roundAct(s.Loop.Proceed, "proceeding"))
	s.route(admins, post, "/admin/rounds/:id/promote", s.proved, s.decide(true, "promoted"))
	s.route(admins, post, "/admin/rounds/:id/decline", s.decide(false, "declined"))
	s.route(admins, post, "/admin/schedules", s.addSchedule)
	s.route(admins, post, "/admin/schedules/:id/enable", s.switchSchedule(true))
	s.route(admins, post, "/admin/schedules/:id/disable", s.switchSchedule(false))
	s.route(admins, post, "/admin/schedules/:id/remove", s.removeSchedule)

	s.route(readers, get, "/admin/models", s.modelsPage)
	s.route(readers, get, "/admin/models/:id", s.modelPage)
	s.route(admins, post, "/admin/models/:id/promote", s.proved, s.promote)
	s.route(admins, post, "/admin/rollback", s.rollback)
	s.canaryRoutes()

	s.route(admins, get, "/admin/keys", s.keysPage)
	s.route(admins, post, "/admin/keys", s.proved, s.createKey)
	s.route(admins, get, "/admin/keys/usage.csv", s.usageCSV)
	s.route(admins, get, "/admin/keys/:id", s.keyPage)
	s.route(admins, post, "/admin/keys/:id", s.proved, s.changeKey)
	s.route(admins, post, "/admin/keys/:id/rotate", s.proved, s.rotateKey)
	s.route(admins, post, "/admin/keys/:id/revoke", s.proved, s.revokeKey)
	s.route(readers, get, "/admin/engine", s.enginePage)
	s.route(readers, get, "/admin/api/engine", s.engineNow)
	s.route(reviewers, get, "/admin/held", s.heldPage)
	s.route(reviewers, post, "/admin/held/:id/release", s.unhold)
	s.auditRoutes()
}

// names says who an actor is: e-mail addresses by "user:<id>".
func (s *server) names(ctx context.Context) (map[string]string, error) {
	users, err := s.Accounts.Users(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(users))
	for _, u := range users {
		out["user:"+u.ID] = u.Email
	}
	return out, nil
}

// --- models

type modelsData struct {
	Versions []registry.Version
	Older    string // id that the next page begins behind; empty on the last
	Serving  string // id
	Scoring  string // id of the reward model that outside trainers are answered by
	History  []registry.Promotion
	Names    map[string]string // of actors
	ByID     map[string]string // names of versions
	Canary   *registry.Canary  // that is under way; nil: none
	Planned  []registry.Planned
	Tainted  map[string]bool // by version: it learned from what was erased since
}

// CanaryOf is the canary of a version that is under way; nil: none.
func (d modelsData) CanaryOf(id string) *registry.Canary {
	if d.Canary == nil || d.Canary.Version.ID != id {
		return nil
	}
	return d.Canary
}

// PlannedOf are the promotions of a version that wait.
func (d modelsData) PlannedOf(id string) []registry.Planned {
	return slices.DeleteFunc(slices.Clone(d.Planned), func(p registry.Planned) bool { return p.Version.ID != id })
}

// modelsShown is how many versions a page of the list has.
const modelsShown = 100

func (s *server) modelsPage(c *gin.Context) {
	ctx := c.Request.Context()
	list, err := s.Registry.Before(ctx, "", c.Query("before"), modelsShown+1)
	if err != nil {
		s.fail(c, err)
		return
	}
	older := ""
	if len(list) > modelsShown {
		list, older = list[:modelsShown], list[modelsShown-1].ID
	}
	history, err := s.Registry.ServingHistory(ctx, loop.Channel, 20)
	if err != nil {
		s.fail(c, err)
		return
	}
	d := modelsData{Versions: list, Older: older, History: history, ByID: map[string]string{}}
	ids := make([]string, len(list))
	for i, v := range list {
		d.ByID[v.ID], ids[i] = v.Name, v.ID
	}
	if d.Tainted, err = s.Registry.Tainted(ctx, ids); err != nil {
		s.fail(c, err)
		return
	}
	if d.Names, err = s.names(ctx); err != nil {
		s.fail(c, err)
		return
	}
	if len(history) > 0 && history[0].Live {
		d.Serving = history[0].Version.ID
	}
	if d.Scoring, err = s.scoringID(ctx); err != nil {
		s.fail(c, err)
		return
	}
	if d.Planned, err = s.Registry.Planned(ctx, ""); err != nil {
		s.fail(c, err)
		return
	}
	switch open, err := s.Registry.OpenCanary(ctx, loop.Channel); {
	case err == nil:
		d.Canary = &open
	case !errors.Is(err, registry.ErrNotFound):
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "models", view{Title: "Models", Nav: "models", Note: note(c), Data: d})
}

// lineageShown is how many steps back a page shows what a version was made from.
const lineageShown = 12

type modelData struct {
	registry.Version
	Lineage    []registry.Ancestor // without itself
	Line       []registry.Ancestor // with itself
	Further    *registry.Ancestor  // where the line goes on that is too long for a page; nil: all of it is here
	Origin     *originData         // of the rankings behind it; nil: none
	Names      map[string]string   // of actors, labelers among them
	Snapshot   *labeling.Snapshot  // nil: none
	Serving    bool
	CanPromote bool
	Taints     []taintedBy // why it should be trained again
	canaryData
	Compared []comparedWith
}

func (s *server) modelPage(c *gin.Context) {
	ctx := c.Request.Context()
	v, err := s.Registry.Get(ctx, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	lineage, err := s.Registry.Near(ctx, v.ID, lineageShown)
	if err != nil {
		s.fail(c, err)
		return
	}
	d := modelData{Version: v, CanPromote: user(c).Role.Admin() && (v.Kind == registry.Policy || v.Kind == registry.SFT || v.Kind == registry.Reward)}
	for _, a := range lineage {
		if a.ID != v.ID {
			d.Lineage = append(d.Lineage, a)
		}
	}
	d.Line = lineage
	for _, a := range lineage {
		if a.Depth == lineageShown && a.Kind != registry.Reward && len(a.Parents) > 0 {
			d.Further = &a
		}
	}
	if d.Names, err = s.names(ctx); err != nil {
		s.fail(c, err)
		return
	}
	if d.canaryData, err = s.canaryOf(ctx, v); err != nil {
		s.fail(c, err)
		return
	}
	if v.Snapshot != nil {
		snap, err := s.Labeling.SnapshotByID(ctx, *v.Snapshot)
		if err != nil {
			s.fail(c, err)
			return
		}
		d.Snapshot = &snap
		if d.Origin, err = s.originOf(ctx, snap.ID, d.Names, user(c).Role.Admin()); err != nil {
			s.fail(c, err)
			return
		}
	}
	if d.Taints, err = s.taintsOf(ctx, v.ID); err != nil {
		s.fail(c, err)
		return
	}
	if d.Compared, err = s.comparedWith(ctx, v.ID, ""); err != nil {
		s.fail(c, err)
		return
	}
	if live, err := s.Registry.Serving(ctx, loop.Channel); err == nil {
		d.Serving = live.ID == v.ID
	}
	if v.Kind == registry.Reward {
		scoring, err := s.scoringID(ctx)
		if err != nil {
			s.fail(c, err)
			return
		}
		d.Serving = scoring == v.ID
	}
	s.render(c, http.StatusOK, "model", view{Title: v.Name, Nav: "models", Note: note(c), Data: d})
}

// scoringID is the version that scores for outside trainers; empty where none does.
func (s *server) scoringID(ctx context.Context) (string, error) {
	v, err := s.Loop.RewardModel(ctx)
	if errors.Is(err, loop.ErrNotFound) {
		return "", nil
	}
	return v.ID, err
}

// --- reported tasks

type heldTask struct{ ID, Flag string }

func (s *server) heldPage(c *gin.Context) {
	ids, flags, err := s.Labeling.HeldTasks(c.Request.Context(), s.ProjectID, 200)
	if err != nil {
		s.fail(c, err)
		return
	}
	var list []heldTask
	for i, id := range ids {
		list = append(list, heldTask{id, flags[i]})
	}
	s.render(c, http.StatusOK, "held", view{Title: "Reported tasks", Nav: "people", Note: note(c), Data: list})
}

func (s *server) unhold(c *gin.Context) {
	if err := s.Labeling.Unhold(c.Request.Context(), c.Param("id"), actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/held", "released")
}
