package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/model/remote"
	"github.com/rankloop/rankloop/ppo/loop"
)

const enginesPath = "/admin/engines"

func (s *server) engineRoutes() {
	s.route(admins, get, enginesPath, s.enginesPage)
	s.route(admins, post, enginesPath, s.saveEngine)
	s.route(admins, get, enginesPath+"/:id", s.otherEnginePage)
	s.route(admins, post, enginesPath+"/:id", s.saveEngine)
	s.route(admins, post, enginesPath+"/:id/enable", s.switchEngine(true))
	s.route(admins, post, enginesPath+"/:id/disable", s.switchEngine(false))
	s.route(admins, post, enginesPath+"/:id/remove", s.storeAct(s.Loop.RemoveEngine, enginesPath, "engineless"))
	s.stream(admins, post, enginesPath+"/:id/test", s.testEngine)
}

// engineErrors say why another engine gave no answer, and what mends it. None repeats what the engine said.
var engineErrors = map[remote.Kind]sentence{
	remote.Unreachable: "There was no connection, or it broke: does the server run, and is the address right?",
	remote.Forbidden:   "The address may not be asked: public ones are by https alone, private ones where the operator allows them (--engine-networks).",
	remote.Late:        "There was no answer within the time limit: give it longer, or ask for fewer tokens.",
	remote.Key:         "The engine does not take the key.",
	remote.Missing:     "The engine knows no such model or address: the address is what stands before /chat/completions.",
	remote.Busy:        "The engine wants to be asked less often.",
	remote.Refused:     "The engine refuses the request.",
	remote.Failed:      "The engine failed.",
	remote.Redirect:    "The engine sends its callers elsewhere, which is not followed: enter the address that it names.",
	remote.Garbled:     "What came is no chat completion: is it a server with OpenAI's API?",
	remote.Large:       "The answer was too large.",
	remote.Empty:       "The answer was without text.",
	loop.EngineBudget:  "The budget of the day is used up.",
}

type enginesData struct {
	Engines []engineRow
	Form    engineForm
	Error   string
}

type engineRow struct {
	loop.Engine
	Why   string // of the last failure; empty: none
	Share int    // of the budget used today, percent
}

// engineForm is what the form shows: as typed, where it was refused.
type engineForm struct {
	loop.Engine
	Seconds int
}

func rowOf(e loop.Engine) engineRow {
	return engineRow{Engine: e, Why: string(engineErrors[e.Error]), Share: int(min(100, 100*e.Today.Tokens/max(1, e.DailyTokens)))}
}

func (s *server) enginesPage(c *gin.Context) {
	s.showEngines(c, http.StatusOK, enginesData{Form: engineForm{Seconds: int(loop.DefaultEngineTimeout.Seconds()),
		Engine: loop.Engine{Answers: 1, MaxTokens: loop.DefaultEngineTokens, DailyTokens: loop.DefaultEngineBudget}}})
}

func (s *server) showEngines(c *gin.Context, code int, d enginesData) {
	list, err := s.Loop.Engines(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, e := range list {
		d.Engines = append(d.Engines, rowOf(e))
	}
	s.render(c, code, "engines", view{Title: "Other engines", Nav: "models", Note: note(c), Data: d})
}

type otherEngineData struct {
	Row    engineRow
	Form   engineForm
	Error  string
	Tested string // what a test has just shown
}

func (s *server) otherEnginePage(c *gin.Context) {
	s.showOtherEngine(c, http.StatusOK, otherEngineData{})
}

func (s *server) showOtherEngine(c *gin.Context, code int, d otherEngineData) {
	e, err := s.Loop.Engine(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	d.Row = rowOf(e)
	if d.Form.ID == "" {
		d.Form = engineForm{e, int(e.Timeout.Seconds())}
	}
	s.render(c, code, "other_engine", view{Title: e.Name, Nav: "models", Note: note(c), Data: d})
}

// saveEngine adds an engine, or changes the one of the address.
func (s *server) saveEngine(c *gin.Context) {
	id := c.Param("id")
	change := loop.EngineChange{Engine: loop.Engine{ID: id, Customers: c.PostForm("customers") == "yes", Enabled: c.PostForm("enabled") == "yes"},
		DropKey: c.PostForm("drop_key") == "yes", Actor: actor(c)}
	for _, f := range []struct {
		name string
		at   *string
		most int
	}{{"name", &change.Name, 400}, {"url", &change.URL, 2000}, {"model", &change.Model, 1000}, {"key", &change.Key, 4096}} {
		var err error
		if *f.at, err = formValue(c, f.name, f.most); err != nil {
			s.fail(c, err)
			return
		}
	}
	form := engineForm{Engine: change.Engine}
	err := numbers(c, map[string]*int{"answers": &form.Answers, "max_tokens": &form.MaxTokens, "timeout": &form.Seconds})
	if err == nil {
		form.DailyTokens, err = strconv.ParseInt(c.PostForm("daily_tokens"), 10, 64)
		if err != nil {
			err = bad("daily_tokens", "must be a whole number")
		}
	}
	if err == nil {
		change.Answers, change.MaxTokens, change.DailyTokens, change.Timeout = form.Answers, form.MaxTokens, form.DailyTokens, time.Duration(form.Seconds)*time.Second
		_, err = s.Loop.SaveEngine(c.Request.Context(), change)
	}
	p, known := problemOf(err)
	switch {
	case err == nil:
		done(c, enginesPath, "engine")
	case !known || p.Status >= 500 || p.Status == http.StatusNotFound:
		s.fail(c, err)
	case id == "":
		s.showEngines(c, p.Status, enginesData{Form: form, Error: p.in(s.language(c)).Detail})
	default:
		s.showOtherEngine(c, p.Status, otherEngineData{Form: form, Error: p.in(s.language(c)).Detail})
	}
}

// numbers reads fields of a form that are whole numbers.
func numbers(c *gin.Context, into map[string]*int) error {
	for name, at := range into {
		var err error
		if *at, err = strconv.Atoi(c.PostForm(name)); err != nil {
			return bad(name, "must be a whole number")
		}
	}
	return nil
}

func (s *server) switchEngine(on bool) gin.HandlerFunc {
	return s.storeAct(func(ctx context.Context, id, actor string) error { return s.Loop.EnableEngine(ctx, id, actor, on) }, enginesPath, "engine")
}

// testEngine asks an engine now. It may take as long as the engine's time limit allows, three times.
func (s *server) testEngine(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), 2*time.Minute)
	defer cancel()
	controller(c).SetWriteDeadline(time.Now().Add(2*time.Minute + 5*time.Second)) // writers without deadlines (tests) say so; that is fine
	took, err := s.Loop.TestEngine(ctx, c.Param("id"), actor(c))
	var e *remote.Error
	var spent *loop.InvalidError
	l := s.language(c)
	switch {
	case err == nil:
		s.showOtherEngine(c, http.StatusOK, otherEngineData{Tested: s.say(c, "It answered after %s.", l.Duration(took.Seconds()))})
	case errors.As(err, &e):
		s.showOtherEngine(c, http.StatusOK, otherEngineData{Error: l.T(string(engineErrors[e.Kind]))})
	case errors.As(err, &spent):
		s.showOtherEngine(c, http.StatusOK, otherEngineData{Error: l.T(string(engineErrors[loop.EngineBudget]))})
	case ctx.Err() != nil:
		s.showOtherEngine(c, http.StatusOK, otherEngineData{Error: l.T(string(engineErrors[remote.Late]))})
	default:
		s.fail(c, err)
	}
}
