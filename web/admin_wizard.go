package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/ppo/loop"
)

// wizardData is a step of the wizard. The settings of the other steps travel along as JSON, so that no step needs a session, a script, or
// what was typed twice.
type wizardData struct {
	Step    string
	At      int // its place, from 0
	Config  loop.Config
	JSON    string
	Inputs  []inputOf
	Typed   map[string]string
	Fault   fault
	Alert   string // of no field of this step
	Parts   []loop.Stage
	Bases   []registry.Version
	Rewards []registry.Version
	Snaps   []labeling.Snapshot
	Stock   labeling.Material
	Presets []string
	Preset  string
	Options []ppo.Option // of the preset
	Setups  []loop.Template
	Setup   *loop.Template // that is being changed
	Hours   string
	Open    bool // a round is under way
	loop.Forecast
	Unknown string // why there is no forecast
	Total   float64
	Next    []time.Time
	Zone    *time.Location
	New     int
}

// Many says that New is not all that there are.
func (d wizardData) Many() bool { return d.New >= loop.NewLimit }

// Has says whether the round has a part.
func (d wizardData) Has(p loop.Stage) bool { return d.Config.Has(p) }

// Steps are all, for the strip on top.
func (d wizardData) Steps() (ids []string) {
	for _, st := range wizardSteps {
		ids = append(ids, st.ID)
	}
	return ids
}

// Value is what was typed into a field beside the numbers.
func (d wizardData) Value(name string) string { return d.Typed[name] }

// Wrong is what is wrong with a field.
func (d wizardData) Wrong(name string) string {
	if d.Fault.Field == name {
		return d.Fault.Reason
	}
	return ""
}

// Former is the step before this one; empty where there is none.
func (d wizardData) Former() string { return stepBeside(d.At - 1) }

// Following is the step that comes next.
func (d wizardData) Following() string { return stepBeside(d.At + 1) }

func stepBeside(at int) string {
	if at < 0 || at >= len(wizardSteps) {
		return ""
	}
	return wizardSteps[at].ID
}

func (s *server) wizardRoutes() {
	s.route(admins, get, "/admin/rounds/new", s.newRound)
	s.route(admins, post, "/admin/rounds/new", s.setUpRound)
	s.route(admins, post, "/admin/rounds/:id/override", s.overrideGate)
	s.route(admins, post, "/admin/setups/:id/remove", s.removeSetup)
}

// newRound opens the wizard with the newest round's settings, or with those of a setup.
func (s *server) newRound(c *gin.Context) {
	ctx := c.Request.Context()
	rounds, err := s.Loop.List(ctx, s.ProjectID, 1)
	if err != nil {
		s.fail(c, err)
		return
	}
	d := wizardData{Step: stepParts, Config: s.nextConfig(rounds)}
	d.Config.Without, d.Config.Retrain, d.Config.Base, d.Config.Snapshot, d.Config.RewardModel = nil, false, "", "", ""
	if len(rounds) == 0 {
		d.Config.Gates = loop.GateConfig{Agreement: 0.55, RewardAccuracy: 0.55, KL: d.Config.MaxKL}
	}
	if ref := c.Query("setup"); ref != "" {
		setup, err := s.setup(ctx, ref)
		if err != nil {
			s.fail(c, err)
			return
		}
		seed := d.Config.Seed
		d.Setup, d.Config = &setup, setup.Config
		d.Config.Seed = seed
	}
	s.showWizard(c, http.StatusOK, d)
}

func (s *server) setup(ctx context.Context, ref string) (loop.Template, error) {
	if _, err := textParam(ref); err != nil {
		return loop.Template{}, err
	}
	return s.Loop.FindTemplate(ctx, s.ProjectID, ref)
}

// readWizard reads what a step was sent with: the settings so far and, on top, its own fields. A field that cannot be read is the error;
// what was typed stays in d.Typed.
func (s *server) readWizard(c *gin.Context) (d wizardData, err error) {
	d = wizardData{Step: stepParts, Config: loop.DefaultConfig(), Typed: map[string]string{}}
	text, err := formValue(c, "config", 32<<10)
	if err != nil {
		return d, err
	}
	if strings.TrimSpace(text) != "" {
		if _, err := checkJSON([]byte(text)); err != nil {
			return d, err
		}
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&d.Config); err != nil {
			return d, bad("config", fmt.Sprintf("does not fit the settings of a round: %s", strings.TrimPrefix(err.Error(), "json: ")))
		}
	}
	for name, at := range map[string]*string{"step": &d.Step, "hours": &d.Hours} {
		if *at, err = formValue(c, name, 100); err != nil {
			return d, err
		}
	}
	for i, st := range wizardSteps {
		if st.ID == d.Step {
			d.At = i
		}
	}
	if wizardSteps[d.At].ID != d.Step {
		d.Step = stepParts
		return d, bad("step", "is none of the wizard's")
	}
	if id := c.PostForm("setup"); id != "" {
		setup, err := s.setup(c.Request.Context(), id)
		if err != nil {
			return d, err
		}
		d.Setup = &setup
	}
	for name := range otherFields {
		if d.Typed[name], err = formValue(c, name, 1000); err != nil {
			return d, err
		}
	}
	return d, s.readStep(c, &d)
}

// readStep sets what the fields of the step say.
func (s *server) readStep(c *gin.Context, d *wizardData) error {
	cfg := d.Config
	var first error
	for _, f := range wizardFields {
		if f.Step != d.Step || !f.asked(d.Config) {
			continue
		}
		text, err := formValue(c, f.Name, 100)
		if err != nil {
			return err
		}
		d.Typed[f.Name] = text
		if err := f.set(&cfg, text); err != nil && first == nil {
			first = err
		}
	}
	switch d.Step {
	case stepParts:
		cfg.Parts = nil
		for _, p := range c.PostFormArray("parts") {
			cfg.Parts = append(cfg.Parts, loop.Stage(p))
		}
		if len(cfg.Parts) == 0 {
			first = bad("parts", "choose at least one")
		}
		cfg.Base = d.Typed["base"]
		cfg.Retrain = false
		if !cfg.Has(loop.StageReward) || cfg.Has(loop.StageRank) {
			cfg.Snapshot = ""
		}
		if cfg.Has(loop.StageReward) || !cfg.Has(loop.StagePPO) {
			cfg.RewardModel = ""
		}
	case stepData:
		if cfg.Has(loop.StageReward) && !cfg.Has(loop.StageRank) {
			cfg.Snapshot = d.Typed["snapshot"]
		}
		if cfg.Has(loop.StagePPO) && !cfg.Has(loop.StageReward) {
			cfg.RewardModel = d.Typed["reward_model"]
		}
	case stepGates:
		if v := d.Typed["promotion"]; v != "" {
			cfg.Promotion = v
		}
	case stepTraining:
		cfg.PPO.MaxTokens = cfg.MaxTokens
		cfg.PPO.Chunk = min(cfg.PPO.Chunk, max(1, cfg.PPO.Rollouts))
		if _, err := hours(d.Hours); err != nil && first == nil {
			first = err
		}
	}
	if first == nil {
		d.Config = cfg
	} else if d.Step == stepParts {
		d.Config.Parts = cfg.Parts // the boxes stay ticked
	}
	return first
}

// hours reads the budget of time, in seconds; empty is none.
func hours(text string) (seconds float64, err error) {
	if text = strings.TrimSpace(text); text == "" {
		return 0, nil
	}
	h, err := strconv.ParseFloat(text, 64)
	if err != nil || !(h >= 0 && h <= 10000) {
		return 0, bad("hours", "must be a number from 0 to 10000")
	}
	return h * 3600, nil
}

// setUpRound takes a step: it checks what was typed and shows the next one, or the same with what is wrong beside the field, or carries
// out what the summary was asked for.
func (s *server) setUpRound(c *gin.Context) {
	d, err := s.readWizard(c)
	act := c.PostForm("go")
	switch {
	case act == "preset" && d.Step == stepTraining:
		s.takePreset(c, d)
		return
	case err == nil:
		err = s.checkStep(d)
	}
	if back, ok := strings.CutPrefix(act, "to:"); ok && stepAt(back) >= 0 && (err == nil || stepAt(back) < d.At) {
		d.Step = back
		s.showWizard(c, http.StatusOK, d)
		return
	}
	if err != nil {
		s.showFault(c, d, err)
		return
	}
	switch act {
	case "start":
		err = s.startSetup(c, d)
	case "schedule", "preview":
		err = s.scheduleSetup(c, &d, act == "preview")
	case "save", "change":
		err = s.saveSetup(c, d, act == "change")
	default:
		d.Step = wizardSteps[min(d.At+1, len(wizardSteps)-1)].ID
	}
	switch {
	case err != nil:
		s.showFault(c, d, err)
	case !c.Writer.Written() && c.Writer.Status() == http.StatusOK:
		s.showWizard(c, http.StatusOK, d)
	}
}

func stepAt(id string) int {
	return slices.IndexFunc(wizardSteps, func(st struct {
		ID   string
		Name sentence
	}) bool {
		return st.ID == id
	})
}

// checkStep looks at the settings as far as they were asked for: a fault of a step that is still to come is shown there.
func (s *server) checkStep(d wizardData) error {
	err := checkRound(d.Config)
	if f, ok := faultOf(err); ok && stepAt(f.Step) > d.At {
		return nil
	}
	return err
}

// takePreset fills the fields of PPO with published values.
func (s *server) takePreset(c *gin.Context, d wizardData) {
	p, err := ppo.Preset(d.Typed["preset"])
	if err != nil {
		s.showFault(c, d, bad("preset", "is none of those that are offered"))
		return
	}
	p.Seed, p.MaxTokens = d.Config.PPO.Seed, d.Config.MaxTokens
	d.Config.PPO, d.Preset = p, d.Typed["preset"]
	for name := range d.Typed {
		if strings.HasPrefix(name, "ppo.") {
			delete(d.Typed, name)
		}
	}
	s.showWizard(c, http.StatusOK, d)
}

// fit is the configuration that is started: with as much of PPO as the budget of time leaves room for.
func (s *server) fit(ctx context.Context, d wizardData) (loop.Config, error) {
	seconds, err := hours(d.Hours)
	if err != nil || seconds == 0 {
		return d.Config, err
	}
	cfg, _, err := s.Loop.Fit(ctx, s.ProjectID, d.Config, seconds)
	return cfg, err
}

func (s *server) startSetup(c *gin.Context, d wizardData) error {
	cfg, err := s.fit(c.Request.Context(), d)
	if err != nil {
		return err
	}
	r, err := s.Loop.Start(c.Request.Context(), s.ProjectID, actor(c), cfg)
	if err == nil {
		done(c, "/admin/rounds/"+url.PathEscape(r.ID), "started")
	}
	return err
}

// scheduleSetup adds a schedule, or only shows when it would be looked at.
func (s *server) scheduleSetup(c *gin.Context, d *wizardData, preview bool) error {
	cfg, err := s.fit(c.Request.Context(), *d)
	if err != nil {
		return err
	}
	sc := loop.Schedule{ProjectID: s.ProjectID, Cron: d.Typed["cron"], TimeZone: d.Typed["time_zone"], Config: cfg, CreatedBy: actor(c)}
	if v := strings.TrimSpace(d.Typed["rankings"]); v != "" {
		if sc.Rankings, err = strconv.Atoi(v); err != nil {
			return bad("rankings", "must be a whole number")
		}
	}
	if v := strings.TrimSpace(d.Typed["accuracy_below"]); v != "" {
		percent, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return bad("accuracy_below", "must be a number")
		}
		sc.AccuracyBelow = percent / 100
		if sc.AccuracyBelow > 0 && sc.Config.Relabel.Below == 0 { // the figure that it waits for must be measured
			sc.Config.Relabel.Below = sc.AccuracyBelow
		}
	}
	if preview {
		if sc, err = sc.Checked(); err == nil {
			d.Next = sc.Next(time.Now(), nextRuns)
			d.Zone, err = time.LoadLocation(sc.TimeZone)
		}
		return err
	}
	if _, err := s.Loop.AddSchedule(c.Request.Context(), sc); err != nil {
		return err
	}
	done(c, "/admin", "scheduled")
	return nil
}

func (s *server) saveSetup(c *gin.Context, d wizardData, change bool) error {
	t := loop.Template{ProjectID: s.ProjectID, Name: d.Typed["name"], Config: d.Config}
	if change && d.Setup != nil {
		t.ID = d.Setup.ID
	}
	saved, err := s.Loop.SaveTemplate(c.Request.Context(), t, actor(c))
	if errors.Is(err, loop.ErrConflict) {
		return bad("name", "is that of another setup")
	}
	if err == nil {
		done(c, "/admin/rounds/new?setup="+url.QueryEscape(saved.ID), "setup")
	}
	return err
}

func (s *server) removeSetup(c *gin.Context) {
	if err := s.Loop.RemoveTemplate(c.Request.Context(), s.ProjectID, c.Param("id"), actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/rounds/new", "setupless")
}

// overrideGate lets a round go on that a gate holds.
func (s *server) overrideGate(c *gin.Context) {
	reason, err := formValue(c, "reason", 4000)
	if err == nil {
		err = s.Loop.Override(c.Request.Context(), c.Param("id"), actor(c), reason)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/rounds/"+url.PathEscape(c.Param("id")), "overridden")
}
