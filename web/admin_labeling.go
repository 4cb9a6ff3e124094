package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/reward"
)

func (s *server) labelingRoutes() {
	s.route(readers, get, "/admin/labeling", s.progressPage)
	s.route(readers, get, "/admin/labeling/agreement", s.agreementPage)
	s.route(readers, get, "/admin/labeling/quality", s.qualityPage)
	s.route(readers, get, "/admin/labeling/people/:id", s.labelerPage)
	s.route(readers, get, "/admin/labeling/tasks", s.tasksPage)
	s.route(insiders, get, "/admin/labeling/tasks/:id", s.taskPage)
	s.route(readers, get, "/admin/labeling/pay", s.payPage)
	s.route(readers, get, "/admin/labeling/pay.csv", s.exportPay("text/csv; charset=utf-8", payCSV))
	s.route(readers, get, "/admin/labeling/pay.json", s.exportPay("application/json", payJSON))
}

// How much of a long list a page shows.
const (
	labelersShown = 100
	dotsShown     = 40
	daysShown     = 60
	weeksShown    = 26
)

// scope is the project that a page is about, and those to change to.
type scope struct {
	Project  labeling.Project
	Projects []labeling.Project
	Q        string // "?project=<id>", empty for the server's own project
}

// scope reads the project that the address names.
func (s *server) scope(c *gin.Context) (v scope, err error) {
	if v.Project, err = s.Labeling.Project(c.Request.Context(), cmp.Or(c.Query("project"), s.ProjectID)); err != nil {
		return v, err
	}
	if v.Project.ID != s.ProjectID {
		v.Q = "?project=" + v.Project.ID
	}
	v.Projects, err = s.Labeling.Projects(c.Request.Context())
	return v, err
}

// labelingData is what the labeling pages share.
type labelingData struct {
	scope
	Tab   string
	D     *labeling.Dashboard
	Names map[string]string // of labelers by id
}

// Name is a labeler's name; one without an account is called by the id.
func (d labelingData) Name(id string) string {
	if n := d.Names[id]; n != "" {
		return n
	}
	return id
}

// chosen reads the project of a labeling page.
func (s *server) chosen(c *gin.Context, tab string) (labelingData, error) {
	d := labelingData{Tab: tab}
	var err error
	if d.scope, err = s.scope(c); err != nil {
		return d, err
	}
	d.Names, err = s.labelerNames(c.Request.Context())
	return d, err
}

func (s *server) labelerNames(ctx context.Context) (map[string]string, error) {
	users, err := s.Accounts.Users(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, 2*len(users))
	for _, u := range users {
		names[u.ID], names[labeling.CustomerLabeler(u.ID)] = u.Name, u.Name
	}
	return names, nil
}

// dashboard is chosen with the figures; D stays nil where none are computed yet.
func (s *server) dashboard(c *gin.Context, tab string) (labelingData, error) {
	d, err := s.chosen(c, tab)
	if err != nil {
		return d, err
	}
	stats, err := s.Labeling.Dashboard(c.Request.Context(), d.Project.ID)
	if errors.Is(err, labeling.ErrNotFound) {
		return d, nil
	}
	d.D = &stats
	return d, err
}

type stateCount struct {
	State string
	N     int
}

type progressData struct {
	labelingData
	States   []stateCount
	Days     []column
	PerDay   float64
	Left     int // rankings still asked for
	Until    time.Time
	HasRate  bool
	Labelers []labeling.LabelerStats // a page of them
	From     int                     // how many come before
	Next     int                     // where the next page begins; 0: there is none
}

func (s *server) progressPage(c *gin.Context) {
	base, err := s.dashboard(c, "progress")
	if err != nil {
		s.fail(c, err)
		return
	}
	d := progressData{labelingData: base}
	if v := c.Query("from"); v != "" {
		if d.From, err = strconv.Atoi(v); err != nil || d.From < 0 {
			s.fail(c, bad("from", "must be a whole number"))
			return
		}
	}
	if d.D != nil {
		d.fill()
	}
	s.render(c, http.StatusOK, "labeling", view{Title: "Labeling", Nav: "labeling", Data: d})
}

func (d *progressData) fill() {
	for _, state := range labeling.TaskStates {
		d.States = append(d.States, stateCount{state, d.D.States[state]})
	}
	d.Days = dayColumns(*d.D)
	d.Left = max(0, d.D.Need-d.D.Done)
	var days float64
	if d.PerDay, days, d.HasRate = d.D.Rate(); d.HasRate {
		d.Until = d.D.ComputedAt.Add(time.Duration(min(days, 36500) * 24 * float64(time.Hour)))
	}
	list := d.D.Labelers[min(d.From, len(d.D.Labelers)):]
	if len(list) > labelersShown {
		list, d.Next = list[:labelersShown], d.From+labelersShown
	}
	d.Labelers = list
}

// dayColumns are the days up to that of the figures, those without a ranking too.
func dayColumns(d labeling.Dashboard) []column {
	if len(d.Days) == 0 {
		return nil
	}
	counts := map[time.Time]int{}
	for _, day := range d.Days {
		counts[day.Day.UTC()] = day.Rankings
	}
	last := d.ComputedAt.UTC().Truncate(24 * time.Hour)
	first := d.Days[0].Day.UTC()
	if from := last.AddDate(0, 0, 1-daysShown); first.Before(from) {
		first = from
	}
	var out []column
	for day := first; !day.After(last); day = day.AddDate(0, 0, 1) {
		out = append(out, column{Label: day.Format("01-02"), Value: float64(counts[day])})
	}
	return out
}

type agreementData struct {
	labelingData
	Ceiling    float64 // accuracy that a perfect judge reaches on such labels
	Weeks      []dot
	Categories []dot
}

func (s *server) agreementPage(c *gin.Context) {
	base, err := s.dashboard(c, "agreement")
	if err != nil {
		s.fail(c, err)
		return
	}
	d := agreementData{labelingData: base}
	if d.D != nil {
		d.Ceiling = reward.Ceiling(d.D.Agreement.Pairwise)
		for _, w := range d.D.Weeks {
			if w.Pairs > 0 {
				d.Weeks = append(d.Weeks, dot{w.Of, w.Pairwise, w.CI[0], w.CI[1]})
			}
		}
		d.Weeks = d.Weeks[max(0, len(d.Weeks)-weeksShown):]
		for _, part := range d.D.Categories {
			if part.Pairs > 0 {
				d.Categories = append(d.Categories, dot{named(s.language(c), words, part.Of), part.Pairwise, part.CI[0], part.CI[1]})
			}
		}
	}
	s.render(c, http.StatusOK, "labeling_agreement", view{Title: "Agreement", Nav: "labeling", Data: d})
}

type qualityData struct {
	labelingData
	Agreement, Place, Longer []dot // of labelers, the most striking first
	Places                   []placePlot
	Times                    []column
	Labelers                 []labeling.LabelerStats
}

// placePlot is the mean rank by place for one number of answers.
type placePlot struct {
	K        int
	Rankings int
	Expected float64
	Columns  []column
}

func (s *server) qualityPage(c *gin.Context) {
	base, err := s.dashboard(c, "quality")
	if err != nil {
		s.fail(c, err)
		return
	}
	d := qualityData{labelingData: base}
	if d.D != nil {
		d.fill()
	}
	s.render(c, http.StatusOK, "labeling_quality", view{Title: "Quality", Nav: "labeling", Data: d})
}

func (d *qualityData) fill() {
	share := func(of func(labeling.LabelerStats) labeling.Share, less func(a, b dot) int) []dot {
		var out []dot
		for _, l := range d.D.Labelers {
			if v := of(l); v.N > 0 {
				out = append(out, dot{d.Name(l.LabelerID), v.Value, v.Low, v.High})
			}
		}
		slices.SortStableFunc(out, less)
		return out[:min(len(out), dotsShown)]
	}
	d.Agreement = share(func(l labeling.LabelerStats) labeling.Share { return l.Agreement }, func(a, b dot) int { return order(a.Value, b.Value) })
	d.Longer = share(func(l labeling.LabelerStats) labeling.Share { return l.Longer }, func(a, b dot) int { return order(b.Value, a.Value) })
	for _, l := range d.D.Labelers {
		if m := l.PlaceTau; m.N > 0 {
			d.Place = append(d.Place, dot{d.Name(l.LabelerID), m.Value, m.Low, m.High})
		}
	}
	slices.SortStableFunc(d.Place, func(a, b dot) int { return order(max(b.Value, -b.Value), max(a.Value, -a.Value)) })
	d.Place = d.Place[:min(len(d.Place), dotsShown)]
	for _, p := range d.D.Places {
		plot := placePlot{K: p.K, Rankings: p.Rankings, Expected: float64(p.K+1) / 2}
		for i, m := range p.Mean {
			plot.Columns = append(plot.Columns, column{string(rune('A' + i)), m, 1.96 * p.Error[i]})
		}
		d.Places = append(d.Places, plot)
	}
	d.Times = timeColumns(d.D.Times)
	d.Labelers = slices.Clone(d.D.Labelers)
	slices.SortStableFunc(d.Labelers, func(a, b labeling.LabelerStats) int {
		if (a.Agreement.N == 0) != (b.Agreement.N == 0) {
			return order(float64(b.Agreement.N), float64(a.Agreement.N))
		}
		return order(a.Agreement.Value, b.Agreement.Value)
	})
	d.Labelers = d.Labelers[:min(len(d.Labelers), labelersShown)]
}

func order(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// timeColumns names the bins of a Dashboard's Times by their upper ends.
func timeColumns(bins []int) []column {
	var out []column
	for i, n := range bins {
		label := upTo(1 << i)
		if i == len(bins)-1 {
			label = ">" + upTo(1<<(i-1))
		}
		out = append(out, column{Label: label, Value: float64(n)})
	}
	return out
}

// upTo is a time in whole seconds or minutes, short enough to stand under a column.
func upTo(seconds int) string {
	if seconds < 60 {
		return strconv.Itoa(seconds) + " s"
	}
	return strconv.Itoa(seconds/60) + " min"
}

type labelerData struct {
	labelingData
	ID    string
	Stats *labeling.LabelerStats // nil: nothing done in the project
}

func (s *server) labelerPage(c *gin.Context) {
	base, err := s.dashboard(c, "progress")
	if err != nil {
		s.fail(c, err)
		return
	}
	d := labelerData{labelingData: base, ID: c.Param("id")}
	if _, known := d.Names[d.ID]; !known {
		s.fail(c, labeling.ErrNotFound)
		return
	}
	if d.D != nil {
		for i, l := range d.D.Labelers {
			if l.LabelerID == d.ID {
				d.Stats = &d.D.Labelers[i]
			}
		}
	}
	s.render(c, http.StatusOK, "labeling_person", view{Title: d.Name(d.ID), Nav: "labeling", Data: d})
}
