package web

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/lang"
)

func (s *server) canaryRoutes() {
	s.route(admins, post, "/admin/models/:id/canary", s.proved, s.startCanary)
	s.route(admins, post, "/admin/models/:id/plan", s.proved, s.planPromotion)
	s.route(admins, post, "/admin/planned/:id/cancel", s.cancelPlanned)
	s.route(admins, post, "/admin/canaries/:id/advance", s.canaryAct("advanced", func(c *gin.Context, id, reason string) error {
		step, err := strconv.Atoi(c.PostForm("step"))
		if err != nil {
			return bad("step", "must be a whole number")
		}
		return s.Loop.AdvanceCanary(c.Request.Context(), id, step, actor(c), reason)
	}))
	for name, act := range map[string]struct {
		note string
		do   func(ctx context.Context, id, actor, reason string) error
	}{"pause": {"canarypaused", s.Loop.PauseCanary}, "resume": {"canaryresumed", s.Loop.ResumeCanary}, "abort": {"aborted", s.Loop.AbortCanary}} {
		s.route(admins, post, "/admin/canaries/:id/"+name, s.canaryAct(act.note, func(c *gin.Context, id, reason string) error {
			return act.do(c.Request.Context(), id, actor(c), reason)
		}))
	}
}

// mostReason is how long a reason may be, in bytes.
const mostReason = 500

// reasonOf is why somebody does what a form asks for.
func reasonOf(c *gin.Context) (string, error) {
	reason, err := formValue(c, "reason", mostReason)
	if reason = strings.TrimSpace(reason); err == nil && reason == "" {
		err = bad("reason", "is wanted: those who read the history want to know why")
	}
	return reason, err
}

func (s *server) promote(c *gin.Context) {
	reason, err := reasonOf(c)
	if err == nil {
		err = s.Loop.Promote(c.Request.Context(), c.Param("id"), actor(c), reason)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/models", "promoted")
}

func (s *server) rollback(c *gin.Context) {
	reason, err := reasonOf(c)
	if err == nil {
		_, err = s.Loop.Rollback(c.Request.Context(), actor(c), reason)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/models", "rolledback")
}

func (s *server) startCanary(c *gin.Context) {
	reason, err := reasonOf(c)
	var cfg registry.CanaryConfig
	if err == nil {
		cfg, err = canaryForm(c)
	}
	if err == nil {
		err = s.roomFor(c.Request.Context(), c.Param("id"))
	}
	if err == nil {
		_, err = s.Loop.StartCanary(c.Request.Context(), c.Param("id"), actor(c), reason, cfg)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/models/"+url.PathEscape(c.Param("id")), "canary")
}

// roomFor refuses a version that this process has no memory for.
func (s *server) roomFor(ctx context.Context, versionID string) error {
	if s.Memory == nil {
		return nil
	}
	v, err := s.Registry.Get(ctx, versionID)
	if err != nil || v.GoneAt != nil { // which the start says itself
		return err
	}
	return s.Memory.Room(ctx, v)
}

// freeMemory is what a canary may take here, in GB; empty where nobody knows.
func (s *server) freeMemory() string {
	if s.Memory == nil {
		return ""
	}
	free, known := s.Memory.Free()
	if !known {
		return ""
	}
	return strconv.FormatFloat(float64(max(free, 0))/gigabyte, 'g', 3, 64)
}

// canaryForm reads how a canary is to grow; what is left out is as always. Shares are percents.
func canaryForm(c *gin.Context) (registry.CanaryConfig, error) {
	cfg := registry.DefaultCanary()
	shares, err := formValue(c, "shares", 200)
	if err != nil {
		return cfg, err
	}
	if fields := strings.FieldsFunc(shares, func(r rune) bool { return strings.ContainsRune(" ,;%、，", r) }); len(fields) > 0 {
		cfg.Shares = nil
		for _, f := range fields {
			p, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return cfg, bad("shares", "must be percents that grow, for example 1, 10")
			}
			cfg.Shares = append(cfg.Shares, p/100)
		}
	}
	minutes := 0.0
	for _, f := range []struct {
		name  string
		whole *int
		part  *float64
		scale float64
	}{{"answers", &cfg.Answers, nil, 1}, {"minutes", nil, &minutes, 1}, {"least", &cfg.Least, nil, 1}, {"errors", nil, &cfg.Errors, 100}, {"slower", nil, &cfg.Slower, 1},
		{"thumbs", nil, &cfg.Thumbs, 100}, {"empty", nil, &cfg.Empty, 100}, {"cut", nil, &cfg.Cut, 100}, {"repeating", nil, &cfg.Repeating, 100}, {"reward_gap", nil, &cfg.RewardGap, 1}} {
		v := strings.TrimSpace(c.PostForm(f.name))
		if v == "" {
			continue
		}
		x, err := strconv.ParseFloat(v, 64)
		if err != nil || f.whole != nil && (x != float64(int(x))) {
			return cfg, bad(f.name, "must be a number")
		}
		if f.whole != nil {
			*f.whole = int(x)
		} else {
			*f.part = x / f.scale
		}
		if f.name == "minutes" {
			if !(x >= 0 && x <= 60*24*30) {
				return cfg, bad("minutes", "0 to 43200, which are 30 days, are possible")
			}
			cfg.Seconds = int(60 * x)
		}
	}
	return cfg, cfg.Validate()
}

// canaryAct carries out what a form asks of a canary, and shows its version again.
func (s *server) canaryAct(note string, act func(c *gin.Context, id, reason string) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		reason, err := reasonOf(c)
		var v registry.Canary
		if err == nil {
			v, err = s.Registry.Canary(c.Request.Context(), c.Param("id"))
		}
		if err == nil {
			err = act(c, v.ID, reason)
		}
		if err != nil {
			s.fail(c, err)
			return
		}
		done(c, "/admin/models/"+url.PathEscape(v.Version.ID), note)
	}
}

func (s *server) planPromotion(c *gin.Context) {
	reason, err := reasonOf(c)
	var at, zone string
	if err == nil {
		at, err = formValue(c, "at", 40)
	}
	if err == nil {
		zone, err = formValue(c, "time_zone", 100)
	}
	if err == nil {
		_, err = s.Loop.PlanPromotion(c.Request.Context(), c.Param("id"), at, zone, actor(c), reason)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/models/"+url.PathEscape(c.Param("id")), "planned")
}

func (s *server) cancelPlanned(c *gin.Context) {
	reason, err := reasonOf(c)
	if err == nil {
		err = s.Loop.CancelPlanned(c.Request.Context(), c.Param("id"), actor(c), reason)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/models", "unplanned")
}

// canaryData is what a version's page shows of its way to the customers.
type canaryData struct {
	Canary   *loop.CanaryView // its newest; nil: none
	Base     string           // name of the version that it is compared with
	Other    *registry.Canary // of another version, that is under way
	Planned  []registry.Planned
	Defaults registry.CanaryConfig
	Served   []registry.Promotion // when this version served
	FreeGB   string               // memory that this server has for one; empty: not known
}

// canaryOf reads it.
func (s *server) canaryOf(ctx context.Context, v registry.Version) (d canaryData, err error) {
	d.Defaults, d.FreeGB = registry.DefaultCanary(), s.freeMemory()
	list, err := s.Registry.CanariesOf(ctx, v.ID, 1)
	if err != nil {
		return d, err
	}
	if len(list) > 0 {
		view, err := s.Loop.Canary(ctx, list[0].ID)
		if err != nil {
			return d, err
		}
		base, err := s.Registry.Get(ctx, view.ServingID)
		if err != nil {
			return d, err
		}
		d.Canary, d.Base = &view, base.Name
	}
	switch open, err := s.Registry.OpenCanary(ctx, loop.Channel); {
	case err == nil && open.Version.ID != v.ID:
		d.Other = &open
	case err != nil && !errors.Is(err, registry.ErrNotFound):
		return d, err
	}
	if d.Planned, err = s.Registry.Planned(ctx, v.ID); err != nil {
		return d, err
	}
	d.Served, err = s.Registry.ServedWhen(ctx, v.ID, 20)
	return d, err
}

// Percents are the shares of a canary, for its form.
func (d canaryData) Percents() string {
	var out []string
	for _, s := range d.Defaults.Shares {
		out = append(out, strconv.FormatFloat(100*s, 'f', -1, 64))
	}
	return strings.Join(out, ", ")
}

// Minutes is how long a step of a canary takes at least, for its form.
func (d canaryData) Minutes() float64 { return float64(d.Defaults.Seconds) / 60 }

// Percent is a share for a form.
func (canaryData) Percent(x float64) string { return strconv.FormatFloat(100*x, 'f', -1, 64) }

// figure writes what a guard compares.
func figure(l *lang.Language, v registry.Verdict, x float64) string {
	switch v.Guard {
	case registry.GuardLatency:
		return fmt.Sprintf("%.0f ms", x)
	case registry.GuardReward:
		return num(x)
	}
	return l.Percent(x)
}

var guardNames = map[string]sentence{
	registry.GuardErrors: "errors", registry.GuardLatency: "latency, 95th percentile", registry.GuardThumbs: "thumbs down", registry.GuardEmpty: "empty answers",
	registry.GuardCut: "answers cut off", registry.GuardRepeating: "repeating answers", registry.GuardReward: "mean reward",
}

var canaryNames = map[string]sentence{
	registry.OtherServes: "another version was let serve", registry.CanaryRunning: "canary", registry.CanaryPaused: "paused canary", registry.CanaryPromoted: "promoted", registry.CanaryRolledBack: "rolled back", registry.CanaryAborted: "aborted",
	"act:" + registry.CanaryStart: "began", "act:" + registry.CanaryAdvance: "next share", "act:" + registry.CanaryPause: "paused", "act:" + registry.CanaryResume: "resumed",
	"act:" + registry.CanaryPromote: "promoted", "act:" + registry.CanaryRollback: "rolled back by a guard", "act:" + registry.CanaryAbort: "aborted",
	registry.VerdictFew: "too little data", registry.VerdictFine: "fine", registry.VerdictBad: "worse than allowed",
}
