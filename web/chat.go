package web

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/openai"
)

// chatPerMinute bounds the questions of one person at the chat page.
const chatPerMinute = 30

type chatData struct {
	Serving string // name of the policy; empty: none
	Context int    // tokens
}

func (s *server) chatPage(c *gin.Context) {
	var d chatData
	if v, err := s.Serving.Acquire(); err == nil {
		d = chatData{v.Name, v.Context}
		v.Release()
	}
	s.render(c, http.StatusOK, "chat", view{Title: "Chat", Nav: "chat", Data: d})
}

// chatAnswer streams an answer to a person who is signed in, in the shape of OpenAI's chat stream. Nothing said here joins
// the labeling pool.
func (s *server) chatAnswer(c *gin.Context) {
	ok, _, _, wait := s.calls.take("chat:"+user(c).ID, chatPerMinute)
	if !ok {
		p := status(http.StatusTooManyRequests, "too many questions; wait a moment")
		p.Retry = wait
		s.fail(c, p)
		return
	}
	body, err := checkedBody(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	r, e := openai.ParseChat(body)
	if e != nil {
		s.fail(c, e)
		return
	}
	r.Stream, r.N, r.Logprobs = true, nil, false
	v, err := s.Serving.Acquire()
	if err != nil {
		s.fail(c, err)
		return
	}
	defer v.Release()
	j, err := s.fittingJob(v, r)
	if err != nil {
		s.fail(c, err)
		return
	}
	j.endpoint, j.userID = "/chat", user(c).ID
	s.runChat(c, j, r)
}

// fittingJob leaves out the earliest turns where the conversation has outgrown the model's context, of which an answer gets
// a quarter. A last question that is too long by itself is refused.
func (s *server) fittingJob(v *Served, r *openai.ChatRequest) (*job, error) {
	most := max(v.Context/4, 1)
	r.MaxTokens, r.MaxCompletionTokens = &most, nil
	for {
		j, err := s.chatJob(v, r)
		var e *openai.Error
		if err == nil || !errors.As(err, &e) || e.Code == nil || *e.Code != "context_length_exceeded" || len(r.Messages) < 2 {
			return j, err
		}
		r.Messages = r.Messages[1:]
		for len(r.Messages) > 1 && r.Messages[0].Role == "assistant" { // a conversation begins with a question
			r.Messages = r.Messages[1:]
		}
	}
}
