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
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
	"github.com/rankloop/rankloop/web/setting"
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
	k := c.MustGet(apiKey).(account.Key)
	v, counted, err := s.served(r.Model, somebody(k, r.User))
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
	j.key, j.counted = k, counted
	j.userID = j.key.CustomerID
	ctx, err := s.start(c, j)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer j.end()
	if r.Stream {
		s.streamCompletion(ctx, c, j, r)
		return
	}
	s.wholeCompletion(ctx, c, j, r)
}

func (s *server) completionJob(v *Served, r *openai.CompletionRequest) (*job, error) {
	j := newJob(v, &r.Sampling, "/v1/completions", "prompt")
	j.draw = r.Drawn()
	if r.Logprobs != nil {
		j.params.Logprobs, j.echo = *r.Logprobs, r.Echo
	}
	add := func(text string, ids []int32, begun bool) {
		j.prompts = append(j.prompts, Prompt{Messages: []labeling.Message{{Role: "user", Content: text}}, Text: text, TokenIDs: ids, Begun: begun, TokenizerDigest: v.Tokenizer.Digest()})
	}
	for _, text := range r.Prompt.Texts {
		ids := encode(v.Tokenizer, text)
		begun := v.Tokenizer.BOS() >= 0
		if len(ids) == 0 {
			ids, begun = beginning(v), true
		}
		add(text, ids, begun)
	}
	for _, ids := range r.Prompt.IDs {
		for _, id := range ids {
			if id < 0 || int(id) >= v.Tokenizer.Vocab() {
				return nil, openai.Invalid("prompt", "invalid_value", "Invalid 'prompt': %d is not a token id of this model, they run from 0 to %d.", id, v.Tokenizer.Vocab()-1)
			}
		}
		add(v.Tokenizer.Decode(ids), ids, false)
	}
	if len(j.prompts) == 0 {
		add("", beginning(v), true)
	}
	for _, p := range j.prompts {
		if len(p.TokenIDs) == 0 {
			return nil, openai.Invalid("prompt", "invalid_value", "Invalid 'prompt': this model needs at least one token.")
		}
		j.offered = j.offered && strings.TrimSpace(p.Text) != "" // nothing to rank answers to
	}
	asked := openai.Value(r.MaxTokens, openai.DefaultMaxTokens)
	j.mute = asked == 0
	if e := j.bound(max(asked, 1), s.Settings.Int(setting.AnswerTokens)); e != nil {
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

// add takes a token that adds text to what is there.
func (l *logprobList) add(j *job, t decode.Token, text string) {
	lp := finite(t.Logprob)
	top := map[string]float64{}
	for _, x := range t.Top {
		top[j.piece(x.ID)] = finite(x.Logprob)
	}
	if name := j.piece(t.ID); j.params.Logprobs > 0 { // the token itself is always there
		if _, ok := top[name]; !ok {
			top[name] = lp
		}
	}
	l.put(j, t.ID, text, &lp, top)
}

func (l *logprobList) put(j *job, id int32, text string, lp *float64, top map[string]float64) {
	l.TextOffset = append(l.TextOffset, l.offset)
	l.TokenLogprobs = append(l.TokenLogprobs, lp)
	l.Tokens = append(l.Tokens, j.piece(id))
	l.TopLogprobs = append(l.TopLogprobs, top)
	l.offset += utf8.RuneCountInString(text)
}

// piece is a token's text by itself.
func (j *job) piece(id int32) string {
	return strings.ToValidUTF8(string(j.Tokenizer.Bytes(id)), "\ufffd")
}

// addPrompt takes the tokens of an echoed prompt. The first of a text has no log-probability: but for the token that this server puts
// in front of a prompt given as text, which is not echoed, so that there the first one shown has one.
func (l *logprobList) addPrompt(j *job, prompt int) {
	shown := token.NewStream(j.Tokenizer)
	for i, t := range j.streams[prompt].Echo() {
		text := shown.Next(t.ID)
		switch {
		case i > 0:
			l.add(j, t, text)
		case !j.prompts[prompt].Begun:
			l.put(j, t.ID, text, nil, nil)
		}
	}
	l.offset = utf8.RuneCountInString(j.prompts[prompt].Text)
}

func (s *server) wholeCompletion(ctx context.Context, c *gin.Context, j *job, r *openai.CompletionRequest) {
	out := openai.Completion{ID: j.named("cmpl-"), Object: "text_completion", Created: time.Now().Unix(), Model: j.Name, SystemFingerprint: j.fingerprint()}
	texts, lists, finishes := make([]strings.Builder, j.choices()), make([]*logprobList, j.choices()), make([]string, j.choices())
	if err := j.whole(ctx, func(t decode.Token) {
		i := t.Choice
		if lists[i] == nil {
			if lists[i] = newLogprobList(); r.Echo {
				texts[i].WriteString(j.prompts[i/j.n].Text)
			}
			if j.echo {
				lists[i].addPrompt(j, i/j.n)
			}
		}
		if finishes[i] = t.Finish; j.mute {
			finishes[i] = decode.FinishLength
			return
		}
		if texts[i].WriteString(t.Text); t.ID != j.Engine.EOS() {
			lists[i].add(j, t, t.Text)
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
	u := j.usage()
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
	event := openai.Completion{ID: j.named("cmpl-"), Object: "text_completion", Created: time.Now().Unix(), Model: j.Name,
		SystemFingerprint: j.fingerprint(), Choices: []openai.CompletionChoice{}}
	frames, err := openai.NewFrames(event)
	if err != nil {
		s.endStream(c, out, j, err)
		return
	}
	chunk := func(d openai.CompletionChoice) error {
		b, err := frames.Append(out.pending, d)
		if err != nil {
			return err
		}
		return out.gather(b)
	}
	offsets := make([]int, j.choices())
	echoed := make([]bool, j.choices())
	// one is a list that goes on where the last one of the choice ended.
	one := func(i int, fill func(*logprobList)) *openai.CompletionLogprobs {
		l := newLogprobList()
		l.offset = offsets[i]
		fill(l)
		offsets[i] = l.offset
		return &l.CompletionLogprobs
	}
	err = j.interleave(ctx, out.flush, func(int) error { return nil }, func(i int, t decode.Token, _ bool) error {
		if r.Echo && !echoed[i] { // not before the first token: until then the prompt is being read
			echoed[i] = true
			d := openai.CompletionChoice{Index: i, Text: j.prompts[i/j.n].Text}
			if j.echo {
				d.Logprobs = one(i, func(l *logprobList) { l.addPrompt(j, i/j.n) })
			}
			if err := chunk(d); err != nil {
				return err
			}
		}
		if j.mute {
			return nil
		}
		switch {
		case r.Logprobs != nil && t.ID != j.Engine.EOS():
			return chunk(openai.CompletionChoice{Index: i, Text: t.Text, Logprobs: one(i, func(l *logprobList) { l.add(j, t, t.Text) })})
		case t.Text == "":
			return nil
		}
		return out.gather(frames.AppendText(out.pending, i, t.Text))
	}, func(i int, finish string) error {
		if j.mute {
			finish = decode.FinishLength
		}
		return chunk(openai.CompletionChoice{Index: i, FinishReason: &finish})
	})
	if err == nil && r.StreamOptions != nil && r.StreamOptions.IncludeUsage {
		u := j.usage()
		event.Usage = &u
		err = out.sendFrame(event)
	}
	s.endStream(c, out, j, err)
}
