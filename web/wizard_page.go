package web

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/ppo/loop"
)

// Bounds of what the wizard offers.
const (
	nextRuns      = 5
	offeredModels = 100
)

// showFault shows the step that asks for what is wrong, with the reason beside it.
func (s *server) showFault(c *gin.Context, d wizardData, err error) {
	f, ok := faultOf(err)
	p, known := problemOf(err)
	if !known {
		p = bad("", "")
	}
	l := s.language(c)
	switch {
	case !ok && !known:
		s.fail(c, err)
		return
	case !ok:
		d.Alert = l.Found(p.Detail)
	case f.Step == "":
		d.Alert = l.Field(f.Field, f.Reason)
	default:
		f.Reason = l.Found(f.Reason)
		d.Fault, d.Step = f, f.Step
	}
	s.showWizard(c, p.Status, d)
}

// showWizard shows a step.
func (s *server) showWizard(c *gin.Context, code int, d wizardData) {
	ctx := c.Request.Context()
	d.At = stepAt(d.Step)
	b, err := json.Marshal(d.Config)
	if err != nil {
		s.fail(c, err)
		return
	}
	d.JSON, d.Parts = string(b), loop.Parts
	d.Inputs = inputs(s.language(c), d.Step, d.Config, d.Typed, d.Fault)
	if err := s.offer(ctx, &d); err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, code, "round_new", view{Title: "Set up a round", Nav: "rounds", Note: note(c), Data: d})
}

// offer reads what a step lets people choose from.
func (s *server) offer(ctx context.Context, d *wizardData) (err error) {
	if d.Stock, err = s.Labeling.Material(ctx, s.ProjectID); err != nil {
		return err
	}
	switch d.Step {
	case stepParts:
		if d.Setups, err = s.Loop.Templates(ctx, s.ProjectID); err != nil {
			return err
		}
		for _, kind := range []string{registry.Policy, registry.SFT, registry.Base} {
			list, err := s.there(ctx, kind)
			if err != nil {
				return err
			}
			d.Bases = append(d.Bases, list...)
		}
	case stepData:
		if d.Snaps, err = s.Labeling.Snapshots(ctx, s.ProjectID, "", offeredModels); err != nil {
			return err
		}
		d.Rewards, err = s.there(ctx, registry.Reward)
	case stepTraining:
		d.Presets = ppo.Presets()
		d.Options = presetOptions(d)
	case stepSummary:
		err = s.summary(ctx, d)
	}
	return err
}

// there are the versions of a kind whose weights were not removed, the newest first.
func (s *server) there(ctx context.Context, kind string) (out []registry.Version, err error) {
	list, err := s.Registry.List(ctx, kind, offeredModels)
	for _, v := range list {
		if v.GoneAt == nil {
			out = append(out, v)
		}
	}
	return out, err
}

// presetOptions are the settings of PPO as the chosen preset has them, each with its meaning and source.
func presetOptions(d *wizardData) []ppo.Option {
	i := slices.Index(ppo.Columns(ppo.KindPPO), d.Preset)
	if i < 0 {
		return nil
	}
	all := ppo.Options(ppo.KindPPO)
	for j := range all {
		all[j].Values = all[j].Values[i : i+1]
	}
	return all
}

// summary estimates the round and reads what the start depends on.
func (s *server) summary(ctx context.Context, d *wizardData) error {
	var err error
	if d.New, err = s.Loop.NewRankings(ctx, s.ProjectID); err != nil {
		return err
	}
	rounds, err := s.Loop.List(ctx, s.ProjectID, 1)
	if err != nil {
		return err
	}
	d.Open = len(rounds) > 0 && !rounds[0].Stage.Ended()
	seconds, err := hours(d.Hours)
	if err == nil {
		_, d.Forecast, err = s.Loop.Fit(ctx, s.ProjectID, d.Config, seconds)
	}
	var own *loop.InvalidError
	if errors.As(err, &own) && otherFields[own.Field] != "" && d.Fault.Field == "" {
		d.Alert = own.Reason
	}
	if err != nil {
		d.Unknown = err.Error()
	}
	d.Total = d.Seconds + d.People
	return nil
}
