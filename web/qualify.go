package web

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/setting"
)

type qualifyData struct {
	Project labeling.Project
	Several bool
	labeling.Qualification
	Item     *labeling.QualifyItem // asked next; nil: nothing is
	Feedback *labeling.GradedItem  // of the practice item just answered
	Ranks    []int                 // to choose from
}

// qualifyPage shows the next item, or the result of the newest attempt.
func (s *server) qualifyPage(c *gin.Context) {
	if s.limited(c, s.calls, max(otherCallsPerMinute, 2*s.Settings.Int(setting.LabelsPerMinute))) {
		return
	}
	s.qualify(c, nil)
}

// qualify is about the project that the labeler works in.
func (s *server) qualify(c *gin.Context, feedback *labeling.GradedItem) {
	ctx := c.Request.Context()
	p, all, err := s.projects(c)
	if err == nil && p == nil {
		s.showProjects(c, all)
		return
	}
	d := qualifyData{Feedback: feedback}
	if err == nil {
		d.Project, d.Several = *p, len(all) > 1
	}
	// A passed or failed attempt is shown before another begins: that takes the button.
	if feedback == nil && err == nil {
		d.Qualification, err = s.Labeling.Qualification(ctx, d.Project.ID, user(c).ID)
		if err == nil && (d.Practice > 0 || d.Open || c.Request.Method == http.MethodPost) {
			var item labeling.QualifyItem
			item, err = s.Labeling.NextItem(ctx, d.Project.ID, user(c).ID)
			switch {
			case err == nil:
				d.Item = &item
				for n := range item.Answers {
					d.Ranks = append(d.Ranks, n+1)
				}
			case errors.Is(err, labeling.ErrEmpty):
				err = nil
			}
		}
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "qualify", view{Title: "Qualify", Nav: "label", Data: d})
}

// qualifyNext begins an attempt, or goes on with one.
func (s *server) qualifyNext(c *gin.Context) {
	if s.limited(c, s.labels, s.Settings.Int(setting.LabelsPerMinute)) {
		return
	}
	s.qualify(c, nil)
}

// qualifyAnswer takes the answer to an item. Practice is explained at once, the test when it is over.
func (s *server) qualifyAnswer(c *gin.Context) {
	if s.limited(c, s.labels, s.Settings.Int(setting.LabelsPerMinute)) {
		return
	}
	var ranks []int
	var flagged []bool
	for d := range labeling.MaxAnswers {
		at := strconv.Itoa(d)
		text := c.PostForm("rank" + at)
		if text == "" {
			break
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			s.fail(c, bad("rank"+at, "must be a whole number"))
			return
		}
		ranks, flagged = append(ranks, n), append(flagged, c.PostForm("flag"+at) == "yes")
	}
	p, all, err := s.projects(c)
	if err == nil && p == nil {
		s.showProjects(c, all)
		return
	}
	var item *labeling.GradedItem
	if err == nil {
		item, _, err = s.Labeling.AnswerItem(c.Request.Context(), p.ID, user(c).ID, c.Param("id"), ranks, flagged)
	}
	switch {
	case err != nil:
		s.fail(c, err)
	case item != nil:
		s.qualify(c, item)
	default:
		c.Redirect(http.StatusSeeOther, "/label/qualify?project="+url.QueryEscape(p.ID))
	}
}
