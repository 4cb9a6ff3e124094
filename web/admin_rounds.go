package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

// timeZones are offered for a schedule; any other of the IANA database may be typed.
var timeZones = []string{"UTC", "Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "America/Chicago", "America/Denver", "America/Los_Angeles",
	"America/Mexico_City", "America/New_York", "America/Sao_Paulo", "Asia/Dubai", "Asia/Hong_Kong", "Asia/Jakarta", "Asia/Kolkata", "Asia/Seoul",
	"Asia/Shanghai", "Asia/Singapore", "Asia/Taipei", "Asia/Tokyo", "Australia/Sydney", "Europe/Berlin", "Europe/Istanbul", "Europe/London",
	"Europe/Madrid", "Europe/Paris", "Europe/Warsaw", "Pacific/Auckland"}

// roundsShown is how many rounds a page of the list has.
const roundsShown = 50

type roundsData struct {
	Rounds    []loop.Round
	Older     int         // number that the next page begins below; 0 on the last
	Open      *loop.Round // the newest, while it runs, with its progress
	Curves    curvesData  // of Open
	Serving   *registry.Version
	Schedules []loop.Schedule
	New       int // rankings since the last round began to learn, up to loop.NewLimit
	Alarms    []loop.Alarm
	Cords     []pulledCord
	Defaults  loop.Config // of the next round
	JSON      string      // of Defaults
}

// Many says that New is not all that there are.
func (d roundsData) Many() bool { return d.New >= loop.NewLimit }

// nextConfig is what a round is started with where nothing else is said: the settings of the newest one with the next seed, and those that
// admins have set for all.
func (s *server) nextConfig(rounds []loop.Round) loop.Config {
	c := loop.DefaultConfig()
	if len(rounds) > 0 {
		c = rounds[0].Config
		c.Seed++
		c.Canary = c.Canary.OrDefault()
	}
	UsualRound(s.Settings, &c)
	return c
}

// pageOfRounds reads the rounds that the address asks for: those below a number, or the newest.
func (s *server) pageOfRounds(c *gin.Context, d *roundsData) (err error) {
	before := math.MaxInt32
	if q := c.Query("before"); q != "" {
		if before, err = strconv.Atoi(q); err != nil || before < 1 || before > math.MaxInt32 {
			return bad("before", "must be the number of a round")
		}
	}
	d.Rounds, err = s.Loop.Before(c.Request.Context(), s.ProjectID, before, roundsShown+1)
	if len(d.Rounds) > roundsShown {
		d.Rounds, d.Older = d.Rounds[:roundsShown], d.Rounds[roundsShown-1].Number
	}
	return err
}

func (s *server) adminHome(c *gin.Context) {
	ctx := c.Request.Context()
	var d roundsData
	newest, err := s.Loop.List(ctx, s.ProjectID, 1)
	if err != nil {
		s.fail(c, err)
		return
	}
	if err := s.pageOfRounds(c, &d); err != nil {
		s.fail(c, err)
		return
	}
	d.Defaults = s.nextConfig(newest)
	b, err := json.MarshalIndent(d.Defaults, "", "  ")
	if err != nil {
		s.fail(c, err)
		return
	}
	d.JSON = string(b)
	if len(newest) > 0 && !newest[0].Stage.Ended() {
		r, err := s.Loop.View(ctx, newest[0].ID)
		if err != nil {
			s.fail(c, err)
			return
		}
		d.Open = &r
		if d.Curves, err = s.curves(c, r); err != nil {
			s.fail(c, err)
			return
		}
	}
	v, err := s.Registry.Serving(ctx, loop.Channel)
	switch {
	case err == nil:
		d.Serving = &v
	case !errors.Is(err, registry.ErrNotFound):
		s.fail(c, err)
		return
	}
	if d.Schedules, err = s.Loop.Schedules(ctx, s.ProjectID); err != nil {
		s.fail(c, err)
		return
	}
	if d.New, err = s.Loop.NewRankings(ctx, s.ProjectID); err != nil {
		s.fail(c, err)
		return
	}
	if d.Alarms, err = s.Loop.Alarms(ctx, "", 10); err != nil {
		s.fail(c, err)
		return
	}
	if d.Cords, err = s.cords(ctx); err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "rounds", view{Title: "Rounds", Nav: "rounds", Note: note(c), Data: d})
}

// roundConfig reads the form that starts or schedules a round: the JSON of all settings where it was filled in, with the
// single fields on top.
func (s *server) roundConfig(c *gin.Context) (loop.Config, error) {
	rounds, err := s.Loop.List(c.Request.Context(), s.ProjectID, 1)
	if err != nil {
		return loop.Config{}, err
	}
	cfg := s.nextConfig(rounds)
	text, err := formValue(c, "config", 32<<10)
	if err != nil {
		return cfg, err
	}
	if strings.TrimSpace(text) != "" {
		if _, err := checkJSON([]byte(text)); err != nil {
			return cfg, err
		}
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&cfg); err != nil {
			return cfg, bad("config", fmt.Sprintf("does not fit the settings of a round: %s", strings.TrimPrefix(err.Error(), "json: ")))
		}
	}
	for name, at := range map[string]*int{"k": &cfg.K, "prompts": &cfg.Prompts, "eval_prompts": &cfg.EvalPrompts} {
		if v := c.PostForm(name); v != "" {
			if *at, err = strconv.Atoi(v); err != nil {
				return cfg, bad(name, "must be a whole number")
			}
		}
	}
	if v := c.PostForm("seed"); v != "" {
		if cfg.Seed, err = strconv.ParseUint(v, 10, 63); err != nil {
			return cfg, bad("seed", "must be a whole number from 0")
		}
	}
	if v := c.PostForm("promotion"); v != "" {
		cfg.Promotion = v
	}
	return cfg, cfg.Validate()
}

func (s *server) startRound(c *gin.Context) {
	cfg, err := s.roundConfig(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	r, err := s.Loop.Start(c.Request.Context(), s.ProjectID, actor(c), cfg)
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/rounds/"+url.PathEscape(r.ID), "started")
}

func (s *server) addSchedule(c *gin.Context) {
	cron, err := formValue(c, "cron", 200)
	if err != nil {
		s.fail(c, err)
		return
	}
	cfg, err := s.roundConfig(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	zone, err := formValue(c, "time_zone", 100)
	if err != nil {
		s.fail(c, err)
		return
	}
	sc := loop.Schedule{ProjectID: s.ProjectID, Cron: cron, TimeZone: zone, Config: cfg, CreatedBy: actor(c)}
	if v := c.PostForm("rankings"); v != "" {
		if sc.Rankings, err = strconv.Atoi(v); err != nil {
			s.fail(c, bad("rankings", "must be a whole number"))
			return
		}
	}
	if _, err := s.Loop.AddSchedule(c.Request.Context(), sc); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin", "scheduled")
}

func (s *server) switchSchedule(on bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := s.Loop.EnableSchedule(c.Request.Context(), c.Param("id"), actor(c), on); err != nil {
			s.fail(c, err)
			return
		}
		done(c, "/admin", "switched")
	}
}

func (s *server) removeSchedule(c *gin.Context) {
	if err := s.Loop.RemoveSchedule(c.Request.Context(), c.Param("id"), actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin", "unscheduled")
}

type roundAct func(ctx context.Context, id, actor string) error

func (s *server) roundAct(act roundAct, key string) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := act(c.Request.Context(), c.Param("id"), actor(c)); err != nil {
			s.fail(c, err)
			return
		}
		done(c, "/admin/rounds/"+url.PathEscape(c.Param("id")), key)
	}
}

func (s *server) decide(promote bool, key string) gin.HandlerFunc {
	return s.roundAct(func(ctx context.Context, id, actor string) error { return s.Loop.Decide(ctx, id, actor, promote) }, key)
}

type roundData struct {
	loop.Round
	Path      []stageStep
	Snapshot  *labeling.Snapshot
	Versions  []registry.Version // made by the round
	From      *registry.Version
	Alarms    []loop.Alarm
	Names     map[string]string // of actors
	JSON      string
	CanCancel bool
	Stopped   *loop.Alarm // keeps the round's run from going on
	Curves    curvesData
	Former    []loop.Round   // whose curves can be laid over
	Samples   bool           // what the policy said on the way can be read
	Blind     []comparedWith // comparisons of its policy with the one that served before
	Holds     bool           // a gate does
	CanRetry  bool
}

// stageStep is one stage on the way, for the strip on top.
type stageStep struct {
	Name  loop.Stage
	State string // past, now, over, broke or ahead
	loop.StageTime
}

func (s *server) roundPage(c *gin.Context) {
	ctx := c.Request.Context()
	r, err := s.Loop.View(ctx, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	d := roundData{Round: r, CanCancel: !r.Stage.Ended(), Path: stagePath(r), Holds: r.Held != "" && !r.Stage.Ended(),
		CanRetry: r.BrokeAt != "" && (r.Stage == loop.StageFailed || r.Stage == loop.StageCancelled)}
	if err := s.live(c, &d); err != nil {
		s.fail(c, err)
		return
	}
	b, err := json.MarshalIndent(r.Config, "", "  ")
	if err != nil {
		s.fail(c, err)
		return
	}
	d.JSON = string(b)
	if r.SnapshotID != "" {
		snap, err := s.Labeling.SnapshotByID(ctx, r.SnapshotID)
		if err != nil {
			s.fail(c, err)
			return
		}
		d.Snapshot = &snap
	}
	if v, err := s.Registry.Get(ctx, r.InitVersionID); err == nil {
		d.From = &v
	}
	for _, id := range []string{r.RewardVersionID, r.PolicyVersionID} {
		if id == "" {
			continue
		}
		v, err := s.Registry.Get(ctx, id)
		if err != nil {
			s.fail(c, err)
			return
		}
		d.Versions = append(d.Versions, v)
	}
	if d.Blind, err = s.comparedWith(ctx, r.PolicyVersionID, r.InitVersionID); err != nil {
		s.fail(c, err)
		return
	}
	if d.Names, err = s.names(ctx); err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "round", view{Title: s.say(c, "Round %d", r.Number), Nav: "rounds", Note: note(c), Data: d})
}

func stagePath(r loop.Round) []stageStep {
	var out []stageStep
	now, broke := r.Stage, r.BrokeAt != ""
	if broke {
		now = r.BrokeAt
	}
	path := r.Config.Path()
	at := slices.Index(path, now)
	if at < 0 {
		at = len(path) // of a round that broke off, where the stage is not known
	}
	for i, st := range path {
		step := stageStep{Name: st, State: "ahead"}
		switch {
		case now == loop.StageDone && i == at:
			step.State = "over"
		case i == at && broke:
			step.State = "broke"
		case i == at:
			step.State = "now"
		case i < at && at < len(path):
			step.State = "past"
		}
		out = append(out, step)
	}
	return out
}
