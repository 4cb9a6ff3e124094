package web

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/health"
	"github.com/rankloop/rankloop/web/lang"
)

func (s *server) healthRoutes() {
	s.route(admins, get, "/admin/health", s.healthPage)
	s.route(admins, get, "/admin/api/health", s.healthNow)
	s.route(admins, get, "/api/v1/health", s.healthJSON)
}

// look looks at everything once, as the server that asks.
func (s *server) lookAtHealth(c *gin.Context) health.Report {
	var engine *health.Engine
	if e := s.engineState(); e.Version != "" {
		engine = &health.Engine{Model: e.Model, Running: e.Running, Places: e.Places, Waiting: e.Waiting, QueuePlaces: e.QueuePlaces,
			KVUsed: e.KVUsed, KVTotal: e.KVTotal, TokensPerS: e.Speed()}
	}
	return s.Health.Look(c.Request.Context(), engine, true)
}

// healthView is a report in the words of a language.
type healthView struct {
	At      time.Time      `json:"at"`
	State   health.State   `json:"state"`
	Verdict string         `json:"verdict"` // of the whole
	Checks  []checkView    `json:"checks"`
	Figures []figureView   `json:"figures"`
	Queues  []health.Queue `json:"queues"`
}

type checkView struct {
	Name   string       `json:"name"`
	Title  string       `json:"title"`
	State  health.State `json:"state"`
	Word   string       `json:"word"` // of State
	Found  string       `json:"found"`
	Advice string       `json:"advice"`
}

// figureView is a number that the page shows on top; Share fills a bar, below 0 there is none.
type figureView struct {
	Name  string  `json:"name"`
	Title string  `json:"title"`
	Value string  `json:"value"`
	Share float64 `json:"share"`
}

var healthStates = map[health.State]sentence{health.OK: "well", health.Warn: "look at it", health.Bad: "act now"}

var healthVerdicts = map[health.State]sentence{
	health.OK: "All is well.", health.Warn: "It works. Something should be looked at.", health.Bad: "Something endangers data or stands still.",
}

var healthFigures = map[string]sentence{
	"waiting": "Jobs that wait", "leases": "Tasks in hand", "engine": "Answers being written", "kv": "Memory for keys and values, MB", "speed": "Tokens a second of work",
	"memory": "Free memory", "disk": "Free on the disk", "database": "Size of the database", "connections": "Connections to Postgres", "heap": "Memory of this process",
}

// inWords says a report in a language, the worst first.
func inWords(l *lang.Language, r health.Report) healthView {
	v := healthView{At: r.At, State: r.State, Verdict: named(l, healthVerdicts, r.State), Queues: r.Figures.Queues}
	for _, c := range r.Checks {
		v.Checks = append(v.Checks, checkView{c.Name, l.T(c.Title()), c.State, named(l, healthStates, c.State), c.Found.In(l.T, l.Duration), c.Advice.In(l.T, l.Duration)})
	}
	worst := []health.State{health.Bad, health.Warn, health.OK}
	slices.SortStableFunc(v.Checks, func(a, b checkView) int {
		return cmp.Compare(slices.Index(worst, a.State), slices.Index(worst, b.State))
	})
	add := func(name, value string, share float64) {
		v.Figures = append(v.Figures, figureView{name, named(l, healthFigures, name), value, share})
	}
	f := r.Figures
	waiting := 0
	for _, q := range f.Queues {
		waiting += q.Waiting
	}
	add("waiting", grouped(int64(waiting)), -1)
	add("leases", grouped(int64(f.Leases.Open)), -1)
	if e := f.Engine; e != nil {
		add("engine", num(float64(e.Running))+" / "+num(float64(e.Places)), share(int64(e.Running), int64(e.Places)))
		add("kv", num(float64(e.KVUsed>>20))+" / "+num(float64(e.KVTotal>>20)), share(e.KVUsed, e.KVTotal))
		add("speed", num(e.TokensPerS), -1)
	}
	space := func(name string, s health.Space) {
		if s.Total > 0 {
			add(name, health.Size(s.Free)+" / "+health.Size(s.Total), share(s.Total-s.Free, s.Total))
		}
	}
	space("memory", f.Memory)
	space("disk", f.Disk)
	add("database", health.Size(f.DatabaseBytes), -1)
	add("connections", num(float64(f.Connections))+" / "+num(float64(f.ConnectionMax)), share(int64(f.Connections), int64(f.ConnectionMax)))
	add("heap", health.Size(f.HeapBytes), -1)
	return v
}

func share(part, of int64) float64 { return float64(part) / float64(max(of, 1)) }

func (s *server) healthPage(c *gin.Context) {
	s.render(c, http.StatusOK, "health", view{Title: "Health", Nav: "ops", Data: inWords(s.language(c), s.lookAtHealth(c))})
}

// healthNow is what the page shows, in its reader's language.
func (s *server) healthNow(c *gin.Context) {
	c.JSON(http.StatusOK, inWords(s.language(c), s.lookAtHealth(c)))
}

// healthJSON is the report for programs.
func (s *server) healthJSON(c *gin.Context) { c.JSON(http.StatusOK, s.lookAtHealth(c)) }
