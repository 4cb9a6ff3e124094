package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/conversation"
	"github.com/rankloop/rankloop/web/setting"
)

// chatPerMinute bounds the questions of one person at the chat page.
const chatPerMinute = 30

// chatListSize is how many conversations come at a time.
const chatListSize = 50

func (s *server) chatRoutes() {
	s.route(signedIn, get, "/chat", s.chatPage)
	s.route(signedIn, get, "/chat/shared/:token", s.sharedPage)
	s.route(signedIn, get, "/chat/api/conversations", s.listConversations)
	s.route(signedIn, post, "/chat/api/conversations", s.createConversation)
	s.route(signedIn, get, "/chat/api/conversations/:id", s.readConversation)
	s.route(signedIn, put, "/chat/api/conversations/:id", s.changeConversation)
	s.route(signedIn, http.MethodDelete, "/chat/api/conversations/:id", s.deleteConversation)
	s.stream(signedIn, post, "/chat/api/conversations/:id/answers", s.chatAnswer)
	s.route(signedIn, post, "/chat/api/conversations/:id/share", s.shareConversation)
	s.route(signedIn, http.MethodDelete, "/chat/api/conversations/:id/share", s.unshareConversation)
	s.route(signedIn, get, "/chat/api/conversations/:id/code", s.chatCode)
	s.route(signedIn, get, "/chat/api/turns/:id/tokens", s.chatTokens)
	s.route(signedIn, put, "/chat/api/turns/:id/feedback", s.rateTurn)
	s.route(signedIn, put, "/chat/api/turns/:id/vote", s.voteTurn)
	s.route(signedIn, get, "/chat/api/presets", s.listPresets)
	s.route(signedIn, put, "/chat/api/presets", s.savePreset)
	s.route(signedIn, http.MethodDelete, "/chat/api/presets/:id", s.deletePreset)
}

type chatData struct {
	Serving string // name of the policy; empty: none
	Context int    // tokens
	Most    int    // tokens of an answer
	User    string // id, for what the browser keeps
}

func (s *server) chatPage(c *gin.Context) {
	d := chatData{User: user(c).ID}
	if v, err := s.Serving.Acquire(); err == nil {
		d.Serving, d.Context, d.Most = v.Name, v.Context, min(s.Settings.Int(setting.AnswerTokens), max(v.Context/2, 1))
		v.Release()
	}
	s.render(c, http.StatusOK, "chat", view{Title: "Chat", Nav: "chat", Data: d})
}

// conversationOut is a conversation as the page gets it.
type conversationOut struct {
	ID       string                `json:"id"`
	Title    string                `json:"title"` // by its first question where it has none
	Named    bool                  `json:"named"`
	Training bool                  `json:"training"`
	Leaf     string                `json:"leaf"`
	Settings conversation.Settings `json:"settings"`
	Shared   bool                  `json:"shared"`
	Updated  time.Time             `json:"updated"`
	Turns    []turnOut             `json:"turns,omitempty"`
}

type turnOut struct {
	ID               string                `json:"id"`
	Parent           string                `json:"parent"`
	Role             string                `json:"role"`
	Content          string                `json:"content"`
	Completion       string                `json:"completion"`
	Choice           int                   `json:"choice"`
	Model            string                `json:"model"`
	Finish           string                `json:"finish"`
	PromptTokens     int                   `json:"prompt_tokens"`
	CompletionTokens int                   `json:"completion_tokens"`
	LeftOut          int                   `json:"left_out"`
	Settings         conversation.Settings `json:"settings"`
	Tokens           bool                  `json:"tokens"`
	Rating           int                   `json:"rating"`
	Vote             string                `json:"vote"`
	Created          time.Time             `json:"created"`
}

func conversationView(v conversation.Conversation, turns []conversation.Turn) conversationOut {
	out := conversationOut{ID: v.ID, Title: v.Title, Named: v.Title != "", Training: v.Training, Leaf: v.Leaf, Settings: v.Settings, Shared: v.SharedAt != nil, Updated: v.UpdatedAt}
	if out.Title == "" {
		out.Title = v.First
	}
	for _, t := range turns {
		out.Turns = append(out.Turns, turnView(t))
	}
	return out
}

func turnView(t conversation.Turn) turnOut {
	return turnOut{ID: t.ID, Parent: t.Parent, Role: t.Role, Content: t.Content, Completion: t.CompletionID, Choice: t.Choice, Model: t.ModelName, Finish: t.Finish,
		PromptTokens: t.PromptTokens, CompletionTokens: t.CompletionTokens, LeftOut: t.LeftOut, Settings: t.Settings, Tokens: t.HasTokens, Rating: t.Rating, Vote: t.Vote, Created: t.CreatedAt}
}

func (s *server) listConversations(c *gin.Context) {
	words, err := textParam(c.Query("q"))
	if err != nil {
		s.fail(c, err)
		return
	}
	list, err := s.Conversations.List(c.Request.Context(), user(c).ID, words, c.Query("before"), chatListSize+1)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := []conversationOut{}
	for _, v := range list[:min(len(list), chatListSize)] {
		out = append(out, conversationView(v, nil))
	}
	c.JSON(http.StatusOK, gin.H{"conversations": out, "more": len(list) > chatListSize})
}

type newConversation struct {
	Training bool                  `json:"training"`
	Settings conversation.Settings `json:"settings"`
}

func (s *server) createConversation(c *gin.Context) {
	var in newConversation
	if err := readJSON(c, &in, true); err != nil {
		s.fail(c, err)
		return
	}
	v, err := s.Conversations.Create(c.Request.Context(), user(c).ID, in.Training, in.Settings)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusCreated, conversationView(v, nil))
}

func (s *server) readConversation(c *gin.Context) {
	v, err := s.Conversations.Get(c.Request.Context(), user(c).ID, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	turns, err := s.Conversations.Turns(c.Request.Context(), user(c).ID, v.ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, conversationView(v, turns))
}

type conversationChange struct {
	Title    *string                `json:"title"`
	Training *bool                  `json:"training"`
	Leaf     *string                `json:"leaf"`
	Settings *conversation.Settings `json:"settings"`
}

// changeConversation renames, opens another branch, or decides about training: what was allowed before is hidden from labelers
// in the same moment.
func (s *server) changeConversation(c *gin.Context) {
	var in conversationChange
	if err := readJSON(c, &in, false); err != nil {
		s.fail(c, err)
		return
	}
	me, id := user(c).ID, c.Param("id")
	v, err := s.Conversations.Update(c.Request.Context(), me, id, conversation.Change(in), func(ctx context.Context, tx pgx.Tx, training bool) error {
		_, err := s.Labeling.SetConsent(ctx, tx, me, chatSource(id), training)
		return err
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, conversationView(v, nil))
}

// deleteConversation forgets a conversation, and what was learned from it as far as it is known: prompts, answers, feedback.
func (s *server) deleteConversation(c *gin.Context) {
	ctx, me, id := c.Request.Context(), user(c).ID, c.Param("id")
	if _, err := s.Conversations.Get(ctx, me, id); err != nil {
		s.fail(c, err)
		return
	}
	if _, err := s.Erase(ctx, labeling.PartOf("source", me, chatSource(id)), actor(c), false); err != nil && !errors.Is(err, labeling.ErrNotFound) {
		s.fail(c, err)
		return
	}
	if err := s.Conversations.Delete(ctx, me, id); err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

type shareIn struct {
	Leaf string `json:"leaf"`
}

func (s *server) shareConversation(c *gin.Context) {
	var in shareIn
	if err := readJSON(c, &in, false); err != nil {
		s.fail(c, err)
		return
	}
	token, err := s.Conversations.Share(c.Request.Context(), user(c).ID, c.Param("id"), in.Leaf)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusCreated, gin.H{"path": "/chat/shared/" + token})
}

func (s *server) unshareConversation(c *gin.Context) {
	if err := s.Conversations.Unshare(c.Request.Context(), user(c).ID, c.Param("id")); err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

type sharedData struct {
	Title string
	By    string
	At    time.Time
	Turns []conversation.Turn
}

// sharedPage shows a branch to whoever has an account and the link.
func (s *server) sharedPage(c *gin.Context) {
	v, turns, err := s.Conversations.Shared(c.Request.Context(), c.Param("token"))
	if errors.Is(err, conversation.ErrNotFound) {
		err = status(http.StatusNotFound, "this link was revoked, or never was")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	by, err := s.Accounts.User(c.Request.Context(), v.Owner)
	if err != nil {
		s.fail(c, err)
		return
	}
	d := sharedData{Title: conversationView(v, nil).Title, By: by.Name, At: *v.SharedAt, Turns: turns}
	s.render(c, http.StatusOK, "shared", view{Title: "Shared conversation", Nav: "chat", Data: d})
}

func (s *server) chatTokens(c *gin.Context) {
	tokens, err := s.Conversations.Tokens(c.Request.Context(), user(c).ID, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", tokens)
}

type presetOut struct {
	ID       string                `json:"id"`
	Name     string                `json:"name"`
	Settings conversation.Settings `json:"settings"`
}

func (s *server) listPresets(c *gin.Context) {
	list, err := s.Conversations.Presets(c.Request.Context(), user(c).ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := []presetOut{}
	for _, p := range list {
		out = append(out, presetOut(p))
	}
	c.JSON(http.StatusOK, gin.H{"presets": out})
}

type presetIn struct {
	Name     string                `json:"name"`
	Settings conversation.Settings `json:"settings"`
}

func (s *server) savePreset(c *gin.Context) {
	var in presetIn
	if err := readJSON(c, &in, false); err != nil {
		s.fail(c, err)
		return
	}
	p, err := s.Conversations.SavePreset(c.Request.Context(), user(c).ID, in.Name, in.Settings)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, presetOut(p))
}

func (s *server) deletePreset(c *gin.Context) {
	if err := s.Conversations.DeletePreset(c.Request.Context(), user(c).ID, c.Param("id")); err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}
