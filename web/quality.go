package web

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/setting"
)

func (s *server) qualityRoutes() {
	s.route(labelers, post, "/label/api/assignments/:id/report", s.report)
	s.route(labelers, post, "/label/cord", s.pullCord)
	s.route(labelers, get, "/label/qualify", s.qualifyPage)
	s.route(labelers, post, "/label/qualify", s.qualifyNext)
	s.route(labelers, post, "/label/qualify/:id", s.qualifyAnswer)
	s.route(admins, post, "/admin/cord/release", s.releaseCord)

	s.route(reviewers, get, "/review", s.reviewPage)
	s.route(reviewers, get, "/review/:id", s.casePage)
	s.route(reviewers, post, "/review/:id", s.decideCase)

	s.route(admins, get, "/admin/quality", s.trustPage)
	s.route(admins, post, "/admin/quality/settings", s.setQuality)
	s.route(admins, post, "/admin/quality/quarantine", s.quarantine)
	s.route(admins, post, "/admin/quality/restore", s.restore)
	s.route(admins, post, "/admin/quality/gold", s.markGold)
}

type reportBody struct {
	Kind string `json:"kind"` // unsafe, pii or other
	Text string `json:"text"`
}

func (s *server) report(c *gin.Context) {
	if s.limited(c, s.labels, s.Settings.Int(setting.LabelsPerMinute)) {
		return
	}
	var b reportBody
	err := readJSON(c, &b, false)
	if err == nil {
		err = s.Labeling.Report(c.Request.Context(), c.Param("id"), user(c).ID, b.Kind, b.Text)
	}
	s.noContent(c, err)
}

// pulledCord is a pulled cord as the page of rounds shows it.
type pulledCord struct {
	loop.Cord
	Project string // its name; empty where it is the server's own
}

func (s *server) cords(ctx context.Context) ([]pulledCord, error) {
	list, err := s.Loop.Cords(ctx)
	var out []pulledCord
	for _, k := range list {
		p := labeling.Project{}
		if k.ProjectID != s.ProjectID && err == nil {
			p, err = s.Labeling.Project(ctx, k.ProjectID)
		}
		out = append(out, pulledCord{k, p.Name})
	}
	return out, err
}

// pullCord stops the training of the project that the labeler works in.
func (s *server) pullCord(c *gin.Context) {
	if s.limited(c, s.labels, s.Settings.Int(setting.LabelsPerMinute)) {
		return
	}
	reason, err := formValue(c, "reason", 1000)
	var id string
	if err == nil {
		id, err = formValue(c, "project", 100)
	}
	if err == nil && id != "" && id != s.ProjectID {
		_, err = s.openProject(c, id)
	}
	if err == nil {
		err = s.Loop.PullCord(c.Request.Context(), cmp.Or(id, s.ProjectID), actor(c), reason)
	}
	s.redirect(c, err, "/label", "cord")
}

func (s *server) releaseCord(c *gin.Context) {
	id, err := formValue(c, "project", 100)
	if err == nil {
		err = s.Loop.ReleaseCord(c.Request.Context(), cmp.Or(id, s.ProjectID), actor(c))
	}
	s.redirect(c, err, "/admin", "cordoff")
}

// redirect ends a form's act.
func (s *server) redirect(c *gin.Context, err error, path, note string) {
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, path, note)
}

// maxCases is how many cases a page shows.
const maxCases = 100

type reviewData struct {
	scope
	Cases []labeling.Case
}

func (s *server) reviewPage(c *gin.Context) {
	var d reviewData
	var err error
	if d.scope, err = s.scope(c); err == nil {
		d.Cases, err = s.Labeling.Cases(c.Request.Context(), d.Project.ID, maxCases)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "review", view{Title: "Review", Nav: "review", Note: note(c), Data: d})
}

type caseData struct {
	scope
	labeling.CaseFile
	Names map[string]string // of labelers, by "user:<id>"
}

func (s *server) casePage(c *gin.Context) {
	var d caseData
	var err error
	if d.scope, err = s.scope(c); err == nil {
		d.CaseFile, err = s.Labeling.CaseFile(c.Request.Context(), d.Project.ID, c.Param("id"))
	}
	if err == nil {
		d.Names, err = s.names(c.Request.Context())
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "case", view{Title: "Review a task", Nav: "review", Data: d})
}

func (s *server) decideCase(c *gin.Context) {
	at, err := s.scope(c)
	v := labeling.Verdict{ProjectID: at.Project.ID, TaskID: c.Param("id"), Decision: c.PostForm("decision")}
	if err == nil {
		v.Note, err = formValue(c, "note", 10_000)
	}
	if err == nil {
		v.Ranks, err = formRanks(c)
	}
	if err == nil {
		err = s.Labeling.Decide(c.Request.Context(), v, user(c).ID)
	}
	s.redirect(c, err, "/review"+at.Q, "decided")
}

// formRanks reads ranks such as "1 2 2 4", in the task's own order; none where the field is empty.
func formRanks(c *gin.Context) ([]int, error) {
	text, err := formValue(c, "ranks", 100)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, f := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' }) {
		n, err := strconv.Atoi(f)
		if err != nil || len(out) == labeling.MaxAnswers {
			return nil, bad("ranks", "must be a rank for each answer, such as 1 2 2 4")
		}
		out = append(out, n)
	}
	return out, nil
}

type trustData struct {
	scope
	Labelers []labeling.LabelerQuality
	Settings labeling.QualitySettings
	Gold     []labeling.Gold
	Names    map[string]string
}

func (s *server) trustPage(c *gin.Context) {
	ctx := c.Request.Context()
	var d trustData
	var err error
	if d.scope, err = s.scope(c); err == nil {
		d.Labelers, err = s.Labeling.Labelers(ctx, d.Project.ID)
	}
	if err == nil {
		d.Settings, err = s.Labeling.QualitySettings(ctx, d.Project.ID)
	}
	if err == nil {
		d.Gold, err = s.Labeling.GoldTasks(ctx, d.Project.ID, "", 200)
	}
	if err == nil {
		d.Names, err = s.names(ctx)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "quality", view{Title: "Quality", Nav: "people", Note: note(c), Data: d})
}

func (s *server) setQuality(c *gin.Context) {
	at, err := s.scope(c)
	var q labeling.QualitySettings
	if err == nil {
		q, err = s.Labeling.QualitySettings(c.Request.Context(), at.Project.ID)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	for name, at := range map[string]*float64{"gold_rate": &q.GoldRate, "pass_pairs": &q.PassPairs, "pass_flags": &q.PassFlags, "random_share": &q.RandomShare,
		"policy_share": &q.PolicyShare} {
		if v := c.PostForm(name); v != "" {
			if *at, err = strconv.ParseFloat(v, 64); err != nil {
				s.fail(c, bad(name, "must be a number"))
				return
			}
		}
	}
	for name, at := range map[string]*int{"control_after": &q.ControlAfter, "retry_hours": &q.RetryHours, "attempts": &q.Attempts, "test_items": &q.TestItems} {
		if v := c.PostForm(name); v != "" {
			if *at, err = strconv.Atoi(v); err != nil {
				s.fail(c, bad(name, "must be a whole number"))
				return
			}
		}
	}
	if v := c.PostForm("quarantine"); v != "" {
		q.Quarantine = v
	}
	if v := c.PostForm("qualify"); v != "" {
		q.Qualify = v == "yes"
	}
	s.redirect(c, s.Labeling.SetQualitySettings(c.Request.Context(), at.Project.ID, q, actor(c)), "/admin/quality"+at.Q, "settings")
}

func (s *server) quarantine(c *gin.Context) {
	at, err := s.scope(c)
	var who, reason string
	if err == nil {
		who, err = formValue(c, "labeler", 300)
	}
	if err == nil {
		reason, err = formValue(c, "reason", 1000)
	}
	if err == nil {
		_, err = s.Labeling.Quarantine(c.Request.Context(), at.Project.ID, who, reason, actor(c))
	}
	s.redirect(c, err, "/admin/quality"+at.Q, "quarantined")
}

func (s *server) restore(c *gin.Context) {
	at, err := s.scope(c)
	var who string
	if err == nil {
		who, err = formValue(c, "labeler", 300)
	}
	if err == nil {
		_, err = s.Labeling.ReleaseQuarantine(c.Request.Context(), at.Project.ID, who, actor(c))
	}
	s.redirect(c, err, "/admin/quality"+at.Q, "restored")
}

func (s *server) markGold(c *gin.Context) {
	g := labeling.Gold{TaskID: c.PostForm("task"), Stage: c.PostForm("stage")}
	at, err := s.scope(c)
	if err == nil {
		g.Explanation, err = formValue(c, "explanation", 10_000)
	}
	if err == nil {
		g.Ranks, err = formRanks(c)
	}
	if flags := strings.TrimSpace(c.PostForm("flagged")); err == nil && flags != "" { // such as "0 1 0"
		for _, f := range strings.Fields(flags) {
			g.Flagged = append(g.Flagged, f == "1")
		}
	}
	if err == nil {
		err = s.Labeling.MarkGold(c.Request.Context(), g, actor(c))
	}
	s.redirect(c, err, "/admin/quality"+at.Q, "gold")
}
