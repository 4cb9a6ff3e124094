package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/setting"
)

// otherCallsPerMinute bounds what the labeling page asks for besides rankings: drafts, renewals, claims.
const otherCallsPerMinute = 600

// task is an assignment as the labeling page gets it.
type task struct {
	Assignment   string             `json:"assignment"`
	Project      string             `json:"project"`
	Question     string             `json:"question"` // its type
	Language     string             `json:"language"` // of the messages, BCP 47; "" = not known
	State        string             `json:"state"`    // leased, or reopened
	LeaseUntil   time.Time          `json:"lease_until"`
	LeaseSeconds int                `json:"lease_seconds"` // from now, for clocks that differ
	Messages     []labeling.Message `json:"messages"`
	Answers      []labeling.Answer  `json:"answers"`
	Instructions string             `json:"instructions"`
	Guideline    int                `json:"guideline"` // version of the instructions
	Unread       bool               `json:"unread"`    // the labeler has read an older version only
	Draft        *labeling.Draft    `json:"draft"`
	Warning      []string           `json:"warning,omitempty"` // what others reported of the task: the page veils it until it is asked for
	Done         int                `json:"done"`              // tasks this labeler has ranked
	Open         int                `json:"open"`              // tasks with an open slot, up to labeling.OpenLimit
}

// limited counts a call of the labeling page; a refused one does no work.
func (s *server) limited(c *gin.Context, l *limiter, perMinute int) bool {
	ok, _, _, wait := l.take(user(c).ID, perMinute)
	if !ok {
		p := status(http.StatusTooManyRequests, "too many requests; slow down")
		p.Retry = wait
		s.fail(c, p)
	}
	return !ok
}

func (s *server) claim(c *gin.Context) {
	s.inProject(c, s.Labeling.Claim)
}

func (s *server) undo(c *gin.Context) {
	s.inProject(c, s.Labeling.Reopen)
}

type projectBody struct {
	Project string `json:"project"` // "" = the server's own
}

// inProject carries out an act of the labeler in the project that the body names.
func (s *server) inProject(c *gin.Context, act func(ctx context.Context, projectID, labelerID string) (*labeling.Assignment, error)) {
	if s.limited(c, s.calls, max(otherCallsPerMinute, 2*s.Settings.Int(setting.LabelsPerMinute))) {
		return
	}
	var b projectBody
	err := readJSON(c, &b, true)
	if err == nil && b.Project != "" && b.Project != s.ProjectID {
		_, err = s.openProject(c, b.Project)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	a, err := act(c.Request.Context(), cmp.Or(b.Project, s.ProjectID), user(c).ID)
	s.sendTask(c, a, err)
}

func (s *server) sendTask(c *gin.Context, a *labeling.Assignment, err error) {
	if errors.Is(err, labeling.ErrEmpty) {
		c.Status(http.StatusNoContent)
		return
	}
	var open int
	if err == nil {
		open, err = s.Labeling.Open(c.Request.Context(), a.ProjectID)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, task{Warning: a.Warning, Assignment: a.ID, Project: a.ProjectID, Question: a.Question, Language: a.Language, State: a.State,
		LeaseUntil: a.LeaseUntil, LeaseSeconds: int(time.Until(a.LeaseUntil).Seconds()), Messages: a.Messages, Answers: append([]labeling.Answer{}, a.Answers...),
		Instructions: a.Instructions, Guideline: a.Guideline, Unread: a.Unread, Draft: a.Draft, Done: a.Done, Open: open})
}

// emptyBody refuses a body where none is wanted; an empty object is fine.
func (s *server) emptyBody(c *gin.Context) bool {
	if err := readJSON(c, &struct{}{}, true); err != nil {
		s.fail(c, err)
		return true
	}
	return false
}

type draftBody struct {
	Ranks    []int      `json:"ranks"`
	Ratings  []int      `json:"ratings"`
	Flags    [][]string `json:"flags"`
	Comment  string     `json:"comment"`
	Focus    int        `json:"focus"`
	Text     string     `json:"text"`
	Strength int        `json:"strength"`
}

func (s *server) saveDraft(c *gin.Context) {
	var b draftBody
	if s.limited(c, s.calls, max(otherCallsPerMinute, 2*s.Settings.Int(setting.LabelsPerMinute))) {
		return
	}
	err := readJSON(c, &b, false)
	if err == nil {
		err = s.Labeling.SaveDraft(c.Request.Context(), c.Param("id"), user(c).ID,
			labeling.Draft{Ranks: b.Ranks, Ratings: b.Ratings, Flags: b.Flags, Comment: b.Comment, Focus: b.Focus, Text: b.Text, Strength: b.Strength})
	}
	s.noContent(c, err)
}

type submitBody struct {
	Ranks    []int      `json:"ranks"`
	Ratings  []int      `json:"ratings"`
	Flags    [][]string `json:"flags"`
	Comment  string     `json:"comment"`
	Text     string     `json:"text"`
	Strength int        `json:"strength"`
	ActiveMS int64      `json:"active_ms"`
	WallMS   int64      `json:"wall_ms"`
}

func (s *server) submit(c *gin.Context) {
	if s.limited(c, s.labels, s.Settings.Int(setting.LabelsPerMinute)) {
		return
	}
	var b submitBody
	if err := readJSON(c, &b, false); err != nil {
		s.fail(c, err)
		return
	}
	if week := int64(7 * 24 * time.Hour / time.Millisecond); b.ActiveMS > week || b.WallMS > 52*week {
		s.fail(c, bad("/active_ms", "is longer than anybody works"))
		return
	}
	after := s.AfterSubmit
	if s.Awaited != nil && !s.Awaited(c.Request.Context()) {
		after = nil
	}
	r, err := s.Labeling.Submit(c.Request.Context(), labeling.SubmitInput{AssignmentID: c.Param("id"), LabelerID: user(c).ID, Ranks: b.Ranks,
		Ratings: b.Ratings, Flags: b.Flags, Comment: b.Comment, Text: b.Text, Strength: b.Strength, IdempotencyKey: c.GetHeader("Idempotency-Key"), ActiveMS: b.ActiveMS, WallMS: b.WallMS}, after)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{"ranking": r.ID, "surplus": r.Surplus, "revision": r.Revision})
}

type acknowledgeBody struct {
	Project string `json:"project"`
	Version int    `json:"version"`
}

// acknowledge notes that the labeler has read the new instructions.
func (s *server) acknowledge(c *gin.Context) {
	if s.limited(c, s.calls, max(otherCallsPerMinute, 2*s.Settings.Int(setting.LabelsPerMinute))) {
		return
	}
	var b acknowledgeBody
	err := readJSON(c, &b, false)
	if err == nil {
		err = s.Labeling.Acknowledge(c.Request.Context(), cmp.Or(b.Project, s.ProjectID), user(c).ID, b.Version)
	}
	s.noContent(c, err)
}

type skipBody struct {
	Reason string `json:"reason"`
}

func (s *server) skip(c *gin.Context) {
	if s.limited(c, s.labels, s.Settings.Int(setting.LabelsPerMinute)) {
		return
	}
	var b skipBody
	err := readJSON(c, &b, false)
	if err == nil {
		err = s.Labeling.Skip(c.Request.Context(), c.Param("id"), user(c).ID, b.Reason)
	}
	s.noContent(c, err)
}

func (s *server) renew(c *gin.Context) {
	if s.limited(c, s.calls, max(otherCallsPerMinute, 2*s.Settings.Int(setting.LabelsPerMinute))) || s.emptyBody(c) {
		return
	}
	a, err := s.Labeling.Renew(c.Request.Context(), c.Param("id"), user(c).ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{"lease_until": a.LeaseUntil, "lease_seconds": int(time.Until(a.LeaseUntil).Seconds())})
}

func (s *server) release(c *gin.Context) {
	if s.limited(c, s.calls, max(otherCallsPerMinute, 2*s.Settings.Int(setting.LabelsPerMinute))) || s.emptyBody(c) {
		return
	}
	var until time.Time
	if text := c.Query("until"); text != "" {
		var err error
		if until, err = time.Parse(time.RFC3339Nano, text); err != nil {
			s.fail(c, bad("until", "is not a time: the lease_until that came with the task is wanted"))
			return
		}
	}
	s.noContent(c, s.Labeling.ReleaseUntil(c.Request.Context(), c.Param("id"), user(c).ID, until))
}

func (s *server) noContent(c *gin.Context, err error) {
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}
