package web

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

func (s *server) completions(c *gin.Context) {
	body, err := checkedBody(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	r, e := openai.ParseCompletion(body)
	if e != nil {
		s.fail(c, e)
		return
	}
	v, err := s.served(r.Model)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer v.Release()
	j, err := s.completionJob(v, r)
	if err != nil {
		s.fail(c, err)
		return
	}
	j.key = c.MustGet(apiKey).(account.Key)
	j.userID = j.key.CustomerID
	ctx, cancel := context.WithCancel(c.Request.Context())
	defer cancel()
	if err := j.submit(ctx); err != nil {
		s.fail(c, err)
		return
	}
	if r.Stream {
		s.streamCompletion(ctx, c, j, r)
		return
	}
	s.wholeCompletion(ctx, c, j, r)
}

func (s *server) completionJob(v *Served, r *openai.CompletionRequest) (*job, error) {
	j := newJob(v, &r.Sampling, "/v1/completions", "prompt")
	if r.Logprobs != nil {
		if r.Echo {
			return nil, openai.Invalid("echo", "unsupported_value", "Unsupported value: 'echo' together with 'logprobs' is not offered by this server.")
		}
		j.params.Logprobs = *r.Logprobs
	}
	add := func(text string, ids []int32) {
		j.prompts = append(j.prompts, Prompt{Messages: []labeling.Message{{Role: "user", Content: text}}, Text: text, TokenIDs: ids, TokenizerDigest: v.Tokenizer.Digest()})
	}
	for _, text := range r.Prompt.Texts {
		ids := encode(v.Tokenizer, text)
		if len(ids) == 0 {
			ids = beginning(v)
		}
		add(text, ids)
	}
	for _, ids := range r.Prompt.IDs {
		for _, id := range ids {
			if id < 0 || int(id) >= v.Tokenizer.Vocab() {
				return nil, openai.Invalid("prompt", "invalid_value", "Invalid 'prompt': %d is not a token id of this model, they run from 0 to %d.", id, v.Tokenizer.Vocab()-1)
			}
		}
		add(v.Tokenizer.Decode(ids), ids)
	}
	if len(j.prompts) == 0 {
		add("", beginning(v))
	}
	for _, p := range j.prompts {
		if len(p.TokenIDs) == 0 {
			return nil, openai.Invalid("prompt", "invalid_value", "Invalid 'prompt': this model needs at least one token.")
		}
		j.offered = j.offered && strings.TrimSpace(p.Text) != "" // nothing to rank answers to
	}
	if e := j.bound(openai.Value(r.MaxTokens, openai.DefaultMaxTokens), s.MaxTokens); e != nil {
		return nil, e
	}
	return j, nil
}

// beginning is the prompt of a request without one: the token that begins or separates texts.
func beginning(v *Served) []int32 {
	for _, id := range []int32{v.Tokenizer.BOS(), v.Tokenizer.EOS()} {
		if id >= 0 {
			return []int32{id}
		}
	}
	return nil
}

// logprobList fills the parallel lists of one choice.
type logprobList struct {
	openai.CompletionLogprobs
	offset int // characters so far
}

func newLogprobList() *logprobList {
	return &logprobList{CompletionLogprobs: openai.CompletionLogprobs{TextOffset: []int{}, TokenLogprobs: []*float64{}, Tokens: []string{}, TopLogprobs: []map[string]float64{}}}
}

func (l *logprobList) add(j *job, t decode.Token) {
	piece := func(id int32) string { return strings.ToValidUTF8(string(j.Tokenizer.Bytes(id)), "\ufffd") }
	lp := finite(t.Logprob)
	top := map[string]float64{}
	for _, x := range t.Top {
		top[piece(x.ID)] = finite(x.Logprob)
	}
	if _, ok := top[piece(t.ID)]; !ok && j.params.Logprobs > 0 { // the drawn token is always there
		top[piece(t.ID)] = lp
	}
	l.TextOffset = append(l.TextOffset, l.offset)
	l.TokenLogprobs = append(l.TokenLogprobs, &lp)
	l.Tokens = append(l.Tokens, piece(t.ID))
	l.TopLogprobs = append(l.TopLogprobs, top)
	l.offset += utf8.RuneCountInString(t.Text)
}

func (s *server) wholeCompletion(ctx context.Context, c *gin.Context, j *job, r *openai.CompletionRequest) {
	out := openai.Completion{ID: j.named("cmpl-"), Object: "text_completion", Created: time.Now().Unix(), Model: j.Name, SystemFingerprint: j.fingerprint()}
	texts, lists := make([]strings.Builder, j.choices()), make([]*logprobList, j.choices())
	for i := range lists {
		if lists[i] = newLogprobList(); r.Echo {
			texts[i].WriteString(j.prompts[i/j.n].Text)
		}
	}
	finishes := make([]string, j.choices())
	if err := j.whole(ctx, func(t decode.Token) {
		texts[t.Choice].WriteString(t.Text)
		if finishes[t.Choice] = t.Finish; t.ID != j.Engine.EOS() {
			lists[t.Choice].add(j, t)
		}
	}); err != nil {
		s.abandon(c, j, err)
		return
	}
	for i := range texts {
		choice := openai.CompletionChoice{Index: i, Text: texts[i].String(), FinishReason: &finishes[i]}
		if r.Logprobs != nil {
			choice.Logprobs = &lists[i].CompletionLogprobs
		}
		out.Choices = append(out.Choices, choice)
	}
	u := openai.NewUsage(j.promptToks, j.drawn)
	out.Usage = &u
	if err := s.record(c, j); err != nil {
		s.fail(c, err)
		return
	}
	j.answerHeaders(c)
	c.JSON(http.StatusOK, out)
}

func (s *server) streamCompletion(ctx context.Context, c *gin.Context, j *job, r *openai.CompletionRequest) {
	j.answerHeaders(c)
	out := startStream(c)
	id, created := j.named("cmpl-"), time.Now().Unix()
	chunk := func(choices []openai.CompletionChoice, u *openai.Usage) error {
		frame, err := openai.Frame(openai.Completion{ID: id, Object: "text_completion", Created: created, Model: j.Name,
			SystemFingerprint: j.fingerprint(), Choices: choices, Usage: u})
		if err != nil {
			return err
		}
		return out.send(frame)
	}
	lists := make([]*logprobList, j.choices())
	for i := range lists {
		lists[i] = newLogprobList()
	}
	err := j.interleave(ctx, func(i int) error {
		if !r.Echo {
			return nil
		}
		return chunk([]openai.CompletionChoice{{Index: i, Text: j.prompts[i/j.n].Text}}, nil)
	}, func(i int, t decode.Token, _ bool) error {
		d := openai.CompletionChoice{Index: i, Text: t.Text}
		if r.Logprobs != nil && t.ID != j.Engine.EOS() {
			one := newLogprobList()
			one.offset = lists[i].offset
			one.add(j, t)
			lists[i].offset = one.offset
			d.Logprobs = &one.CompletionLogprobs
		} else if t.Text == "" {
			return nil
		}
		return chunk([]openai.CompletionChoice{d}, nil)
	}, func(i int, finish string) error {
		return chunk([]openai.CompletionChoice{{Index: i, FinishReason: &finish}}, nil)
	})
	if err == nil && r.StreamOptions != nil && r.StreamOptions.IncludeUsage {
		u := openai.NewUsage(j.promptToks, j.drawn)
		err = chunk([]openai.CompletionChoice{}, &u)
	}
	s.endStream(c, out, j, err)
}
