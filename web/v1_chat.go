package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
	"github.com/rankloop/rankloop/web/setting"
)

// checkedBody is the body of an OpenAI request after the checks that its own parser would not make.
func checkedBody(c *gin.Context) ([]byte, error) {
	body, err := readBody(c)
	if err != nil {
		return nil, err
	}
	_, err = checkJSON(body)
	return body, err
}

func (s *server) chatCompletions(c *gin.Context) {
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
	k := c.MustGet(apiKey).(account.Key)
	v, counted, err := s.served(r.Model, somebody(k, r.User))
	if err != nil {
		s.fail(c, err)
		return
	}
	defer v.Release()
	j, err := s.chatJob(v, r)
	if err != nil {
		s.fail(c, err)
		return
	}
	j.key, j.counted = k, counted
	j.userID = j.key.CustomerID
	s.runChat(c, j, r)
}

// chatJob renders the conversation.
func (s *server) chatJob(v *Served, r *openai.ChatRequest) (*job, error) {
	j := newJob(v, &r.Sampling, "/v1/chat/completions", "messages")
	j.params.Stop = append(append([]string{}, r.Stop...), v.Template.Stop()...)
	if r.Logprobs {
		j.params.Logprobs = openai.Value(r.TopLogprobs, 0)
	}
	var err error
	p := Prompt{TokenizerDigest: v.Tokenizer.Digest()}
	turns := make([]token.Message, len(r.Messages))
	for i, m := range r.Messages {
		role := m.Role
		if role == "developer" {
			role = "system"
		}
		turns[i] = token.Message{Role: role, Content: string(m.Content)}
		p.Messages = append(p.Messages, labeling.Message{Role: role, Content: string(m.Content)})
	}
	if p.TokenIDs, err = token.PromptIDs(v.Tokenizer, v.Template, turns); err != nil {
		return nil, openai.Invalid("messages", "invalid_value", "Invalid 'messages': the conversation cannot be rendered.")
	}
	if p.Text, err = v.Template.Prompt(turns); err != nil {
		return nil, err
	}
	j.prompts = []Prompt{p}
	if e := j.bound(r.Tokens(), s.Settings.Int(setting.AnswerTokens)); e != nil {
		return nil, e
	}
	return j, nil
}

// encode gives the tokens of a prompt, with the token that begins a text where the tokenizer has one.
func encode(t token.Tokenizer, text string) []int32 {
	ids := t.Encode(text)
	if bos := t.BOS(); bos >= 0 {
		ids = append([]int32{bos}, ids...)
	}
	return ids
}

// replies are the choices of a chat as they grow.
type replies struct {
	texts    []strings.Builder
	lists    []*openai.ChatLogprobs // nil where none were asked for
	finishes []string
}

func newReplies(n int, logprobs bool) *replies {
	r := &replies{make([]strings.Builder, n), make([]*openai.ChatLogprobs, n), make([]string, n)}
	for i := range r.lists {
		if logprobs {
			r.lists[i] = &openai.ChatLogprobs{Content: []openai.TokenLogprob{}}
		}
	}
	return r
}

func (r *replies) add(j *job, t decode.Token) {
	r.texts[t.Choice].WriteString(t.Text)
	r.finishes[t.Choice] = t.Finish
	if lp := r.lists[t.Choice]; lp != nil && t.ID != j.Engine.EOS() {
		lp.Content = append(lp.Content, j.chatLogprob(t))
	}
}

func (r *replies) choices() (out []openai.ChatChoice) {
	for i := range r.texts {
		out = append(out, openai.ChatChoice{Index: i, Message: openai.Reply{Role: "assistant", Content: strings.TrimPrefix(r.texts[i].String(), " ")},
			Logprobs: r.lists[i], FinishReason: r.finishes[i]})
	}
	return out
}

// runChat answers with a whole chat or a stream of it.
func (s *server) runChat(c *gin.Context, j *job, r *openai.ChatRequest) {
	ctx, err := s.start(c, j)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer j.end()
	out := openai.Chat{ID: j.named("chatcmpl-"), Object: "chat.completion", Created: time.Now().Unix(), Model: j.Name, SystemFingerprint: j.fingerprint()}
	if r.Stream {
		s.streamChat(ctx, c, j, r, out)
		return
	}
	got := newReplies(j.choices(), r.Logprobs)
	if err := j.whole(ctx, func(t decode.Token) { got.add(j, t) }); err != nil {
		s.abandon(c, j, err)
		return
	}
	out.Choices, out.Usage = got.choices(), j.usage()
	j.store(c, r, out)
	if err := s.record(c, j); err != nil {
		s.fail(c, err)
		return
	}
	j.answerHeaders(c)
	c.JSON(http.StatusOK, out)
}

// abandon ends a request whose answer could not be completed.
func (s *server) abandon(c *gin.Context, j *job, cause error) {
	if c.Request.Context().Err() != nil {
		j.finish = "cancelled"
	}
	if err := s.record(c, j); err != nil {
		s.Log.ErrorContext(c.Request.Context(), "usage not recorded", "request", requestID(c.Request), "error", err)
	}
	s.fail(c, cause)
}

// streamChat sends the tokens of all choices as they come, in turns.
func (s *server) streamChat(ctx context.Context, c *gin.Context, j *job, r *openai.ChatRequest, whole openai.Chat) {
	got := newReplies(j.choices(), r.Logprobs)
	withUsage := r.StreamOptions != nil && r.StreamOptions.IncludeUsage
	j.answerHeaders(c)
	out := startStream(c)
	event := openai.ChatChunk{ID: whole.ID, Object: "chat.completion.chunk", Created: whole.Created, Model: whole.Model,
		SystemFingerprint: whole.SystemFingerprint, Choices: []openai.DeltaChoice{}}
	frames, err := openai.NewFrames(event)
	if err != nil {
		s.endStream(c, out, j, err)
		return
	}
	chunk := func(d openai.DeltaChoice) error {
		b, err := frames.Append(out.pending, d)
		if err != nil {
			return err
		}
		return out.gather(b)
	}
	empty := ""
	err = j.interleave(ctx, out.flush, func(i int) error {
		return chunk(openai.DeltaChoice{Index: i, Delta: openai.Delta{Role: "assistant", Content: &empty}})
	}, func(i int, t decode.Token, first bool) error {
		got.add(j, t)
		text := t.Text
		if first {
			text = strings.TrimPrefix(text, " ")
		}
		switch {
		case r.Logprobs && t.ID != j.Engine.EOS():
			return chunk(openai.DeltaChoice{Index: i, Delta: openai.Delta{Content: &text}, Logprobs: &openai.ChatLogprobs{Content: []openai.TokenLogprob{j.chatLogprob(t)}}})
		case text == "":
			return nil
		}
		return out.gather(frames.AppendDelta(out.pending, i, text))
	}, func(i int, finish string) error {
		return chunk(openai.DeltaChoice{Index: i, FinishReason: &finish})
	})
	if err == nil {
		whole.Choices, whole.Usage = got.choices(), j.usage()
		j.store(c, r, whole)
		if withUsage {
			event.Usage = &whole.Usage
			err = out.sendFrame(event)
		}
	}
	s.endStream(c, out, j, err)
}

// interleave reads all choices as they come, those of several prompts in turns. first is called before a choice's first token, each for every token (begun says
// that no text of the choice was shown before it), last after its end; idle when the next token has yet to come.
func (j *job) interleave(ctx context.Context, idle func() error, first func(int) error, each func(i int, t decode.Token, begun bool) error, last func(int, string) error) error {
	ended, shown := make([]bool, len(j.streams)), make([]bool, j.choices())
	for i := range shown {
		if err := first(i); err != nil {
			return err
		}
	}
	for left := len(j.streams); left > 0; {
		for i := range j.streams {
			if ended[i] {
				continue
			}
			if !j.streams[i].Ready() {
				if err := idle(); err != nil {
					return err
				}
			}
			t, more, err := j.next(ctx, i)
			switch {
			case err != nil:
				return err
			case !more:
				ended[i], left = true, left-1
				continue
			}
			if err := each(t.Choice, t, !shown[t.Choice]); err != nil {
				return err
			}
			shown[t.Choice] = shown[t.Choice] || t.Text != ""
			if t.Finish == "" {
				continue
			}
			if err := last(t.Choice, t.Finish); err != nil {
				return err
			}
		}
	}
	return nil
}

// endStream records the usage and says [DONE], or sends the error that cut the stream.
func (s *server) endStream(c *gin.Context, out *sender, j *job, cause error) {
	if cause == nil {
		cause = out.flush()
	}
	switch {
	case cause == nil:
		j.finish = j.ended
	case c.Request.Context().Err() != nil:
		j.finish = "cancelled"
	}
	if err := s.record(c, j); err != nil {
		s.Log.ErrorContext(c.Request.Context(), "usage not recorded", "request", requestID(c.Request), "error", err)
		if cause == nil {
			cause = err
		}
	}
	if cause == nil {
		out.send(openai.Done) // a client that has gone learns nothing
		return
	}
	if j.finish != "cancelled" {
		s.Log.ErrorContext(c.Request.Context(), "stream cut", "request", requestID(c.Request), "error", cause)
		p, _ := problemOf(cause)
		out.send(openai.ErrorFrame(p.openAI(requestID(c.Request))))
	}
}

func (j *job) chatLogprob(t decode.Token) openai.TokenLogprob {
	piece := func(id int32) (string, []int) {
		b := j.Tokenizer.Bytes(id)
		return strings.ToValidUTF8(string(b), "\ufffd"), openai.ByteList(b)
	}
	out := openai.TokenLogprob{Logprob: finite(t.Logprob), TopLogprobs: []openai.TopLogprob{}}
	out.Token, out.Bytes = piece(t.ID)
	for _, x := range t.Top {
		text, b := piece(x.ID)
		out.TopLogprobs = append(out.TopLogprobs, openai.TopLogprob{Token: text, Logprob: finite(x.Logprob), Bytes: b})
	}
	return out
}

// finite: JSON has no infinity; OpenAI writes -9999 for what is next to impossible.
func finite(lp float32) float64 {
	if !(lp > -9999) {
		return -9999
	}
	return float64(lp)
}
