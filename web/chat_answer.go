package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/web/conversation"
	"github.com/rankloop/rankloop/web/openai"
	"github.com/rankloop/rankloop/web/setting"
)

// chatAlternatives is how many of the likeliest tokens stand beside each token of an answer.
const chatAlternatives = 5

// answerIn asks for an answer. With content it is a new question behind the answer parent ("" at the beginning); without, parent
// is a question that is to be answered again. Compare asks for two answers.
type answerIn struct {
	Parent   string                `json:"parent"`
	Content  string                `json:"content"`
	Compare  bool                  `json:"compare"`
	Settings conversation.Settings `json:"settings"`
}

// chatAnswer keeps a question and streams its answer, or two to compare: first {"question"}, then {"choice", "text", "tokens"}
// for every token, at the end {"answers"} as they are kept. An answer that is stopped, or whose reader goes, is kept as far as it
// came.
func (s *server) chatAnswer(c *gin.Context) {
	ok, _, _, wait := s.calls.take("chat:"+user(c).ID, chatPerMinute)
	if !ok {
		p := status(http.StatusTooManyRequests, "too many questions; wait a moment")
		p.Retry = wait
		s.fail(c, p)
		return
	}
	var in answerIn
	if err := readJSON(c, &in, false); err != nil {
		s.fail(c, err)
		return
	}
	ctx, me, id := c.Request.Context(), user(c).ID, c.Param("id")
	conv, err := s.Conversations.Get(ctx, me, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	before, err := s.Conversations.Branch(ctx, me, id, in.Parent)
	if err == nil && in.Content == "" && (len(before) == 0 || before[len(before)-1].Role != conversation.User) {
		err = bad("/parent", "must be the question that is to be answered again")
	}
	if err == nil {
		err = in.Settings.Check()
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	v, counted, err := s.Serving.AcquireFor("person " + me)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer v.Release()
	j, left, err := s.fittingJob(v, chatRequest(before, in))
	if err != nil {
		s.fail(c, err)
		return
	}
	j.endpoint, j.userID, j.conversation, j.counted = "/chat", me, id, counted
	j.offered, j.asked = conv.Training, conv.Training
	j.params.Logprobs = chatAlternatives
	answering, err := s.start(c, j)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer j.end()
	question := conversation.Turn{}
	if in.Content == "" {
		question = before[len(before)-1]
	} else if question, err = s.Conversations.Ask(ctx, me, id, in.Parent, in.Content, in.Settings); err != nil {
		s.fail(c, err)
		return
	}
	j.named("chatcmpl-")
	s.streamAnswer(answering, c, j, question, in, left)
}

// chatRequest is the conversation as the API would be asked.
func chatRequest(before []conversation.Turn, in answerIn) *openai.ChatRequest {
	r := &openai.ChatRequest{}
	r.Temperature, r.TopP, r.Seed = in.Settings.Temperature, in.Settings.TopP, in.Settings.Seed
	if in.Settings.MaxTokens > 0 {
		r.MaxTokens = &in.Settings.MaxTokens
	}
	if in.Compare {
		two := 2
		r.N = &two
	}
	if strings.TrimSpace(in.Settings.System) != "" {
		r.Messages = append(r.Messages, openai.ChatMessage{Role: "system", Content: openai.Content(in.Settings.System)})
	}
	for _, t := range before {
		r.Messages = append(r.Messages, openai.ChatMessage{Role: t.Role, Content: openai.Content(t.Content)})
	}
	if in.Content != "" {
		r.Messages = append(r.Messages, openai.ChatMessage{Role: conversation.User, Content: openai.Content(in.Content)})
	}
	return r
}

// fittingJob leaves out the earliest turns where the conversation has outgrown the model's context, of which an answer gets
// a quarter, or as much as is asked for up to half; and says how many it left out. The system prompt stays. A last question that
// is too long by itself is refused.
func (s *server) fittingJob(v *Served, r *openai.ChatRequest) (j *job, left int, err error) {
	most := min(openai.Value(r.MaxTokens, max(v.Context/4, 1)), max(v.Context/2, 1), s.Settings.Int(setting.AnswerTokens))
	r.MaxTokens, r.MaxCompletionTokens = &most, nil
	var system []openai.ChatMessage
	turns := r.Messages
	if len(turns) > 0 && turns[0].Role == "system" {
		system, turns = turns[:1:1], turns[1:]
	}
	for {
		r.Messages = append(system, turns...)
		j, err := s.chatJob(v, r)
		var e *openai.Error
		if err == nil || !errors.As(err, &e) || e.Code == nil || *e.Code != "context_length_exceeded" || len(turns) < 2 {
			return j, left, err
		}
		turns, left = turns[1:], left+1
		for len(turns) > 1 && turns[0].Role == conversation.Assistant { // a conversation begins with a question
			turns, left = turns[1:], left+1
		}
	}
}

// pieceOut is a token of an answer under way.
type pieceOut struct {
	Choice int    `json:"choice"`
	Text   string `json:"text"`
	Tokens []any  `json:"tokens,omitempty"` // as conversation.Store.Tokens has them
}

// saidAnswer is an answer as it comes.
type saidAnswer struct {
	text   strings.Builder
	tokens []any
	drawn  int
	finish string
}

func (s *server) streamAnswer(ctx context.Context, c *gin.Context, j *job, question conversation.Turn, in answerIn, left int) {
	j.answerHeaders(c)
	out := startStream(c)
	send := out.sendFrame
	said := make([]saidAnswer, j.choices())
	err := send(gin.H{"question": turnView(question), "choices": j.choices(), "left_out": left, "prompt_tokens": j.promptToks, "model": j.Name})
	if err == nil {
		err = j.interleave(ctx, out.flush, func(int) error { return nil }, func(i int, t decode.Token, begun bool) error {
			p := pieceOut{Choice: i, Text: t.Text}
			if begun {
				p.Text = strings.TrimPrefix(p.Text, " ")
			}
			said[i].text.WriteString(p.Text)
			if t.ID != j.Engine.EOS() {
				p.Tokens = []any{j.chatPiece(t)}
				said[i].tokens = append(said[i].tokens, p.Tokens[0])
				said[i].drawn++
			}
			said[i].finish = t.Finish
			frame, err := openai.Frame(p)
			if err != nil {
				return err
			}
			return out.gather(append(out.pending, frame...))
		}, func(int, string) error { return nil })
	}
	s.endAnswer(c, j, question, in, left, said, err, send)
	if err == nil {
		out.send(openai.Done) // a client that has gone learns nothing
	}
}

// chatPiece is a token with its alternatives, readable and storable.
func (j *job) chatPiece(t decode.Token) []any {
	text := func(id int32) string {
		view, _ := labeling.Sanitize(string(j.Tokenizer.Bytes(id)))
		return view
	}
	top := [][]any{}
	for _, x := range t.Top {
		top = append(top, []any{text(x.ID), finite(x.Logprob)})
	}
	return []any{text(t.ID), finite(t.Logprob), top}
}

// endAnswer keeps what was said, records the usage, and tells the page; where the stream was cut it keeps what came.
func (s *server) endAnswer(c *gin.Context, j *job, question conversation.Turn, in answerIn, left int, said []saidAnswer, cause error, send func(any) error) {
	switch {
	case cause == nil:
		j.finish = j.ended
	case c.Request.Context().Err() != nil:
		j.finish = "cancelled"
	}
	if err := s.record(c, j); err != nil {
		s.Log.ErrorContext(c.Request.Context(), "usage not recorded", "request", requestID(c.Request), "error", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), 5*time.Second)
	defer cancel()
	var answers []conversation.NewAnswer
	for i := range said {
		a := conversation.NewAnswer{Turn: conversation.Turn{Parent: question.ID, Role: conversation.Assistant, CompletionID: j.training.id, Choice: i, ModelName: j.Name,
			ModelVersion: j.VersionID, Finish: said[i].finish, PromptTokens: j.promptToks, CompletionTokens: said[i].drawn, LeftOut: left, Settings: in.Settings}}
		a.Content, _ = labeling.Sanitize(said[i].text.String())
		if a.Finish == "" {
			a.Finish = "cancelled"
		}
		if len(said[i].tokens) > 0 {
			a.Tokens, _ = json.Marshal(said[i].tokens) // texts and numbers: it cannot fail
		}
		answers = append(answers, a)
	}
	if cause != nil && strings.TrimSpace(answers[0].Content) == "" && len(answers) == 1 {
		answers = nil // nothing came
	}
	var kept []conversation.Turn
	if len(answers) > 0 {
		var err error
		if kept, err = s.Conversations.Answer(ctx, user(c).ID, c.Param("id"), answers); err != nil && cause == nil {
			cause = err
		}
	}
	if cause != nil && j.finish != "cancelled" {
		s.Log.ErrorContext(c.Request.Context(), "answer cut", "request", requestID(c.Request), "error", cause)
		p, _ := problemOf(cause)
		send(gin.H{"error": p.in(s.language(c)).Detail})
		return
	}
	turns := []turnOut{}
	for _, t := range kept {
		turns = append(turns, turnView(t))
	}
	send(gin.H{"answers": turns})
}
