package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
)

// feedbackData is the admins' page of what customers said of answers.
type feedbackData struct {
	labelingData
	Rows   []labeling.Feedback
	Models map[string]string // names of versions by id
	Rating string            // good | bad | ""
	Kind   string
	Next   string // address of the next rows; "" = these are all
}

// Key is the API key by which something came; "" for the chat page.
func (d labelingData) Key(source string) string {
	if strings.HasPrefix(source, chatSource("")) {
		return ""
	}
	return source
}

func (s *server) feedbackPage(c *gin.Context) {
	ctx := c.Request.Context()
	chosen, err := s.chosen(c, "feedback")
	if err != nil {
		s.fail(c, err)
		return
	}
	d := feedbackData{labelingData: chosen, Rating: c.Query("rating"), Kind: c.Query("kind"), Models: map[string]string{}}
	before, err := textParam(c.Query("before"))
	if err != nil {
		s.fail(c, err)
		return
	}
	q := labeling.FeedbackFilter{ProjectID: d.Project.ID, Rating: map[string]int{"good": 1, "bad": -1}[d.Rating], Kind: d.Kind, Before: before, Limit: feedbackPageSize + 1}
	if d.Rows, err = s.Labeling.ListFeedback(ctx, q); err != nil {
		s.fail(c, err)
		return
	}
	if len(d.Rows) > feedbackPageSize {
		d.Rows = d.Rows[:feedbackPageSize]
		d.Next = "?" + url.Values{"project": {d.Project.ID}, "rating": {d.Rating}, "kind": {d.Kind}, "before": {d.Rows[feedbackPageSize-1].ID}}.Encode()
	}
	for _, f := range d.Rows {
		if _, seen := d.Models[f.ModelVersion]; seen {
			continue
		}
		d.Models[f.ModelVersion] = ""
		if v, err := s.Registry.Get(ctx, f.ModelVersion); err == nil { // one that is gone is called by its id
			d.Models[f.ModelVersion] = v.Name
		}
	}
	s.render(c, http.StatusOK, "labeling_feedback", view{Title: "Feedback", Nav: "labeling", Data: d})
}
