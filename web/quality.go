package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
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

	s.route(admins, get, "/admin/quality", s.qualityPage)
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
	if s.limited(c, s.labels, s.LabelsPerMinute) {
		return
	}
	var b reportBody
	err := readJSON(c, &b, false)
	if err == nil {
		err = s.Labeling.Report(c.Request.Context(), c.Param("id"), user(c).ID, b.Kind, b.Text)
	}
	s.noContent(c, err)
}

// cord is the pulled cord, nil where it is not.
func (s *server) cord(ctx context.Context) (*loop.Cord, error) {
	k, err := s.Loop.Cord(ctx, s.ProjectID)
	if errors.Is(err, loop.ErrNotFound) {
		return nil, nil
	}
	return &k, err
}

func (s *server) pullCord(c *gin.Context) {
	if s.limited(c, s.labels, s.LabelsPerMinute) {
		return
	}
	reason, err := formValue(c, "reason", 1000)
	if err == nil {
		err = s.Loop.PullCord(c.Request.Context(), s.ProjectID, actor(c), reason)
	}
	s.redirect(c, err, "/label", "cord")
}

func (s *server) releaseCord(c *gin.Context) {
	s.redirect(c, s.Loop.ReleaseCord(c.Request.Context(), s.ProjectID, actor(c)), "/admin", "cordoff")
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

func (s *server) reviewPage(c *gin.Context) {
	list, err := s.Labeling.Cases(c.Request.Context(), s.ProjectID, maxCases)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "review", view{Title: "Review", Nav: "review", Note: note(c), Data: list})
}

type caseData struct {
	labeling.CaseFile
	Names map[string]string // of labelers, by "user:<id>"
}

func (s *server) casePage(c *gin.Context) {
	f, err := s.Labeling.CaseFile(c.Request.Context(), s.ProjectID, c.Param("id"))
	d := caseData{CaseFile: f}
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
	v := labeling.Verdict{ProjectID: s.ProjectID, TaskID: c.Param("id"), Decision: c.PostForm("decision")}
	var err error
	if v.Note, err = formValue(c, "note", 10_000); err == nil {
		v.Ranks, err = formRanks(c)
	}
	if err == nil {
		err = s.Labeling.Decide(c.Request.Context(), v, user(c).ID)
	}
	s.redirect(c, err, "/review", "decided")
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

type qualityData struct {
	Labelers []labeling.LabelerQuality
	Settings labeling.QualitySettings
	Gold     []labeling.Gold
	Names    map[string]string
}

func (s *server) qualityPage(c *gin.Context) {
	ctx := c.Request.Context()
	var d qualityData
	var err error
	if d.Labelers, err = s.Labeling.Labelers(ctx, s.ProjectID); err == nil {
		d.Settings, err = s.Labeling.QualitySettings(ctx, s.ProjectID)
	}
	if err == nil {
		d.Gold, err = s.Labeling.GoldTasks(ctx, s.ProjectID, "", 200)
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
	q, err := s.Labeling.QualitySettings(c.Request.Context(), s.ProjectID)
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
	s.redirect(c, s.Labeling.SetQualitySettings(c.Request.Context(), s.ProjectID, q, actor(c)), "/admin/quality", "settings")
}

func (s *server) quarantine(c *gin.Context) {
	who, err := formValue(c, "labeler", 300)
	var reason string
	if err == nil {
		reason, err = formValue(c, "reason", 1000)
	}
	if err == nil {
		_, err = s.Labeling.Quarantine(c.Request.Context(), s.ProjectID, who, reason, actor(c))
	}
	s.redirect(c, err, "/admin/quality", "quarantined")
}

func (s *server) restore(c *gin.Context) {
	who, err := formValue(c, "labeler", 300)
	if err == nil {
		_, err = s.Labeling.ReleaseQuarantine(c.Request.Context(), s.ProjectID, who, actor(c))
	}
	s.redirect(c, err, "/admin/quality", "restored")
}

func (s *server) markGold(c *gin.Context) {
	g := labeling.Gold{TaskID: c.PostForm("task"), Stage: c.PostForm("stage")}
	var err error
	if g.Explanation, err = formValue(c, "explanation", 10_000); err == nil {
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
	s.redirect(c, err, "/admin/quality", "gold")
}
