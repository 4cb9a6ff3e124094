package web

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/conversation"
)

// turnFeedback is what a person says of one answer. Rating 0 takes a thumb back.
type turnFeedback struct {
	Rating     int      `json:"rating"`
	Tags       []string `json:"tags"`
	Comment    string   `json:"comment"`
	Correction string   `json:"correction"`
}

// taught says whether what was said may teach the model: only where the conversation allows it, and the answer was given then.
type taught struct {
	Taught bool   `json:"taught"`
	Leaf   string `json:"leaf,omitempty"`
}

// rateTurn keeps a thumb with the answer, and lets it teach where the conversation allows that.
func (s *server) rateTurn(c *gin.Context) {
	var in turnFeedback
	if err := readJSON(c, &in, false); err != nil {
		s.fail(c, err)
		return
	}
	if in.Rating < -1 || in.Rating > 1 {
		s.fail(c, bad("/rating", "must be 1 (good), -1 (bad) or 0"))
		return
	}
	ctx := c.Request.Context()
	t, v, _, err := s.Conversations.Turn(ctx, user(c).ID, c.Param("id"))
	if err == nil && t.Role != conversation.Assistant {
		err = bad("", "only answers are rated")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	n := labeling.NewFeedback{Choice: t.Choice, Rating: in.Rating, Tags: in.Tags, Comment: in.Comment, Correction: in.Correction}
	said := in.Rating != 0 || len(in.Tags) > 0 || in.Comment != "" || in.Correction != ""
	out := taught{}
	if t.Rating != 0 && t.Rating != in.Rating { // another thumb takes the place of the first, or none does
		if _, err := s.Labeling.TakeBack(ctx, user(c).ID, t.CompletionID, t.Choice); err != nil {
			s.fail(c, err)
			return
		}
	}
	if said {
		if out.Taught, err = s.teach(c, v, t, n); err != nil {
			s.fail(c, err)
			return
		}
	}
	if err := s.Conversations.Rate(ctx, t.ID, in.Rating); err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, out)
}

// teach hands feedback on an answer to the labeling room, and says whether it was taken.
func (s *server) teach(c *gin.Context, v conversation.Conversation, t conversation.Turn, n labeling.NewFeedback) (bool, error) {
	if !v.Training {
		return false, nil
	}
	n.CompletionID, n.CustomerID, n.APIKeyID = t.CompletionID, user(c).ID, chatSource(v.ID)
	_, err := s.Labeling.AddFeedback(c.Request.Context(), n, s.Loop.SampleFeedback)
	if errors.Is(err, labeling.ErrNotFound) { // the answer was given before it was allowed
		return false, nil
	}
	return err == nil, err
}

type voteIn struct {
	Vote string `json:"vote"`
}

// voteTurn takes the vote on a comparison: that this answer is better or worse than the other, or that both are alike.
func (s *server) voteTurn(c *gin.Context) {
	var in voteIn
	if err := readJSON(c, &in, false); err != nil {
		s.fail(c, err)
		return
	}
	t, v, others, err := s.Conversations.Turn(c.Request.Context(), user(c).ID, c.Param("id"))
	if err == nil && len(others) != 1 {
		err = bad("", "there is no other answer to compare it with")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	n := labeling.NewFeedback{Choice: t.Choice}
	switch in.Vote {
	case conversation.Better:
		n.Preferred = true
	case conversation.Worse:
		n.Choice, n.Preferred = others[0].Choice, true
	case conversation.Tie:
		n.Tied = true
	case conversation.Bad:
		n.Tied, n.Rating = true, -1
	default:
		s.fail(c, bad("/vote", "must be better, worse, tie or bad"))
		return
	}
	out := taught{}
	if out.Taught, err = s.teach(c, v, t, n); err == nil {
		err = s.Conversations.Vote(c.Request.Context(), v.ID, t.ID, others[0].ID, in.Vote)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if out.Leaf = t.ID; in.Vote == conversation.Worse {
		out.Leaf = others[0].ID
	}
	c.JSON(http.StatusOK, out)
}
