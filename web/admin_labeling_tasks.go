package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/audit"
)

// tasksShown is how many tasks a page of the list has.
const tasksShown = 50

type tasksData struct {
	labelingData
	Filter  labeling.TaskFilter
	Page    labeling.TaskPage
	Query   url.Values // of this page, without the preview
	Preview *labeling.TaskDetail
	States  []string
	Splits  []string
	Origins []string
}

// With is the address of the list with one parameter changed; an empty value takes it away.
func (d tasksData) With(name, value string) string {
	q := url.Values{}
	for k, v := range d.Query {
		q[k] = v
	}
	if q.Set(name, value); value == "" {
		q.Del(name)
	}
	if len(q) == 0 {
		return "/admin/labeling/tasks"
	}
	return "/admin/labeling/tasks?" + q.Encode()
}

func (s *server) tasksPage(c *gin.Context) {
	base, err := s.chosen(c, "tasks")
	if err != nil {
		s.fail(c, err)
		return
	}
	d := tasksData{labelingData: base, Query: url.Values{}, States: labeling.TaskStates, Splits: []string{labeling.Train, labeling.Valid, labeling.Test},
		Origins: []string{labeling.OriginAPI, labeling.OriginImport, labeling.OriginLabeler}}
	f := &d.Filter
	for name, at := range map[string]*string{"state": &f.State, "batch": &f.Batch, "split": &f.Split, "origin": &f.Origin, "customer": &f.CustomerID,
		"labeler": &f.LabelerID, "text": &f.Text, "before": &f.Before} {
		if *at, err = textParam(strings.TrimSpace(c.Query(name))); err != nil {
			s.fail(c, err)
			return
		}
		if *at != "" {
			d.Query.Set(name, *at)
		}
	}
	if d.Q != "" {
		d.Query.Set("project", d.Project.ID)
	}
	ctx := c.Request.Context()
	if d.Page, err = s.Labeling.Tasks(ctx, d.Project.ID, d.Filter, tasksShown); err != nil {
		s.fail(c, err)
		return
	}
	if id := c.Query("task"); id != "" {
		task, err := s.Labeling.TaskDetail(ctx, id)
		if err != nil {
			s.fail(c, err)
			return
		}
		d.Preview = &task
	}
	s.render(c, http.StatusOK, "labeling_tasks", view{Title: "Tasks", Nav: "labeling", Data: d})
}

type taskData struct {
	labelingData
	Task  labeling.TaskDetail
	Known map[string]string // names of model versions by id
	Steps []taskStep
}

// taskStep is a line of the task's history.
type taskStep struct {
	At     time.Time
	Who    string // id of a labeler, or an actor of the audit log
	What   string // claimed, an end state of an assignment, revised, or an act of the audit log
	Detail string
}

func (s *server) taskPage(c *gin.Context) {
	ctx := c.Request.Context()
	task, err := s.Labeling.TaskDetail(ctx, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	d := taskData{Task: task, Known: map[string]string{}}
	d.Tab, d.Project.ID = "tasks", task.ProjectID
	if d.Project, err = s.Labeling.Project(ctx, task.ProjectID); err != nil {
		s.fail(c, err)
		return
	}
	if task.ProjectID != s.ProjectID {
		d.Q = "?project=" + task.ProjectID
	}
	if d.Names, err = s.labelerNames(ctx); err != nil {
		s.fail(c, err)
		return
	}
	versions, err := s.Registry.List(ctx, "", 1000)
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, v := range versions {
		d.Known[v.ID] = v.Name
	}
	acts, err := s.Audit.Search(ctx, audit.Query{Subject: task.ID})
	if err != nil {
		s.fail(c, err)
		return
	}
	d.Steps = taskSteps(task, acts)
	s.render(c, http.StatusOK, "labeling_task", view{Title: "Task", Nav: "labeling", Data: d})
}

// taskSteps puts what was done with a task into the order of time.
func taskSteps(task labeling.TaskDetail, acts []audit.Entry) []taskStep {
	var steps []taskStep
	for _, w := range task.Work {
		steps = append(steps, taskStep{w.ClaimedAt, w.LabelerID, "claimed", ""})
		for _, r := range w.Revisions {
			what := "submitted"
			if r.Revision > 1 {
				what = "revised"
			}
			steps = append(steps, taskStep{r.CreatedAt, w.LabelerID, what, r.Comment})
		}
		if w.ClosedAt != nil && w.State != labeling.Submitted {
			steps = append(steps, taskStep{*w.ClosedAt, w.LabelerID, w.State, w.SkipReason})
		}
	}
	for _, a := range acts {
		steps = append(steps, taskStep{a.At, strings.TrimPrefix(a.Actor, "user:"), a.Act, ""})
	}
	slices.SortStableFunc(steps, func(a, b taskStep) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.What, b.What)) })
	return steps
}
