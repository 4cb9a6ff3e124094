package web

import (
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/setting"
)

func (s *server) settingRoutes() {
	s.route(admins, get, "/admin/settings", s.settingsPage)
	s.route(admins, post, "/admin/settings", s.changeSetting)
	s.route(admins, post, "/admin/settings/undo", s.undoSetting)
}

// settingChanges is how many changes a page of the history has.
const settingChanges = 50

type settingsData struct {
	Settings []setting.Value
	Only     setting.Name // whose history is shown; empty: all
	History  []setting.Change
	Older    int64 // id to go on from; 0: no more
	Names    map[string]string

	Error  string
	Wrong  setting.Name // which form was refused; what was typed stands in it
	Typed  string
	Reason string
}

// Title names the setting of a change; one that is no more has its name only.
func (d settingsData) Title(n setting.Name) string {
	for _, v := range d.Settings {
		if v.Name == n {
			return v.Title
		}
	}
	return string(n)
}

// Shown is what the field of a setting holds.
func (d settingsData) Shown(v setting.Value) string {
	if d.Wrong == v.Name {
		return d.Typed
	}
	return setting.Text(v.Value)
}

// Text is a value as it is typed.
func (settingsData) Text(v float64) string { return setting.Text(v) }

// Step is what a field counts in.
func (settingsData) Step(v setting.Value) string {
	if v.Fraction {
		return "any"
	}
	return "1"
}

func (s *server) settingsPage(c *gin.Context) { s.showSettings(c, http.StatusOK, settingsData{}) }

func (s *server) showSettings(c *gin.Context, code int, d settingsData) {
	ctx := c.Request.Context()
	only, err := textParam(c.Query("name"))
	if err != nil {
		s.fail(c, err)
		return
	}
	d.Only = setting.Name(only)
	var before int64
	if b := c.Query("before"); b != "" {
		if before, err = strconv.ParseInt(b, 10, 64); err != nil || before < 1 {
			s.fail(c, bad("before", "must be a positive number"))
			return
		}
	}
	if d.Settings, err = s.Settings.List(ctx); err == nil {
		d.History, err = s.Settings.History(ctx, d.Only, before, settingChanges)
	}
	if err == nil {
		d.Names, err = s.names(ctx)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if n := len(d.History); n == settingChanges {
		d.Older = d.History[n-1].ID
	}
	s.render(c, code, "settings", view{Title: "Settings", Nav: "ops", Note: note(c), Data: d})
}

// changeSetting sets one setting, or with "default" takes its default again.
func (s *server) changeSetting(c *gin.Context) {
	var name, value, was, reason, usual string
	if err := formValues(c, map[string]*string{"name": &name, "value": &value, "was": &was, "reason": &reason, "default": &usual}); err != nil {
		s.fail(c, err)
		return
	}
	err := s.setSetting(c, setting.Name(name), value, was, reason, usual != "")
	if err == nil {
		done(c, "/admin/settings", "settings")
		return
	}
	if wrong := s.mendable(c, err); wrong != nil {
		s.showSettings(c, wrong.Status, settingsData{Error: wrong.Detail, Wrong: setting.Name(name), Typed: value, Reason: reason})
	}
}

func (s *server) setSetting(c *gin.Context, name setting.Name, value, was, reason string, usual bool) error {
	n := setting.NewChange{Name: name, Actor: actor(c), Reason: reason, Was: &was}
	if !usual {
		d, err := s.Settings.Definition(name)
		if err != nil {
			return err
		}
		v, err := d.Parse(value)
		if err != nil {
			return err
		}
		n.Value = &v
	}
	return s.Settings.Set(c.Request.Context(), n)
}

// undoSetting puts back what held before a change.
func (s *server) undoSetting(c *gin.Context) {
	id, err := strconv.ParseInt(c.PostForm("id"), 10, 64)
	if err != nil || id < 1 {
		s.fail(c, bad("id", "must be a positive number"))
		return
	}
	if err := s.Settings.Undo(c.Request.Context(), id, actor(c), s.say(c, "put back")); err != nil {
		if wrong := s.mendable(c, err); wrong != nil {
			s.showSettings(c, wrong.Status, settingsData{Error: wrong.Detail})
		}
		return
	}
	done(c, "/admin/settings", "settings")
}
