package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

func (s *server) feedbackRoutes() {
	s.scoped(account.ScopeFeedback, post, "/v1/completions/:id/feedback", s.rated(s.giveFeedback))
	s.scoped(account.ScopeFeedback, post, "/v1/chat/completions/:id/feedback", s.rated(s.giveFeedback))
	s.scoped(account.ScopeFeedback, get, "/api/v1/feedback", s.rated(s.ownFeedback))
	s.scoped(account.ScopeFeedback, get, "/api/v1/consent", s.rated(s.readConsent))
	s.scoped(account.ScopeFeedback, put, "/api/v1/consent", s.rated(s.setConsent))
	s.scoped(account.ScopeFeedback, post, "/api/v1/erasures", s.rated(s.eraseOwn))
	s.route(readers, get, "/admin/labeling/feedback", s.feedbackPage)
}

// feedbackIn is the body of a feedback. Preferred is the number of the choice that is better than the others, or -1: none is.
type feedbackIn struct {
	Choice     *int     `json:"choice"`
	Rating     *int     `json:"rating"`
	Preferred  *int     `json:"preferred"`
	Correction string   `json:"correction"`
	Tags       []string `json:"tags"`
	Comment    string   `json:"comment"`
}

// tiedChoices as the preferred choice says that no choice is better than another.
const tiedChoices = -1

// read checks what the labeling room cannot know: that choice and preferred do not contradict each other.
func (in feedbackIn) read(completion, customer, source, key string) (labeling.NewFeedback, error) {
	n := labeling.NewFeedback{CompletionID: completion, CustomerID: customer, APIKeyID: source, IdempotencyKey: key, Correction: in.Correction, Tags: in.Tags, Comment: in.Comment}
	if in.Choice != nil {
		n.Choice = *in.Choice
	}
	if in.Rating != nil {
		if n.Rating = *in.Rating; n.Rating == 0 {
			return n, bad("/rating", "must be 1 (good) or -1 (bad), or be left out")
		}
	}
	if in.Preferred == nil {
		return n, nil
	}
	switch {
	case *in.Preferred == tiedChoices:
		n.Tied = true
	case in.Choice != nil && *in.Choice != *in.Preferred:
		return n, bad("/preferred", "must be the choice that is spoken of; send what you say of another one by itself")
	default:
		n.Choice, n.Preferred = *in.Preferred, true
	}
	return n, nil
}

// feedbackOut is a feedback as its customer sees it. Became says what it teaches: a task of the labelers, a comparison, a
// demonstration.
type feedbackOut struct {
	ID           string   `json:"id"`
	Object       string   `json:"object"` // completion.feedback
	CompletionID string   `json:"completion_id"`
	Created      int64    `json:"created"`
	User         string   `json:"user,omitempty"`
	Model        string   `json:"model_version"`
	Choice       int      `json:"choice"`
	Rating       *int     `json:"rating"`
	Preferred    *int     `json:"preferred"`
	Correction   string   `json:"correction"`
	Tags         []string `json:"tags"`
	Comment      string   `json:"comment"`
	Queued       bool     `json:"queued"` // labelers are asked, or will be as soon as there are answers to compare with
	Became       []string `json:"became"`
}

func feedbackView(f labeling.Feedback) feedbackOut {
	out := feedbackOut{ID: f.ID, Object: "completion.feedback", CompletionID: f.CompletionID, Created: f.CreatedAt.Unix(), User: f.EndUser, Model: f.ModelVersion,
		Choice: f.Choice, Correction: f.Correction, Tags: f.Tags, Comment: f.Comment, Queued: f.PromptID != "", Became: []string{}}
	if f.Rating != 0 {
		out.Rating = &f.Rating
	}
	switch tie := tiedChoices; {
	case f.Tied:
		out.Preferred = &tie
	case f.Preferred:
		out.Preferred = &f.Choice
	}
	for _, made := range []struct{ id, what string }{{f.TaskID, "task"}, {f.RankingID, "comparison"}, {f.DemonstrationID, "demonstration"}} {
		if made.id != "" {
			out.Became = append(out.Became, made.what)
		}
	}
	return out
}

// giveFeedback takes what a customer says of an answer of its own.
func (s *server) giveFeedback(c *gin.Context) {
	k := c.MustGet(apiKey).(account.Key)
	id, err := textParam(c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	var in feedbackIn
	if err := readJSON(c, &in, false); err != nil {
		s.fail(c, err)
		return
	}
	n, err := in.read(id, k.CustomerID, k.ID, c.GetHeader("Idempotency-Key"))
	if err != nil {
		s.fail(c, err)
		return
	}
	f, err := s.Labeling.AddFeedback(c.Request.Context(), n, s.Loop.SampleFeedback)
	switch {
	case errors.Is(err, labeling.ErrNotFound):
		s.fail(c, status(http.StatusNotFound, fmt.Sprintf("No completion '%s' is kept for feedback. Completions are kept for %d days, and only where training is allowed: turn it on for the key (PUT /api/v1/consent), or send \"metadata\": {\"training\": \"true\"} with the request.", clipRunes(id, 100), labeling.FeedbackDays)))
	case errors.Is(err, labeling.ErrConflict) && !frozenBy(err):
		s.fail(c, status(http.StatusConflict, "This Idempotency-Key came before with other words. Send each feedback under a key of its own, or without one."))
	case frozenBy(err):
		s.fail(c, status(http.StatusConflict, "The earlier preference is part of a snapshot that models are trained on; it cannot be changed any more."))
	case err != nil:
		s.fail(c, err)
	case f.Replayed:
		c.JSON(http.StatusOK, feedbackView(f))
	default:
		c.JSON(http.StatusCreated, feedbackView(f))
	}
}

func frozenBy(err error) bool {
	var frozen *labeling.FrozenError
	return errors.As(err, &frozen)
}

// feedbackPageSize is how many feedbacks come at a time.
const feedbackPageSize = 50

// ownFeedback lists what the asking key's customer has said, newest first.
func (s *server) ownFeedback(c *gin.Context) {
	before, err := textParam(c.Query("before"))
	if err != nil {
		s.fail(c, err)
		return
	}
	list, err := s.Labeling.ListFeedback(c.Request.Context(), labeling.FeedbackFilter{CustomerID: c.MustGet(apiKey).(account.Key).CustomerID, Before: before, Limit: feedbackPageSize + 1})
	if err != nil {
		s.fail(c, err)
		return
	}
	out, more := []feedbackOut{}, len(list) > feedbackPageSize
	for _, f := range list[:min(len(list), feedbackPageSize)] {
		out = append(out, feedbackView(f))
	}
	c.JSON(http.StatusOK, gin.H{"feedback": out, "has_more": more})
}

type consentIn struct {
	Training *bool `json:"training"`
}

type consentOut struct {
	Key      string `json:"key"`
	Training bool   `json:"training"`
	Prompts  int    `json:"prompts"` // that were hidden, or brought back, by this change
}

func (s *server) readConsent(c *gin.Context) {
	k := c.MustGet(apiKey).(account.Key)
	c.JSON(http.StatusOK, consentOut{Key: k.ID, Training: k.TrainingOptIn})
}

// setConsent is a key's own decision. Withdrawn consent hides at once what came by the key.
func (s *server) setConsent(c *gin.Context) {
	var in consentIn
	if err := readJSON(c, &in, false); err != nil {
		s.fail(c, err)
		return
	}
	if in.Training == nil {
		s.fail(c, bad("/training", "must be true or false"))
		return
	}
	k := c.MustGet(apiKey).(account.Key)
	out := consentOut{Key: k.ID, Training: *in.Training}
	err := s.Accounts.SetTraining(c.Request.Context(), k.CustomerID, k.ID, *in.Training, "key:"+k.ID, func(ctx context.Context, tx pgx.Tx) (err error) {
		out.Prompts, err = s.Labeling.SetConsent(ctx, tx, k.CustomerID, k.ID, *in.Training)
		return err
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, out)
}

type eraseIn struct {
	Completion string `json:"completion"`
	User       string `json:"user"`
	DryRun     bool   `json:"dry_run"`
}

// eraseOwn erases part of what the asking key's customer brought: a completion, or all that came for one of its users.
func (s *server) eraseOwn(c *gin.Context) {
	var in eraseIn
	if err := readJSON(c, &in, false); err != nil {
		s.fail(c, err)
		return
	}
	k := c.MustGet(apiKey).(account.Key)
	subject := labeling.PartOf("user", k.CustomerID, in.User)
	if in.Completion != "" {
		subject = labeling.PartOf("completion", k.CustomerID, in.Completion)
	}
	switch {
	case (in.Completion == "") == (in.User == ""):
		s.fail(c, bad("", "one of completion and user is wanted: the id of a completion, or a user as you named it in your requests"))
		return
	case len(in.Completion)+len(in.User) > 500:
		s.fail(c, bad("", "the name is longer than 500 bytes"))
		return
	}
	r, err := s.Erase(c.Request.Context(), subject, "customer:"+k.CustomerID, in.DryRun)
	if errors.Is(err, labeling.ErrNotFound) {
		s.fail(c, status(http.StatusNotFound, "nothing is kept of it: it was used without consent, or is erased already"))
		return
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{"erasure": r.ID, "dry_run": in.DryRun, "rows": r.Rows, "digest": r.Digest})
}
